//! What is read from `tests/corpus`. The README there says what its files mean.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

/// The entries of `tests/corpus/NAME.yaml`.
pub(crate) fn entries<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name).with_extension("yaml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// One byte for each character, for which U+00FF is 0xFF; and `<N*TEXT>` is N times TEXT.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut result = Vec::new();
    let mut rest = text;
    while let Some((before, repeated)) = rest.split_once('<') {
        let parts = repeated.split_once('>').and_then(|(inner, after)| Some((inner.split_once('*')?, after)));
        let parts = parts.and_then(|((count, text), after)| Some((count.parse::<usize>().ok()?, text, after)));
        result.extend(latin1(before));
        match parts {
            Some((count, text, after)) => {
                result.extend(latin1(text).repeat(count));
                rest = after;
            }
            None => {
                result.push(b'<');
                rest = repeated;
            }
        }
    }
    result.extend(latin1(rest));
    result
}

fn latin1(text: &str) -> Vec<u8> {
    let byte = |c: char| u8::try_from(c).unwrap_or_else(|_| panic!("{c:?} in {text:?} is no byte: write \\xNN"));
    text.chars().map(byte).collect()
}
