//! The name and the password that a request carries: `Authorization: Basic …` (RFC 7617).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// The longest name that is looked at, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// The longest password that is looked at, in bytes of UTF-8. Hashing takes longer the longer the password is, so
/// the limit comes before it.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// A name and a password that nobody has checked yet.
#[derive(Debug)]
pub struct Credentials {
    name: Box<str>,
    password: Password,
}

impl Credentials {
    /// Reads the value of an `Authorization` header.
    ///
    /// The scheme's case does not matter. The rest is base64 as RFC 4648 section 4 has it, padding included: every
    /// client sends that, and so each pair of name and password has one spelling. The decoded text is UTF-8, since
    /// our challenge says `charset="UTF-8"`.
    ///
    /// # Errors
    /// Says what is wrong, without repeating any of it.
    pub fn parse(header: &[u8]) -> Result<Self, Malformed> {
        let (scheme, rest) = header.split_at_checked(5).ok_or(Malformed::Scheme)?;
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Err(Malformed::Scheme);
        }
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        let encoded = &rest[spaces..];
        if spaces == 0 && !encoded.is_empty() {
            return Err(Malformed::Scheme); // `Basically …` is another scheme
        }
        if encoded.len() > (MAX_NAME_BYTES + 1 + MAX_PASSWORD_BYTES).div_ceil(3) * 4 {
            return Err(Malformed::TooLong);
        }

        let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
        let length = STANDARD.decode_slice(encoded, &mut decoded).map_err(|_| Malformed::Base64)?;
        let text = decoded.get(..length).and_then(|text| str::from_utf8(text).ok()).ok_or(Malformed::Utf8)?;
        if text.chars().any(char::is_control) {
            return Err(Malformed::Control); // a NUL would end the password for bcrypt
        }
        let (name, password) = text.split_once(':').ok_or(Malformed::Colon)?;
        Self::new(name, password)
    }

    /// A name and a password from elsewhere than a header, such as the command line.
    ///
    /// # Errors
    /// When one of them is too long.
    pub fn new(name: &str, password: &str) -> Result<Self, Malformed> {
        if name.len() > MAX_NAME_BYTES || password.len() > MAX_PASSWORD_BYTES {
            return Err(Malformed::TooLong);
        }
        Ok(Self { name: name.into(), password: Password(Zeroizing::new(password.into())) })
    }

    /// Whom the caller claims to be.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn password(&self) -> &Password {
        &self.password
    }
}

/// A password: it is not printed, and its memory is overwritten when it is dropped.
pub struct Password(Zeroizing<Box<str>>);

impl Password {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a header is not a name and a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// Another scheme than Basic.
    #[error("the scheme is not Basic")]
    Scheme,
    /// Not base64, or base64 without its padding.
    #[error("the credentials are not base64")]
    Base64,
    /// Not UTF-8, which our challenge asks for.
    #[error("the credentials are not UTF-8")]
    Utf8,
    /// A control character, which RFC 7617 forbids.
    #[error("the credentials contain a control character")]
    Control,
    /// Nothing separates the name from the password.
    #[error("the credentials have no colon")]
    Colon,
    /// Longer than [`MAX_NAME_BYTES`] or [`MAX_PASSWORD_BYTES`].
    #[error("the name is longer than {MAX_NAME_BYTES} bytes or the password longer than {MAX_PASSWORD_BYTES}")]
    TooLong,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn parse(text: impl AsRef<[u8]>) -> Result<(String, String), Malformed> {
        let credentials = Credentials::parse(text.as_ref())?;
        let password = str::from_utf8(credentials.password().as_bytes()).unwrap();
        Ok((credentials.name().to_owned(), password.to_owned()))
    }

    fn header(name: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
    }

    fn pair(name: &str, password: &str) -> Result<(String, String), Malformed> {
        Ok((name.to_owned(), password.to_owned()))
    }

    #[test]
    fn the_examples_of_rfc_7617_are_read() {
        assert_eq!(parse("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(parse("Basic dGVzdDoxMjPCow=="), pair("test", "123£"));
    }

    #[test]
    fn the_scheme_is_read_whatever_its_case() {
        for scheme in ["Basic", "basic", "BASIC", "bAsIc", "Basic  "] {
            assert_eq!(parse(format!("{scheme} YTpi")), pair("a", "b"), "{scheme}");
        }
        for other in ["", "Bas", "Bearer YTpi", "BasicYTpi", "Basics YTpi", "Basic\tYTpi", " Basic YTpi"] {
            assert_eq!(parse(other), Err(Malformed::Scheme), "{other}");
        }
    }

    #[test]
    fn only_padded_standard_base64_is_read() {
        for broken in ["YTpiYw", "YTpiYw=", "YTpiYw===", "YTpi YTpi", "YTpi=", "_-8=", "YTpiYx==", "YTpi\t", "****"] {
            assert_eq!(parse(format!("Basic {broken}")), Err(Malformed::Base64), "{broken}");
        }
    }

    #[test]
    fn the_first_colon_ends_the_name() {
        assert_eq!(parse(header("alice", "a:b:c")), pair("alice", "a:b:c"));
        assert_eq!(parse(header("", "")), pair("", ""));
        assert_eq!(parse(format!("Basic {}", STANDARD.encode("alice"))), Err(Malformed::Colon));
        assert_eq!(parse("Basic"), Err(Malformed::Colon));
        assert_eq!(parse("Basic "), Err(Malformed::Colon));
    }

    #[test]
    fn control_characters_and_broken_utf_8_are_refused() {
        for control in ["\0", "\n", "\r", "\t", "\x7f", "\u{85}"] {
            assert_eq!(parse(header("alice", &format!("a{control}b"))), Err(Malformed::Control), "{control:?}");
            assert_eq!(parse(header(&format!("a{control}b"), "x")), Err(Malformed::Control), "{control:?}");
        }
        assert_eq!(parse(format!("Basic {}", STANDARD.encode(b"a:\xe4"))), Err(Malformed::Utf8));
    }

    #[test]
    fn lengths_are_limited() {
        let (name, password) = ("n".repeat(MAX_NAME_BYTES), "p".repeat(MAX_PASSWORD_BYTES));
        assert_eq!(parse(header(&name, &password)), pair(&name, &password));
        assert_eq!(parse(header(&format!("{name}n"), "p")), Err(Malformed::TooLong));
        assert_eq!(parse(header("n", &format!("{password}p"))), Err(Malformed::TooLong));
        assert_eq!(parse(format!("Basic {}", "A".repeat(1 << 20))), Err(Malformed::TooLong));
    }

    #[test]
    fn the_password_is_not_printed() {
        let printed = format!("{:?}", Credentials::new("alice", "correct horse").unwrap());
        assert!(printed.contains("alice") && printed.contains("***") && !printed.contains("correct"), "{printed}");
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(header in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Credentials::parse(&header);
        }

        #[test]
        fn what_a_client_encodes_is_what_is_read(name in "[^:\\pC]{0,40}", password in "\\PC{0,80}") {
            prop_assert_eq!(parse(header(&name, &password)), pair(&name, &password));
        }
    }
}
