//! Whether an answer is compressed, how, and what its header then says.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Version,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
        ETAG, HeaderName,
    },
    response::Parts,
};
use tokio::sync::Semaphore;

use crate::{
    body::Body,
    compress::Compressed,
    config::{self, Coding},
    fields,
    upstream::Answer,
};

/// How many answers of one worker are compressed at once; further ones are sent as they are. A compressor keeps up to a few
/// megabytes for as long as its client reads, and slow clients must not be able to fill the memory with them.
const PLACES: usize = 16;

/// What is said about the bytes of a body, and would be wrong after compressing them.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// The compression of answers, compiled from the configuration.
#[derive(Debug)]
pub(super) struct Compression {
    codings: Vec<Coding>,
    min_bytes: u64,
    types: Vec<Box<str>>,
    places: Arc<Semaphore>,
}

/// The coding that a client wants its answer in, of those that we have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wish(Option<Coding>);

impl Wish {
    /// As it is.
    pub(super) const NONE: Self = Self(None);
}

impl Compression {
    /// The compression, where `config` wants one.
    pub(super) fn compile(config: &config::Compression) -> Option<Self> {
        config.enabled.then(|| Self {
            codings: config.algorithms.clone(),
            // Nothing does not become less.
            min_bytes: config.min_bytes.max(1),
            types: config.types.iter().map(|name| name.as_str().into()).collect(),
            places: Arc::new(Semaphore::new(PLACES)),
        })
    }

    /// What the client of this request wants.
    pub(super) fn wish<B>(&self, request: &Request<B>) -> Wish {
        // HTTP/1.0 ends a body of unknown length by closing: nobody could tell that it was cut short.
        if request.version() < Version::HTTP_11 || fields::has(request.headers(), &CACHE_CONTROL, "no-transform") {
            return Wish::NONE;
        }
        Wish(preferred(&self.codings, request.headers()))
    }

    /// The body of the app's answer with this head: compressed if the client wants that and the answer is suited to it. The
    /// head of an answer to HEAD says what that to GET would.
    pub(super) fn apply(&self, Wish(wish): Wish, head: bool, parts: &mut Parts, answer: Answer) -> Body {
        if parts.status == StatusCode::NOT_MODIFIED && wish.is_some() {
            // What the client has may be what we compressed. It has no type that we could go by.
            weaken(&mut parts.headers);
            fields::vary(&mut parts.headers, &ACCEPT_ENCODING);
            return Body::from(answer);
        }
        if !self.suits(parts) {
            return Body::from(answer);
        }
        fields::vary(&mut parts.headers, &ACCEPT_ENCODING);
        let Some(coding) = wish else { return Body::from(answer) };
        let body = if head {
            Body::from(answer)
        } else {
            let Ok(place) = self.places.clone().try_acquire_owned() else { return Body::from(answer) };
            match Compressed::new(answer, coding, place) {
                Ok(body) => Body::from(body),
                Err(answer) => return Body::from(answer),
            }
        };
        let headers = &mut parts.headers;
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(token(coding)));
        headers.remove(CONTENT_LENGTH);
        // A range would be one of the bytes that the app has.
        headers.remove(ACCEPT_RANGES);
        weaken(headers);
        body
    }

    /// Whether an answer with this head may be compressed.
    fn suits(&self, Parts { status, headers, .. }: &Parts) -> bool {
        let whole = !status.is_informational()
            && !matches!(
                *status,
                StatusCode::NO_CONTENT
                    | StatusCode::RESET_CONTENT
                    | StatusCode::PARTIAL_CONTENT
                    | StatusCode::NOT_MODIFIED
            );
        let length = headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok()?.parse::<u64>().ok());
        let long_enough = length.is_none_or(|length| length.is_some_and(|length| length >= self.min_bytes));
        let taken = |name: &HeaderName| headers.contains_key(name);
        whole
            && long_enough
            && self.has_type(headers)
            && ![CONTENT_ENCODING, CONTENT_RANGE].iter().any(taken)
            && !DIGESTS.iter().any(taken)
            && !fields::has(headers, &CACHE_CONTROL, "no-transform")
    }

    fn has_type(&self, headers: &HeaderMap) -> bool {
        let Some(said) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
        let name = said.split(';').next().unwrap_or_default().trim();
        self.types.iter().any(|listed| name.eq_ignore_ascii_case(listed))
    }
}

