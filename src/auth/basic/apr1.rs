//! APR1, Apache's variant of MD5-crypt, which `htpasswd` made for two decades.
//!
//! The algorithm is that of `apr_md5_encode` in the Apache Portable Runtime; its format is described in
//! <https://httpd.apache.org/docs/2.4/misc/password_encryptions.html>. It is MD5-crypt with another magic string.
//! It is weak: accepted so that a users file can be moved here as it is, and always with a warning.

use md5::{Digest, Md5};

/// What a hash of this kind begins with. It is part of what is hashed, too.
pub(super) const MAGIC: &str = "$apr1$";

/// The characters that a digest has.
pub(super) const DIGEST_CHARACTERS: usize = 22;

/// The alphabet of crypt(3), in the order of its digits.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The digest of `password` in the spelling of a users file.
pub(super) fn digest(password: &[u8], salt: &[u8]) -> [u8; DIGEST_CHARACTERS] {
    let alternate = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();

    let mut first = Md5::new().chain_update(password).chain_update(MAGIC).chain_update(salt);
    for chunk in password.chunks(alternate.len()) {
        first.update(&alternate[..chunk.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        // The original meant to add a byte of the digest, but had cleared it; by now it is the algorithm.
        first.update(if length & 1 == 1 { &[0] } else { &password[..1] });
        length >>= 1;
    }

    let mut state = first.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { &state[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &state[..] } else { password });
        state = next.finalize();
    }
    encode(&state.into())
}

/// crypt(3)'s own base64: three bytes, in the algorithm's order, become four characters, the lowest digit first.
fn encode(state: &[u8; 16]) -> [u8; DIGEST_CHARACTERS] {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

    let mut text = [0; DIGEST_CHARACTERS];
    let mut characters = text.iter_mut();
    let mut put = |mut value: usize, count: usize| {
        for character in characters.by_ref().take(count) {
            *character = ALPHABET[value % 64];
            value /= 64;
        }
    };
    for [high, middle, low] in ORDER {
        put(usize::from(state[high]) << 16 | usize::from(state[middle]) << 8 | usize::from(state[low]), 4);
    }
    put(usize::from(state[11]), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl passwd -apr1 -salt SALT`.
    #[test]
    fn digests_equal_those_of_openssl() {
        for (password, salt, expected) in [
            ("", "saltsalt", "a8ml/vK5HEjiZ5oypDWA7/"),
            ("correct horse", "abc", "wQiFhKV487RKJ400idf4c/"),
            ("correct horse", "hdWASWol", "bqzDiiNkeUfqB6efVXeoH1"),
            (&"0123456789".repeat(8), "7HEumzP7", "GqQA1P0.sDT7ONETcp/jR0"),
        ] {
            assert_eq!(digest(password.as_bytes(), salt.as_bytes()), *expected.as_bytes(), "{password} {salt}");
        }
    }
}
