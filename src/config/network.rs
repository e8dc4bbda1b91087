//! A network, as it is written where clients or proxies are named: an IP address, or a prefix in CIDR notation.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An IP network (RFC 4632, RFC 4291 section 2.3). A bare address is the network of itself alone.
///
/// IPv4-mapped IPv6 is IPv4 wherever it is met, because a dual-stack listener shows IPv4 clients so. Apart from that
/// the families are apart: `::/0` is every IPv6 address, and no IPv4 one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits() ^ theirs.to_bits()) & !host_v4(self.bits) == 0,
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits()) & !host_v6(self.bits) == 0,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether it is every address of its family.
    pub fn is_everyone(&self) -> bool {
        self.bits == 0
    }

    /// Whether every address of `other` lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is not an IP address or network; write 192.0.2.7, 10.0.0.0/8, ::1 or fd00::/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let written: IpAddr = address.parse().map_err(|_| expected())?;
        let longest = if written.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => longest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() => digits
                .parse()
                .ok()
                .filter(|bits| *bits <= longest)
                .ok_or_else(|| format!("`{text}` has a prefix longer than /{longest}"))?,
            Some(_) => return Err(expected()),
        };
        let address = written.to_canonical();
        let bits = if address == written { Some(bits) } else { bits.checked_sub(96) };
        let bits = bits.ok_or_else(|| format!("`{text}` is IPv4 in part only; write it as IPv4"))?;
        let first: IpAddr = match address {
            IpAddr::V4(address) => (address.to_bits() & !host_v4(bits)).to_be_bytes().into(),
            IpAddr::V6(address) => (address.to_bits() & !host_v6(bits)).to_be_bytes().into(),
        };
        let network = Self { address: first, bits };
        // Either the address or the prefix is not what was meant, and only the author knows which.
        if first != address {
            return Err(format!("`{text}` names an address within a network; write `{network}` or `{address}`"));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == longest { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.bits) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The bits after the first `bits`.
fn host_v4(bits: u8) -> u32 {
    u32::MAX.checked_shr(bits.into()).unwrap_or(0)
}

/// The bits after the first `bits`.
fn host_v6(bits: u8) -> u128 {
    u128::MAX.checked_shr(bits.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_other() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], &["9.255.255.255", "11.0.0.0"][..]),
            ("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("192.0.2.8/31", &["192.0.2.8", "192.0.2.9"], &["192.0.2.7", "192.0.2.10"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::", "::1"]),
            ("::1", &["::1"], &["::", "127.0.0.1", "::ffff:127.0.0.1"]),
            ("fd00::/8", &["fd00::", "fdff:ffff::1"], &["fc00::", "fe00::"]),
            ("2001:db8::8/125", &["2001:db8::8", "2001:db8::f"], &["2001:db8::7", "2001:db8::10"]),
            ("::/0", &["::", "ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0", "::10.1.2.3"]),
        ] {
            for address in inside {
                assert!(network(text).contains(address.parse().unwrap()), "{address} is in {text}");
            }
            for address in outside {
                assert!(!network(text).contains(address.parse().unwrap()), "{address} is not in {text}");
            }
        }
    }

    #[test]
    fn it_is_shown_in_its_shortest_form() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("FD00:0::/8", "fd00::/8"),
            ("::1/128", "::1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(network(text).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_advice() {
        for (text, advice) in [
            ("", "is not an IP address or network"),
            ("localhost", "is not an IP address or network"),
            ("10.0.0.0/", "is not an IP address or network"),
            ("10.0.0.0/+8", "is not an IP address or network"),
            ("10.0.0.0/8/8", "is not an IP address or network"),
            ("10.0.0.0/255.0.0.0", "is not an IP address or network"),
            ("10.0.0", "is not an IP address or network"),
            ("010.0.0.1", "is not an IP address or network"),
            ("fe80::1%eth0", "is not an IP address or network"),
            ("10.0.0.1:80", "is not an IP address or network"),
            ("10.0.0.0/33", "longer than /32"),
            ("10.0.0.0/999", "longer than /32"),
            ("::/129", "longer than /128"),
            ("10.0.0.1/8", "write `10.0.0.0/8` or `10.0.0.1`"),
            ("fd00::1/8", "write `fd00::/8` or `fd00::1`"),
            ("::ffff:0:0/90", "write it as IPv4"),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.contains(advice), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_network_covers_those_within_it() {
        for (wide, narrow, covers) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.0/16", false),
            ("::/0", "10.0.0.0/8", false),
            ("0.0.0.0/0", "::1", false),
        ] {
            assert_eq!(network(wide).covers(&network(narrow)), covers, "{wide} over {narrow}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_shown_is_read_again(text in "[0-9a-f:./]{0,24}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
                prop_assert!(network.contains(network.address));
            }
        }

        #[test]
        fn a_prefix_is_the_bits_that_are_equal(a: u32, b: u32, bits in 0_u8..=32) {
            let first = u64::from(a) >> (32 - bits) << (32 - bits);
            let network = network(&format!("{}/{bits}", std::net::Ipv4Addr::from(u32::try_from(first).unwrap())));
            let equal = u64::from(a) >> (32 - bits) == u64::from(b) >> (32 - bits);
            prop_assert_eq!(network.contains(IpAddr::V4(b.into())), equal);
        }
    }
}