const fn token(coding: Coding) -> &'static str {
    match coding {
        Coding::Zstd => "zstd",
        Coding::Br => "br",
        Coding::Gzip => "gzip",
    }
}

/// The one of `codings` that the client gives the most weight (RFC 9110 section 12.5.3), and of several such the first. None
/// when it likes the plain body better.
fn preferred(codings: &[Coding], headers: &HeaderMap) -> Option<Coding> {
    let said = || {
        fields::items(headers, &ACCEPT_ENCODING).map(|element| {
            let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            (parts.next().unwrap_or_default(), weight(parts))
        })
    };
    let weight_of = |names: &[&str]| {
        let named = |(name, _): &(&[u8], u16)| names.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()));
        said().find(named).map(|(_, weight)| weight)
    };
    let others = weight_of(&["*"]).unwrap_or(0);
    let weighed = codings.iter().map(|coding| {
        let names: &[&str] = if *coding == Coding::Gzip { &["gzip", "x-gzip"] } else { &[token(*coding)] };
        (*coding, weight_of(names).unwrap_or(others))
    });
    // The last of several equal ones is the maximum.
    let (coding, most) = weighed.rev().max_by_key(|(_, weight)| *weight)?;
    let plain = weight_of(&["identity"]).unwrap_or(0);
    (most > 0 && most >= plain).then_some(coding)
}

/// The weight among the parameters of a coding, in thousandths. What cannot be read is no wish.
fn weight<'h>(mut parameters: impl Iterator<Item = &'h [u8]>) -> u16 {
    let value = |parameter: &'h [u8]| parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
    let Some(value) = parameters.find_map(value) else { return 1000 };
    match value {
        [b'0'] | [b'0', b'.'] => 0,
        [b'1'] | [b'1', b'.'] | [b'1', b'.', b'0'] | [b'1', b'.', b'0', b'0'] | [b'1', b'.', b'0', b'0', b'0'] => 1000,
        [b'0', b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            [100, 10, 1].iter().zip(digits).map(|(unit, digit)| unit * u16::from(digit - b'0')).sum()
        }
        _ => 0,
    }
}

/// Makes a strong `ETag` a weak one: what we send means the same as what the app sent, but is not the same bytes (RFC 9110
/// section 8.8.1).
fn weaken(headers: &mut HeaderMap) {
    let weak = match headers.get(ETAG).map(HeaderValue::as_bytes) {
        Some(tag) if tag.starts_with(b"\"") => HeaderValue::from_bytes(&[b"W/", tag].concat()),
        _ => return,
    };
    match weak {
        Ok(weak) => drop(headers.insert(ETAG, weak)),
        Err(_) => drop(headers.remove(ETAG)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_weighs_and_we_choose_among_equals() {
        use Coding::{Br, Gzip, Zstd};
        for (said, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["GZIP"], Some(Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip", "br"], Some(Br)),
            (&["gzip;q=1.0, br;q=0.5"], Some(Gzip)),
            (&["gzip ; q=0.8,br;q=0.9 , zstd;q=0.001"], Some(Br)),
            (&["*"], Some(Zstd)),
            (&["*;q=0.1"], Some(Zstd)),
            (&["zstd;q=0, *"], Some(Br)),
            (&["gzip, *;q=0"], Some(Gzip)),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000"], None),
            (&["*;q=0"], None),
            (&["identity"], None),
            (&["identity;q=0.5, gzip;q=0.4"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Gzip)),
            (&["identity;q=0"], None),
            (&["identity;q=0, gzip"], Some(Gzip)),
            (&["gzip;q=2"], None),
            (&["gzip;q=-1"], None),
            (&["gzip;q="], None),
            (&["gzip;q=0.1234"], None),
            (&["gzip;x=1;q=0"], None),
            (&["deflate"], None),
            (&["gzipped"], None),
        ] {
            let headers = said.iter().map(|line| (ACCEPT_ENCODING, HeaderValue::from_static(line))).collect();
            assert_eq!(preferred(&[Zstd, Br, Gzip], &headers), expected, "{said:?}");
        }
    }

    #[test]
    fn a_strong_tag_becomes_weak_and_a_weak_one_stays() {
        for (tag, expected) in [(r#""x""#, r#"W/"x""#), (r#"W/"x""#, r#"W/"x""#), ("x", "x")] {
            let mut headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static(tag))]);
            weaken(&mut headers);
            assert_eq!(headers[ETAG], expected);
        }
    }
}
