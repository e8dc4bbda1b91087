//! The PROXY protocol, versions 1 and 2: a load balancer says for whom it connects, before anything else is said.
//!
//! [`parse`] is pure, and strict: a receiver that guesses where the header ends reads what follows as something else.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str,
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// For whom a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Announced {
    /// For the client at this address.
    Client(SocketAddr),
    /// For nobody: the load balancer itself asks, to see whether we are well.
    Local,
    /// For somebody without an IP address, or whom the load balancer cannot name.
    Unknown,
}

/// How far the bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parsed {
    /// A whole header, of so many bytes.
    Header(Announced, usize),
    /// The beginning of a header; at least so many bytes are missing.
    Missing(usize),
}

/// What is not a header, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no PROXY protocol header: {0}")]
pub struct Malformed(&'static str);

const V1_START: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN`, CR, LF.
const V1_SHORTEST: usize = 15;
/// Two IPv6 addresses and two ports of five digits fit, with CR and LF.
const V1_LONGEST: usize = 107;

const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The start, version and command, family, and the length of what follows.
const V2_FIXED: usize = 16;
/// The protocol allows for 64 KiB of additions (TLVs). Load balancers send a few dozen bytes.
const V2_LONGEST: usize = 4096;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

/// Bytes of two addresses and two ports, and of two paths.
const TCP4_LENGTH: usize = 12;
const TCP6_LENGTH: usize = 36;
const UNIX_LENGTH: usize = 216;

/// The type of an addition that is a checksum of the whole header.
const CRC32C: u8 = 0x03;

/// Reads the header at the start of `bytes`.
///
/// # Errors
/// It is not one, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let begins = |start: &[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    if begins(V1_START) {
        v1(bytes)
    } else if begins(V2_START) {
        v2(bytes)
    } else {
        Err(Malformed("it begins with something else"))
    }
}

/// Reads the header at the start of `stream`, and not a byte of what comes after it.
///
/// # Errors
/// It is malformed, or the stream ends before it does.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Announced> {
    let mut bytes = Vec::with_capacity(V1_LONGEST);
    loop {
        match parse(&bytes).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))? {
            Parsed::Header(announced, _) => return Ok(announced),
            Parsed::Missing(count) => {
                let start = bytes.len();
                bytes.resize(start + count, 0);
                stream.read_exact(&mut bytes[start..]).await?;
            }
        }
    }
}

fn v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(end) = bytes.iter().take(V1_LONGEST).position(|byte| *byte == b'\n') else {
        if bytes.len() >= V1_LONGEST {
            return Err(Malformed("the line is longer than 107 bytes"));
        }
        let ending = if bytes.last() == Some(&b'\r') { 1 } else { 2 };
        return Ok(Parsed::Missing(ending.max(V1_SHORTEST.saturating_sub(bytes.len()))));
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed("the line does not end with CR LF"))?;
    let line = str::from_utf8(line).map_err(|_| Malformed("the line is not ASCII"))?;
    let mut words = line.split(' ').skip(1);
    let announced = match words.next() {
        Some("TCP4") => v1_client::<Ipv4Addr>(words)?,
        Some("TCP6") => v1_client::<Ipv6Addr>(words)?,
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => Announced::Unknown,
        _ => return Err(Malformed("the family is none of TCP4, TCP6 and UNKNOWN")),
    };
    Ok(Parsed::Header(announced, end + 1))
}

/// Source and destination address, source and destination port, and nothing else.
fn v1_client<'a, A: str::FromStr + Into<IpAddr>>(words: impl Iterator<Item = &'a str>) -> Result<Announced, Malformed> {
    let words: Vec<_> = words.collect();
    let &[source, destination, source_port, destination_port] = words.as_slice() else {
        return Err(Malformed("there are not two addresses and two ports"));
    };
    let address = |text: &str| text.parse::<A>().map_err(|_| Malformed("an address is not one of its family"));
    let port = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u16>().ok().filter(|_| plain).ok_or(Malformed("a port is not one"))
    };
    let (source, _) = (address(source)?, address(destination)?);
    let (source_port, _) = (port(source_port)?, port(destination_port)?);
    Ok(Announced::Client(SocketAddr::new(source.into(), source_port)))
}

fn v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        return Ok(Parsed::Missing(V2_FIXED - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    if !matches!(command, LOCAL | PROXY) {
        return Err(Malformed("the version is not 2, or the command neither LOCAL nor PROXY"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if V2_FIXED + length > V2_LONGEST {
        return Err(Malformed("it is longer than 4096 bytes"));
    }
    let Some(body) = rest.get(..length) else {
        return Ok(Parsed::Missing(length - rest.len()));
    };
    let whole = &bytes[..V2_FIXED + length];
    let announced = match (command, family) {
        // Whatever the rest says is to be ignored.
        (LOCAL, _) => Announced::Local,
        (_, UNSPECIFIED) => Announced::Unknown,
        (_, TCP4) => {
            check_additions(whole, TCP4_LENGTH)?;
            Announced::Client(v2_client::<4>(body, TCP4_LENGTH - 4).ok_or(TOO_SHORT)?)
        }
        (_, TCP6) => {
            check_additions(whole, TCP6_LENGTH)?;
            Announced::Client(v2_client::<16>(body, TCP6_LENGTH - 4).ok_or(TOO_SHORT)?)
        }
        (_, UNIX) => {
            check_additions(whole, UNIX_LENGTH)?;
            Announced::Unknown
        }
        _ => return Err(Malformed("the family is none of TCP over IPv4 and IPv6, Unix stream and unspecified")),
    };
    Ok(Parsed::Header(announced, whole.len()))
}

const TOO_SHORT: Malformed = Malformed("it has no room for its addresses");

/// The source: its address comes first, its port at `port`.
fn v2_client<const N: usize>(body: &[u8], port: usize) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let address = *body.first_chunk::<N>()?;
    let port = *body.get(port..)?.first_chunk::<2>()?;
    Some(SocketAddr::new(address.into(), u16::from_be_bytes(port)))
}

/// Walks over the additions (TLVs) after `addresses` bytes of addresses: they fill the rest to the byte, and a checksum
/// among them is right.
fn check_additions(header: &[u8], addresses: usize) -> Result<(), Malformed> {
    const CUT: Malformed = Malformed("an addition is cut off");
    let start = V2_FIXED + addresses;
    let mut rest = header.get(start..).ok_or(TOO_SHORT)?;
    while !rest.is_empty() {
        let (&[kind, high, low], after) = rest.split_first_chunk::<3>().ok_or(CUT)?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low]))).ok_or(CUT)?;
        if kind == CRC32C {
            let written = value.try_into().map(u32::from_be_bytes).map_err(|_| Malformed("a checksum is cut off"))?;
            let place = header.len() - after.len() - value.len();
            let zeroed = header.iter().enumerate().map(|(i, byte)| if i.wrapping_sub(place) < 4 { 0 } else { *byte });
            if crc32c(zeroed) != written {
                return Err(Malformed("the checksum is not right"));
            }
        }
        rest = after;
    }
    Ok(())
}

/// The checksum of RFC 9260 appendix A. Bit by bit: it is once per connection, and few load balancers ask for it.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (REVERSED_POLYNOMIAL & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests;
