//! Headers as load balancers send them, and what is none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn client(text: &str) -> Announced {
    Announced::Client(text.parse().unwrap())
}

/// A header of version 2.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = V2_START.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    header.extend(body);
    header
}

/// 192.0.2.1:4711 to 192.0.2.2:443.
const FOUR: [u8; TCP4_LENGTH] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 0xbb];

fn six() -> Vec<u8> {
    let addresses: [Ipv6Addr; 2] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
    [&addresses[0].octets()[..], &addresses[1].octets(), &[0x12, 0x67, 1, 0xbb]].concat()
}

/// FOUR with a checksum, which covers itself as zeros.
fn summed() -> Vec<u8> {
    let mut header = v2(PROXY, TCP4, &[&FOUR[..], &[0x20, 0, 1, 7], &[CRC32C, 0, 4, 0, 0, 0, 0]].concat());
    let sum = crc32c(header.iter().copied());
    let place = header.len() - 4;
    header[place..].copy_from_slice(&sum.to_be_bytes());
    header
}

fn accepted() -> Vec<(Vec<u8>, Announced)> {
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_LONGEST - V1_SHORTEST - 1));
    vec![
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(), client("192.0.2.1:4711")),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n".to_vec(), client("255.255.255.255:65535")),
        (b"PROXY TCP6 2001:DB8::1 ::1 4711 443\r\n".to_vec(), client("[2001:db8::1]:4711")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Announced::Unknown),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), Announced::Unknown),
        (long.into_bytes(), Announced::Unknown),
        (v2(PROXY, TCP4, &FOUR), client("192.0.2.1:4711")),
        (v2(PROXY, TCP6, &six()), client("[2001:db8::1]:4711")),
        (v2(PROXY, UNIX, &[b'/'; UNIX_LENGTH]), Announced::Unknown),
        (v2(PROXY, UNSPECIFIED, &[]), Announced::Unknown),
        (v2(PROXY, UNSPECIFIED, &[9; 5]), Announced::Unknown),
        (v2(LOCAL, UNSPECIFIED, &[]), Announced::Local),
        (v2(LOCAL, TCP4, &FOUR), Announced::Local),
        (v2(LOCAL, 0xff, &[1, 2, 3]), Announced::Local),
        (v2(PROXY, TCP4, &[&FOUR[..], &[4, 0, 0], &[0xea, 0, 2, 1, 2]].concat()), client("192.0.2.1:4711")),
        (v2(PROXY, TCP4, &[&FOUR[..], &[4, 0x0f, 0xe1], &[0; 0xfe1]].concat()), client("192.0.2.1:4711")),
        (summed(), client("192.0.2.1:4711")),
    ]
}

#[test]
fn a_header_is_read_and_ends_where_it_says() {
    for (header, announced) in accepted() {
        let expected = Ok(Parsed::Header(announced, header.len()));
        assert_eq!(parse(&header), expected, "{header:?}");
        let followed = [&header[..], b"\x16\x03\x01PROXY TCP4\r\n\r\n"].concat();
        assert_eq!(parse(&followed), expected, "{header:?}");
    }
}

#[test]
fn no_more_is_asked_for_than_the_header_has() {
    for (header, _) in accepted() {
        for length in 0..header.len() {
            let Ok(Parsed::Missing(count)) = parse(&header[..length]) else {
                panic!("{:?} is not {:?}", parse(&header[..length]), &header[..length]);
            };
            assert!(count > 0 && length + count <= header.len(), "{count} after {length} of {header:?}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let mut wrong_sum = summed();
    *wrong_sum.last_mut().unwrap() ^= 1;
    let mut wrong_address = summed();
    wrong_address[V2_FIXED] ^= 1;
    let line = |text: &str| text.as_bytes().to_vec();
    for header in [
        line("GET / HTTP/1.1\r\n"),
        line("\x16\x03\x01"),
        line("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        line("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        line("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
        line("PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1 x\r\n"),
        line("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"),
        line("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"),
        line("PROXY TCP4 192.0.2.1 ::1 1 2\r\n"),
        line("PROXY TCP4 ::1 ::1 1 2\r\n"),
        line("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"),
        line("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"),
        line("PROXY TCP5 ::1 ::1 1 2\r\n"),
        line("PROXY UNKNOWNS\r\n"),
        line("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n"),
        line(&format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_LONGEST))),
        v2(0x11, TCP4, &FOUR),
        v2(0x22, TCP4, &FOUR),
        v2(PROXY, 0x12, &FOUR),
        v2(PROXY, 0x22, &six()),
        v2(PROXY, 0x32, &[0; UNIX_LENGTH]),
        v2(PROXY, 0x01, &FOUR),
        v2(PROXY, TCP4, &[]),
        v2(PROXY, TCP4, &FOUR[..11]),
        v2(PROXY, TCP6, &six()[..35]),
        v2(PROXY, TCP6, &FOUR),
        v2(PROXY, UNIX, &[0; UNIX_LENGTH - 1]),
        v2(PROXY, TCP4, &[&FOUR[..], &[4]].concat()),
        v2(PROXY, TCP4, &[&FOUR[..], &[4, 0]].concat()),
        v2(PROXY, TCP4, &[&FOUR[..], &[4, 0, 2, 1]].concat()),
        v2(PROXY, TCP4, &[&FOUR[..], &[CRC32C, 0, 3, 0, 0, 0]].concat()),
        v2(PROXY, TCP4, &[0; V2_LONGEST]),
        wrong_sum,
        wrong_address,
    ] {
        assert!(parse(&header).is_err(), "{:?} from {:?}", parse(&header), String::from_utf8_lossy(&header));
    }
}

#[test]
fn the_checksum_is_the_one_of_the_rfc() {
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}

proptest! {
    #[test]
    fn nothing_panics_and_a_header_ends_within_the_bytes(start in 0..3_usize, tail: Vec<u8>) {
        let bytes = [[&b""[..], V1_START, V2_START][start], &tail].concat();
        match parse(&bytes) {
            Ok(Parsed::Header(_, length)) => prop_assert!(length <= bytes.len()),
            Ok(Parsed::Missing(count)) => prop_assert!(count > 0 && bytes.len() + count <= V2_LONGEST),
            Err(_) => {}
        }
    }

    #[test]
    fn what_comes_after_a_header_changes_nothing(which in 0..17_usize, tail: Vec<u8>) {
        let (header, announced) = accepted().swap_remove(which);
        let bytes = [&header[..], &tail].concat();
        prop_assert_eq!(parse(&bytes), Ok(Parsed::Header(announced, header.len())));
    }

    #[test]
    fn every_client_is_read_as_it_was_written(source: IpAddr, port: u16) {
        let (family, name, body) = match source {
            IpAddr::V4(ip) => (TCP4, "TCP4", [&ip.octets()[..], &[0; 4]].concat()),
            IpAddr::V6(ip) => (TCP6, "TCP6", [&ip.octets()[..], &[0; 16]].concat()),
        };
        let expected = Announced::Client(SocketAddr::new(source, port));
        let line = format!("PROXY {name} {source} {source} {port} 1\r\n").into_bytes();
        prop_assert_eq!(parse(&line), Ok(Parsed::Header(expected, line.len())));
        let header = v2(PROXY, family, &[&body[..], &port.to_be_bytes(), &[0, 1]].concat());
        prop_assert_eq!(parse(&header), Ok(Parsed::Header(expected, header.len())));
    }
}
