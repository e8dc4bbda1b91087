//! Names of header lines.

use http::{
    HeaderName,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH,
        CONTENT_TYPE, COOKIE, DATE, HOST, InvalidHeaderName, ORIGIN, REFERER, SERVER, SET_COOKIE, TRANSFER_ENCODING,
        USER_AGENT, VARY,
    },
};

/// The name that these bytes are. Those that nearly all messages have, in the two spellings that they come in, are found
/// several times as fast here as by the library.
///
/// # Errors
/// They are none.
pub(super) fn parse(bytes: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
    Ok(match bytes {
        b"Host" | b"host" => HOST,
        b"User-Agent" | b"user-agent" => USER_AGENT,
        b"Accept" | b"accept" => ACCEPT,
        b"Accept-Encoding" | b"accept-encoding" => ACCEPT_ENCODING,
        b"Accept-Language" | b"accept-language" => ACCEPT_LANGUAGE,
        b"Authorization" | b"authorization" => AUTHORIZATION,
        b"Cookie" | b"cookie" => COOKIE,
        b"Referer" | b"referer" => REFERER,
        b"Origin" | b"origin" => ORIGIN,
        b"Content-Type" | b"content-type" => CONTENT_TYPE,
        b"Content-Length" | b"content-length" => CONTENT_LENGTH,
        b"Date" | b"date" => DATE,
        b"Server" | b"server" => SERVER,
        b"Connection" | b"connection" => CONNECTION,
        b"Cache-Control" | b"cache-control" => CACHE_CONTROL,
        b"Set-Cookie" | b"set-cookie" => SET_COOKIE,
        b"Vary" | b"vary" => VARY,
        b"Transfer-Encoding" | b"transfer-encoding" => TRANSFER_ENCODING,
        _ => return HeaderName::from_bytes(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_library_would_make_of_it() {
        let known = "Host User-Agent Accept Accept-Encoding Accept-Language Authorization Cookie Referer Origin \
                     Content-Type Content-Length Date Server Connection Cache-Control Set-Cookie Vary \
                     Transfer-Encoding X-Other Keep-Alive";
        for name in known.split_whitespace() {
            for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(parse(name.as_bytes()).ok(), HeaderName::from_bytes(name.as_bytes()).ok());
            }
        }
        assert!(parse(b"a b").is_err() && parse(b"").is_err());
    }
}
