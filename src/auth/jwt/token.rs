//! A token taken apart (RFC 7515, RFC 7519): strict where a second reader could read something else.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::json;
use crate::reason::Reason;

/// The longest token looked at. Real ones have at most a few kB; apps refuse headers of more than 8.
pub(super) const MAX_LENGTH: usize = 16 * 1024;

/// The latest time accepted, in seconds: the end of the year 9999. What lies behind it is an error, not a date.
const LATEST: u64 = 253_402_300_799;

/// A compact JWS whose parts could be read. Nothing about it is proved yet.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// The protected header.
    pub(super) header: Header,
    /// The payload.
    pub(super) claims: Value,
    /// What was signed.
    pub(super) message: &'a str,
    /// The signature, base64url.
    pub(super) signature: &'a str,
}

/// The members of a JOSE header that decide something. Others are not looked at: `jwk`, `jku`, `x5c` and `x5u` name the key
/// that the sender would like to be believed by (RFC 8725 section 3.10), and honest issuers send them too.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    /// The type, if it says one.
    pub(super) typ: Option<String>,
}

/// Extensions that change what is signed or what the payload means (RFC 7515 section 4.1.11, RFC 7797, RFC 7516). We
/// implement none of them, so none may be present, not even as null.
const EXTENSIONS: [&str; 4] = ["crit", "b64", "zip", "enc"];

impl Header {
    /// What `json` says, unless it has no `alg`, a member of the wrong type, an extension, or says that the payload is
    /// itself a token (RFC 7519 section 5.2).
    fn read(json: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| match json.get(name) {
            None => Some(None),
            Some(value) => value.as_str().map(Some),
        };
        let nested = text("cty")?.is_some_and(|content| media_type(content) == "jwt");
        if nested || EXTENSIONS.iter().any(|name| json.contains_key(*name)) {
            return None;
        }
        let owned = |text: &str| text.to_owned();
        Some(Self { alg: text("alg")?.map(owned)?, kid: text("kid")?.map(owned), typ: text("typ")?.map(owned) })
    }
}

