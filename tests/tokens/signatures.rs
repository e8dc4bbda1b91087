//! Signatures that somebody has been at: malleable, out of range, in another form.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::support::Issuer;

/// The order of P-256's group (FIPS 186-4), big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of Ed25519's base point (RFC 8032 section 5.1), little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// `signature`, a good one of `issuer`, changed in the way that has this name.
pub(super) fn altered(signature: &[u8], how: &str, issuer: &Issuer) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let zero = vec![0; r.len()];
    match how {
        "zeros" => vec![0; signature.len()],
        "ones" => vec![0xff; signature.len()],
        "one" => [&vec![0; signature.len() - 1][..], &[1]].concat(),
        "first-bit" => [&[signature[0] ^ 0x80], &signature[1..]].concat(),
        "last-bit" => [&signature[..signature.len() - 1], &[signature[signature.len() - 1] ^ 1]].concat(),
        "shorter" => signature[..signature.len() - 1].to_vec(),
        "half" => r.to_vec(),
        "one-byte" => signature[..1].to_vec(),
        "longer" => [signature, &[0]].concat(),
        "zero-before" => [&[0], signature].concat(),
        "twice" => signature.repeat(2),
        "reversed" => signature.iter().rev().copied().collect(),
        "r-zero" => [&zero, s].concat(),
        "s-zero" => [r, &zero].concat(),
        "swapped" => [s, r].concat(),
        "zeros-between" => [&[0], r, &[0], s].concat(),
        "der" => sequence(&[integer(r), integer(s)].concat()),
        "r-order" => [&P256_ORDER, s].concat(),
        "s-order" => [r, &P256_ORDER].concat(),
        "both-order" => [P256_ORDER, P256_ORDER].concat(),
        "other-s" => [r, &difference(&P256_ORDER, s)].concat(),
        "s-plus-order" => [r, &sum(s, &ED25519_ORDER)].concat(),
        // The neutral element, for which 0 is the scalar that some verifiers take for every message.
        "neutral" => [&[1][..], &[0; 63]].concat(),
        "modulus" => URL_SAFE_NO_PAD.decode(issuer.jwk()["n"].as_str().unwrap()).unwrap(),
        other => panic!("there is no way {other}"),
    }
}

/// `a - b`, big-endian.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let digits = a.iter().zip(b).rev().map(|(a, b)| {
        let digit = i16::from(*a) - i16::from(*b) - borrow;
        borrow = i16::from(digit < 0);
        u8::try_from(digit.rem_euclid(256)).unwrap()
    });
    let mut digits: Vec<_> = digits.collect();
    digits.reverse();
    digits
}

/// `a + b`, little-endian.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let digits = a.iter().zip(b).map(|(a, b)| {
        let digit = u16::from(*a) + u16::from(*b) + carry;
        carry = digit >> 8;
        u8::try_from(digit & 0xff).unwrap()
    });
    digits.collect()
}

fn integer(number: &[u8]) -> Vec<u8> {
    let digits: Vec<_> = number.iter().copied().skip_while(|digit| *digit == 0).collect();
    let sign = if digits.first().is_none_or(|first| *first >= 0x80) { &[0][..] } else { &[] };
    let value = [sign, &digits].concat();
    [&[0x02, u8::try_from(value.len()).unwrap()], &value[..]].concat()
}

fn sequence(content: &[u8]) -> Vec<u8> {
    [&[0x30, u8::try_from(content.len()).unwrap()], content].concat()
}
