//! The rule that is found is the one that asking each of them, one after the other, finds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

/// The few texts of the segments make most paths the path of some rule, and the many depths lead past the end of the
/// index.
fn pattern() -> impl Strategy<Value = PathPattern> {
    let text = prop_oneof![
        8 => "(/(a|b|a\\*|\\*)){0,5}(/|/\\*\\*)?",
        1 => "(/a){14,18}(/b)?(/\\*\\*)?",
        1 => "/(A|é|%|\\*b)(/\\*\\*)?",
    ];
    text.prop_filter_map("not a pattern", |text| PathPattern::parse(&text).ok())
}

/// Most are canonical. But a reading is looked up before it is known to be one that passes.
fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "(/[ab]{1,2}){0,6}/?",
        2 => "(/a){14,19}(/b)?/?",
        2 => "/?([abA*é%.;\\\\\u{1}-\u{5}]|/){0,8}",
        1 => "\\PC{0,12}",
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let methods = vec(select(vec![Method::GET, Method::HEAD, Method::POST]), 0..2);
    let hosts = vec(select(vec!["a.example", "*.example", "[::1]"]).prop_map(|host| host.parse().unwrap()), 0..2);
    let clients = vec(select(vec!["192.0.2.0/24", "::/0"]).prop_map(|network| network.parse().unwrap()), 0..2);
    (option::weighted(0.95, pattern()), methods, hosts, clients).prop_map(|(path, methods, hosts, clients)| Rule {
        path,
        methods,
        hosts,
        clients,
        paths: Paths::default(),
        proofs: Vec::new(),
        demand: Demand::Nothing,
        forwards_credentials: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_rule_that_decides_is_the_first_that_matches(
        rules in vec(rule(), 0..60),
        paths in vec(path(), 1..20),
        method in select(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT]),
        host in select(vec!["a.example", "B.EXAMPLE", "example", "[0::1]", ""]),
        client in option::of(select(vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), "2001:db8::7".parse().unwrap()])),
    ) {
        let rules = Rules::new(rules);
        for path in &paths {
            let asked = Asked { method: &method, host: host.as_bytes(), path, client };
            let first = rules.iter().position(|rule| rule.matches(&asked));
            prop_assert_eq!(rules.first(&asked), first, "{:?} of {:?}", path, rules);
        }
    }
}