/// `name` in the form in which two media types are compared: in lower case, and without the `application/` that may be
/// left out (RFC 7515 section 4.1.9).
pub(super) fn media_type(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("application/") {
        Some(rest) if !rest.contains('/') => rest.to_owned(),
        _ => name,
    }
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Reason> {
        if text.len() > MAX_LENGTH {
            return Err(Reason::JwtMalformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Reason::JwtMalformed)?;
        let (header, payload) = message.split_once('.').ok_or(Reason::JwtMalformed)?;
        if payload.contains('.') {
            return Err(Reason::JwtMalformed);
        }
        let header = json::object(&decode(header)?).as_ref().and_then(Header::read).ok_or(Reason::JwtMalformed)?;
        let claims = json::object(&decode(payload)?).ok_or(Reason::JwtMalformed)?;
        Ok(Self { header, claims: Value::Object(claims), message, signature })
    }

    /// The `iss`, when there is one.
    pub(super) fn issuer(&self) -> Result<Option<&str>, Reason> {
        self.claims.get("iss").map(|value| value.as_str().ok_or(Reason::JwtIssuer)).transpose()
    }

    /// Whether `aud`, a string or a list of strings, names one of `accepted`.
    pub(super) fn is_for(&self, accepted: &[String]) -> bool {
        let named = |audience: &Value| audience.as_str().is_some_and(|name| accepted.iter().any(|a| a == name));
        match self.claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().all(Value::is_string) && audiences.iter().any(named),
            Some(audience) => named(audience),
            None => false,
        }
    }

    /// A time claim, in seconds since 1970. A wrong type is an error, not an absent claim (CVE-2026-25537).
    pub(super) fn time(&self, claim: &str) -> Result<Option<u64>, Reason> {
        match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => value.as_u64().filter(|seconds| *seconds <= LATEST).map(Some).ok_or(Reason::JwtClaim),
        }
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::JwtMalformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_well_formed_token_is_taken_apart() {
        let text = token(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, r#"{"iss":"i","sub":"s","exp":5}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!((token.header.alg.as_str(), token.header.kid.as_deref()), ("ES256", Some("k")));
        assert_eq!(token.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!((token.issuer(), token.time("exp")), (Ok(Some("i")), Ok(Some(5))));
        assert_eq!(token.time("nbf"), Ok(None));
        assert_eq!(token.signature, "c2ln");
    }

    #[test]
    fn what_has_two_readings_is_malformed() {
        let (header, claims) = (r#"{"alg":"ES256"}"#, "{}");
        for (header, claims) in [
            (r#"{"alg":"ES256","alg":"none"}"#, claims),
            (r#"{"alg":"ES256","crit":["exp"]}"#, claims),
            (r#"{"alg":"ES256","crit":null}"#, claims),
            (r#"{"alg":"ES256","b64":false}"#, claims),
            (r#"{"alg":"ES256","zip":"DEF"}"#, claims),
            (r#"{"alg":"dir","enc":"A256GCM"}"#, claims),
            (r#"{"alg":["ES256"]}"#, claims),
            (r#"{"alg":null}"#, claims),
            (r#"{"alg":"ES256","kid":7}"#, claims),
            (r#"{"alg":"ES256","kid":null}"#, claims),
            (r#"{"alg":"ES256","typ":["JWT"]}"#, claims),
            (r#"{"alg":"ES256","cty":"JWT"}"#, claims),
            (r#"{"alg":"ES256","cty":"application/jwt"}"#, claims),
            (r#"{"alg":"ES256","jwk":{"kty":"EC","kty":"RSA"}}"#, claims),
            (r#"{"kid":"k"}"#, claims),
            (header, r#"{"sub":"a","sub":"b"}"#),
            (header, r#"["sub"]"#),
            (header, r#""sub""#),
            (header, "{} {}"),
        ] {
            assert_eq!(Token::parse(&token(header, claims)).unwrap_err(), Reason::JwtMalformed, "{header} {claims}");
        }
    }

    #[test]
    fn media_types_are_compared_in_one_form() {
        for (name, form) in [
            ("at+jwt", "at+jwt"),
            ("AT+JWT", "at+jwt"),
            ("application/at+jwt", "at+jwt"),
            ("Application/AT+jwt", "at+jwt"),
            ("application/at/jwt", "application/at/jwt"),
            ("applicationat+jwt", "applicationat+jwt"),
            ("text/at+jwt", "text/at+jwt"),
        ] {
            assert_eq!(media_type(name), form, "{name}");
        }
    }

    #[test]
    fn what_is_not_three_parts_of_base64url_is_malformed() {
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        let long = format!("{good}{}", "A".repeat(MAX_LENGTH));
        for text in ["", ".", "..", "a.b", "a.b.c.d", "e30=.e30=.", long.as_str(), &format!(".{good}"), &good[1..]] {
            assert_eq!(Token::parse(text).unwrap_err(), Reason::JwtMalformed, "{text:.40}");
        }
    }

    #[test]
    fn a_time_of_a_wrong_type_is_an_error_and_not_absent() {
        for exp in [r#""5""#, "5.5", "-1", "1e20", "null", "[5]", "true", "253402300800", "18446744073709551616"] {
            let text = token(r#"{"alg":"ES256"}"#, &format!(r#"{{"exp":{exp}}}"#));
            assert_eq!(Token::parse(&text).unwrap().time("exp"), Err(Reason::JwtClaim), "{exp}");
        }
    }

    #[test]
    fn an_audience_is_a_string_or_a_list_of_strings() {
        let accepted = ["orders".to_owned(), "billing".to_owned()];
        for (aud, expected) in [
            (r#""orders""#, true),
            (r#"["x","billing"]"#, true),
            (r#""order""#, false),
            (r#""orders billing""#, false),
            ("[]", false),
            (r#"["orders",5]"#, false),
            (r#"[["orders"]]"#, false),
            (r#"{"orders":true}"#, false),
            ("null", false),
        ] {
            let text = token(r#"{"alg":"ES256"}"#, &format!(r#"{{"aud":{aud}}}"#));
            assert_eq!(Token::parse(&text).unwrap().is_for(&accepted), expected, "{aud}");
        }
    }
}
