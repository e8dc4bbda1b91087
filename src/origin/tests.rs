//! Who is believed about what.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, prelude::*};

use super::*;

fn trust() -> Arc<Trust> {
    trusting(Forwarded::XForwarded)
}

fn trusting(headers: Forwarded) -> Arc<Trust> {
    let proxies = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"].map(|network| network.parse().unwrap());
    Arc::new(Trust::new(&proxies.map(TrustedProxy::Network), headers))
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// The origin of a request with these headers, which 10.0.0.1 passes on over plain HTTP. The family that comes first is the
/// one that is believed.
fn believed(lines: &[(&'static str, &str)]) -> Origin {
    let rfc_7239 = lines.first().is_some_and(|(name, _)| *name == "forwarded");
    let family = if rfc_7239 { Forwarded::Forwarded } else { Forwarded::XForwarded };
    let proxy = Client::new(Some("10.0.0.1:5".parse().unwrap()), false).believed(&trusting(family));
    Origin::new(Arc::new(proxy), &headers(lines))
}

const FOR: &str = "x-forwarded-for";

#[test]
fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
    for (lines, client, chain) in [
        (&[][..], "10.0.0.1", "10.0.0.1"),
        (&[(FOR, "203.0.113.9")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[(FOR, "1.1.1.1, 203.0.113.9")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[(FOR, "10.9.9.9, 203.0.113.9")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (
            &[(FOR, "1.1.1.1, 203.0.113.9, 10.2.0.1,192.0.2.7")],
            "203.0.113.9",
            "203.0.113.9, 10.2.0.1, 192.0.2.7, 10.0.0.1",
        ),
        (
            &[(FOR, "1.1.1.1"), (FOR, "203.0.113.9"), (FOR, "10.2.0.1")],
            "203.0.113.9",
            "203.0.113.9, 10.2.0.1, 10.0.0.1",
        ),
        (&[(FOR, "10.3.0.1, 10.2.0.1")], "10.3.0.1", "10.3.0.1, 10.2.0.1, 10.0.0.1"),
        // Before the client's own address is the client's own word.
        (&[(FOR, "<script>, 203.0.113.9")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[(FOR, ",,203.0.113.9")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[(FOR, "unknown"), (FOR, "203.0.113.9")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[(FOR, "203.0.113.9:4711")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[(FOR, "2001:DB8::1")], "2001:db8::1", "2001:db8::1, 10.0.0.1"),
        (&[(FOR, "[2001:db8::1]")], "2001:db8::1", "2001:db8::1, 10.0.0.1"),
        (&[(FOR, "[2001:db8::1]:4711, [fd00::1]:1")], "2001:db8::1", "2001:db8::1, fd00::1, 10.0.0.1"),
        (&[(FOR, "::ffff:203.0.113.9")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[("forwarded", "for=203.0.113.9")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (
            &[("forwarded", "for=1.1.1.1, for=203.0.113.9, for=10.2.0.1")],
            "203.0.113.9",
            "203.0.113.9, 10.2.0.1, 10.0.0.1",
        ),
        (&[("forwarded", "for=\""), ("forwarded", "for=\"[2001:db8::1]:80\"")], "2001:db8::1", "2001:db8::1, 10.0.0.1"),
        // The other family is not looked at, whatever stands there.
        (&[(FOR, "203.0.113.9"), ("forwarded", "for=1.1.1.1")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[(FOR, "203.0.113.9"), ("forwarded", "evil")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[("forwarded", "for=203.0.113.9"), (FOR, "1.1.1.1")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (&[("forwarded", "for=203.0.113.9"), (FOR, "evil")], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
    ] {
        let origin = believed(lines);
        assert_eq!(origin.valid(), Ok(()), "{lines:?}");
        assert_eq!(origin.ip(), Some(client.parse().unwrap()), "{lines:?}");
        assert_eq!(origin.address().map(|address| address.ip()), origin.ip(), "{lines:?}");
        assert_eq!(origin.forwarded_for(), chain, "{lines:?}");
    }
}

#[test]
fn scheme_host_and_port_are_those_that_the_client_used() {
    for (lines, encrypted, host, port) in [
        (&[][..], false, None, None),
        (&[("x-forwarded-proto", "https")], true, None, None),
        (&[("x-forwarded-proto", "HTTP")], false, None, None),
        (&[("x-forwarded-proto", "wss")], true, None, None),
        (&[("x-forwarded-proto", "http, https")], true, None, None),
        (&[("x-forwarded-proto", "http"), ("x-forwarded-proto", "https")], true, None, None),
        (&[("x-forwarded-host", "shop.example:444")], false, Some("shop.example:444"), None),
        (&[("x-forwarded-host", "evil.test, shop.example")], false, Some("shop.example"), None),
        (&[("x-forwarded-port", "444")], false, None, Some("444")),
        (&[("forwarded", "for=1.1.1.1;proto=https;host=shop.example")], true, Some("shop.example"), None),
        (&[("forwarded", "for=1.1.1.1;host=\"a:1\", for=10.0.0.2;proto=https;host=b")], false, Some("a:1"), None),
        (
            &[
                ("forwarded", "for=1.1.1.1;host=a"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "b"),
                ("x-forwarded-port", "1"),
            ],
            false,
            Some("a"),
            None,
        ),
        (&[("x-forwarded-host", "a"), ("forwarded", "for=1.1.1.1;proto=https;host=b")], false, Some("a"), None),
    ] {
        let origin = believed(lines);
        assert_eq!(origin.valid(), Ok(()), "{lines:?}");
        assert_eq!(origin.is_encrypted(), encrypted, "{lines:?}");
        let text = |value: Option<&HeaderValue>| value.map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(text(origin.host()).as_deref(), host, "{lines:?}");
        assert_eq!(text(origin.port()).as_deref(), port, "{lines:?}");
    }
}

#[test]
fn what_is_malformed_or_contradicts_itself_is_refused() {
    for lines in [
        &[(FOR, "")][..],
        &[(FOR, "unknown")],
        &[(FOR, "203.0.113.9,")],
        &[(FOR, "203.0.113.9, , 10.0.0.2")],
        &[(FOR, "203.0.113.9 10.0.0.2")],
        &[(FOR, "203.0.113.9, garbage, 10.0.0.2")],
        &[(FOR, "203.0.113.09")],
        &[(FOR, "203.0.113.9:99999")],
        &[(FOR, "fe80::1%eth0")],
        &[(FOR, "localhost")],
        &[(FOR, "\"203.0.113.9\"")],
        &[(FOR, "\u{e9}")],
        &[("x-forwarded-proto", "")],
        &[("x-forwarded-proto", "gopher")],
        &[("x-forwarded-proto", "https;")],
        &[("x-forwarded-host", "")],
        &[("x-forwarded-host", "a b")],
        &[("x-forwarded-host", "user@a")],
        &[("x-forwarded-host", "a/b")],
        &[("x-forwarded-port", "0")],
        &[("x-forwarded-port", "+443")],
        &[("x-forwarded-port", "65536")],
        &[("x-forwarded-port", "https")],
        &[("forwarded", "for=unknown")],
        &[("forwarded", "for=_hidden")],
        &[("forwarded", "proto=https")],
        &[("forwarded", "for=1.1.1.1;proto=gopher")],
        &[("forwarded", "for=1.1.1.1;host=a/b")],
        &[("forwarded", "for=1.1.1.1;for=2.2.2.2")],
        // The client opens a quote, so that what the proxy adds is swallowed.
        &[("forwarded", "for=\"x, for=203.0.113.9")],
        &[("forwarded", "for=\""), (FOR, "203.0.113.9")],
        &[(FOR, "unknown"), ("forwarded", "for=203.0.113.9")],
    ] {
        let origin = believed(lines);
        assert_eq!(origin.valid(), Err(Reason::ForwardedInvalid), "{lines:?}");
        assert_eq!(origin.forwarded_for(), "10.0.0.1", "{lines:?}");
    }
}

#[test]
fn nobody_is_believed_who_is_not_trusted() {
    let lies = headers(&[(FOR, "10.9.9.9"), ("x-forwarded-proto", "gopher"), ("forwarded", "for=10.9.9.9;host=x")]);
    for address in ["11.0.0.1:5", "192.0.2.8:5", "[fc00::1]:5", "[::ffff:11.0.0.1]:5"] {
        let address: SocketAddr = address.parse().unwrap();
        assert!(!trust().has_peer(Some(address)));
        let origin = Origin::new(Arc::new(Client::new(Some(address), true)), &lies);
        assert_eq!(origin.valid(), Ok(()));
        assert_eq!(origin.ip(), Some(address.ip().to_canonical()));
        assert_eq!(origin.forwarded_for(), &address.ip().to_canonical().to_string());
        assert!(origin.is_encrypted() && origin.host().is_none() && origin.port().is_none());
    }
    for address in ["10.0.0.1:5", "192.0.2.7:5", "[fd00::1]:5", "[::ffff:10.0.0.1]:5"] {
        assert!(trust().has_peer(Some(address.parse().unwrap())), "{address}");
    }
}

#[test]
fn a_unix_socket_has_no_address_and_is_trusted_by_its_name() {
    let trusting = |proxies: &[TrustedProxy]| Arc::new(Trust::new(proxies, Forwarded::default()));
    let everyone = ["0.0.0.0/0", "::/0"].map(|network| TrustedProxy::Network(network.parse().unwrap()));
    assert!(!trusting(&everyone).has_peer(None) && trusting(&[TrustedProxy::Unix]).has_peer(None));

    let alone = Origin::new(Arc::new(Client::new(None, false)), &headers(&[(FOR, "203.0.113.9")]));
    assert_eq!((alone.ip(), alone.address()), (None, None));
    assert_eq!(alone.forwarded_for(), "unknown");
    let client = Client::new(None, false).believed(&trusting(&[TrustedProxy::Unix]));
    let told = Origin::new(Arc::new(client), &headers(&[(FOR, "1.1.1.1, 203.0.113.9")]));
    assert_eq!(told.ip(), Some("203.0.113.9".parse().unwrap()));
    assert_eq!(told.forwarded_for(), "203.0.113.9, unknown");
}

#[test]
fn everyone_is_whoever_connects_and_not_whoever_is_named() {
    let everyone = TrustedProxy::Network("0.0.0.0/0".parse().unwrap());
    let trust = Arc::new(Trust::new(&[everyone], Forwarded::default()));
    let peer = "203.0.113.1:5".parse().unwrap();
    assert!(trust.has_peer(Some(peer)) && !trust.has_told("203.0.113.9".parse().unwrap()));
    let client = Client::new(Some(peer), false).believed(&trust);
    let origin = Origin::new(Arc::new(client), &headers(&[(FOR, "10.0.0.1, 203.0.113.9")]));
    assert_eq!(origin.ip(), Some("203.0.113.9".parse().unwrap()));
}

#[test]
fn a_client_that_cannot_be_named_is_logged_as_its_proxy_and_is_nobody_to_rules() {
    let address = "10.0.0.1:5".parse().unwrap();
    let origin = Origin::new(Arc::new(Client::new(Some(address), true).unnamed()), &HeaderMap::new());
    assert_eq!((origin.ip(), origin.address()), (None, Some(address)));
}

proptest! {
    /// What a client sends by itself stands to the left of what the first proxy adds, and changes nothing.
    #[test]
    fn a_client_cannot_choose_its_address(own in "[ -~]{0,40}", client: IpAddr, hops in vec(any::<u16>(), 0..4)) {
        let client = client.to_canonical();
        prop_assume!(!trust().has_told(client));
        let added: String = hops.iter().map(|hop| format!(", 10.1.{}.{}", hop >> 8, hop & 0xff)).collect();
        let said = format!("{client}{added}");
        let chain = format!("{said}, 10.0.0.1");
        for lines in [&[(FOR, own.as_str()), (FOR, said.as_str())][..], &[(FOR, &format!("{own},{said}"))]] {
            let origin = believed(lines);
            prop_assert_eq!(origin.valid(), Ok(()));
            prop_assert_eq!(origin.ip(), Some(client));
            prop_assert_eq!(origin.forwarded_for(), &chain);
        }
    }

    /// In `Forwarded` a quote could reach into what the proxy adds; then the request is refused.
    #[test]
    fn a_client_cannot_choose_its_address_in_forwarded(own in "[ -~]{0,40}", client: IpAddr) {
        let client = client.to_canonical();
        prop_assume!(!trust().has_told(client));
        let origin = believed(&[("forwarded", &format!("{own}, for=\"[{client}]\";proto=https").replace(
            &format!("[{client}]"), &if client.is_ipv6() { format!("[{client}]") } else { client.to_string() },
        ))]);
        prop_assert!(origin.valid().is_err() || origin.ip() == Some(client) && origin.is_encrypted());
    }

    #[test]
    fn nothing_panics(name in 0..5_usize, value: Vec<u8>) {
        let name = [FOR, "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"][name];
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            for family in [Forwarded::XForwarded, Forwarded::Forwarded] {
                let proxy = Client::new(Some("10.0.0.1:5".parse().unwrap()), false).believed(&trusting(family));
                let _ = Origin::new(Arc::new(proxy), &headers).ip();
            }
        }
    }
}
