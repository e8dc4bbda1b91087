//! What contradicts itself, and what cannot mean anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::{Case, SMALLEST};

#[test]
fn what_cannot_work_together_is_refused() {
    refused(&[
        ("listen: {}", "1: listen: there is no certificate to serve TLS with; set `listen.tls`; or"),
        (
            "listen: { tls: { certificate: c, key: k }, plaintext: true }",
            "1: listen.plaintext: `tls` and `plaintext` exclude",
        ),
        ("listen: { tls: { certificate: c } }", "1: listen.tls: `key` is missing"),
        ("admin: { address: 127.0.0.1:8443 }", "1: admin.address: 127.0.0.1:8443 and listen.address 0.0.0.0:8443"),
        ("upstream: http://127.0.0.1:8443", "1: upstream.address: http://127.0.0.1:8443 is our own listener"),
        ("upstream: http://localhost:8443/", "is our own listener"),
        (
            "upstream: unix:/run/a.sock;listen: { address: 'unix:/run/a.sock', plaintext: true }",
            "unix:/run/a.sock is our own listener",
        ),
        ("upstream: http://[::1]:8443", "is our own listener"),
        ("upstream: { connect_timeout: 0 }", "1: upstream.connect_timeout: with no time to connect"),
        ("limits: { handshake_timeout: 0s }", "no TLS handshake succeeds; set it to 10s"),
        ("limits: { header_timeout: 0 }", "no request succeeds"),
        ("limits: { client_idle_timeout: 0 }", "no connection succeeds"),
        ("limits: { max_header_bytes: 1023 }", "set it to 1KiB or more"),
        ("limits: { http2_streams: 0 }", "listen.http2: false"),
        ("workers: 65", "65 workers are more than 64"),
        // The most that a semaphore counts is less, and more than that is a panic.
        ("limits: { max_headers: 20001 }", "limits.max_headers: 20001 are more than 20000"),
        ("limits: { max_in_flight: 9999999999999999999 }", "9999999999999999999 are more than 1000000"),
        ("limits: { max_connections: 1000001 }", "1000001 are more than 1000000"),
        ("rules: []", "auth: there is neither authentication nor a rule; set `auth` and `rules`; to let everybody in"),
        ("rules: [{ allow: authenticated }]", "auth: a rule asks who is calling, and there is nothing to prove it by"),
        (
            "rules: [];auth: { basic: { users_file: u } }",
            "1: rules: there is no rule, so that every request would be refused",
        ),
        (
            "auth: { basic: { users_file: u, realm: 'a\"b' } }",
            "1: auth.basic.realm: the realm is sent in a quoted header",
        ),
        (
            "auth: { basic: { users_file: u, failures: { per_client: 10001 } } }",
            "1: auth.basic.failures.per_client: 10001 wrong passwords, where 10000 at the most are counted; write 0 for",
        ),
        ("auth: { basic: { users_file: u, failures: { per_user: 10001 } } }", "1: auth.basic.failures.per_user: 10001"),
        (
            "auth: { basic: { users_file: u, failures: { window: 0 } } }",
            "1: auth.basic.failures.window: the window is not between a second and a day; write 60s; ",
        ),
        ("auth: { basic: { users_file: u, failures: { window: 25h } } }", "1: auth.basic.failures.window: the window"),
    ]);
}

#[test]
fn a_rule_can_only_take_credentials_that_there_are() {
    let both = "auth: { jwt: [{ name: corp, keys: { file: k } }], basic: { users_file: u } }";
    let apart =
        "auth: { jwt: [{ name: corp, keys: { file: k }, token_from: [{ cookie: t }] }], basic: { users_file: u } }";
    for (auth, rule, complaint) in [
        (both, "credentials: []", "rules[0].credentials: the list is empty"),
        (
            both,
            "credentials: [corpo]",
            "`corpo` is neither `jwt` nor `basic` nor an issuer's name; did you mean `corp`?",
        ),
        (
            both,
            "credentials: other",
            "`other` is neither `jwt` nor `basic` nor an issuer's name; write one of corp, jwt",
        ),
        ("auth: { basic: { users_file: u } }", "credentials: jwt", "there is no issuer of tokens; set `auth.jwt`"),
        ("auth: { jwt: [{ keys: { file: k } }] }", "credentials: basic", "there are no passwords; set `auth.basic`"),
        (both, "credentials: { all: [corp, basic] }", "would both have to be in `Authorization`"),
        (apart, "credentials: { all: [corp] }", "a request can prove a token and a password, and nothing else at once"),
        (apart, "credentials: { all: [corp, jwt] }", "a request can prove a token and a password"),
        (apart, "credentials: { all: [basic, basic] }", "a request can prove a token and a password"),
        (apart, "credentials: { every: [corp] }", "credentials"),
        (apart, "credentials: { any: [corp], all: [corp, basic] }", "either `any` or `all`, not both"),
        (apart, "credentials: {}", "neither `any` nor `all`"),
        (apart, "credentials: 5", "a list like `[jwt, basic]`"),
    ] {
        refused(&[(&format!("{auth};rules: [{{ {rule}, allow: authenticated }}]"), complaint)]);
    }
    refused(&[
        (
            &format!("{both};rules: [{{ credentials: jwt, allow: anyone }}]"),
            "rules[0].credentials: a rule that lets anyone through asks for no credentials",
        ),
        ("auth: { jwt: [{ name: basic, keys: { file: k } }] }", "auth.jwt[0].name: `basic` stands for passwords"),
        (
            &format!("{both};rules: [{{ allow: {{ any: [{{ users: [a] }}, {{}}] }} }}]"),
            "rules[0].allow.any[1]: this asks nothing of the caller",
        ),
        (&format!("{both};rules: [{{ allow: {{ any: [{{ user: [a] }}] }} }}]"), "did you mean `users`"),
    ]);
}

#[test]
fn tokens_can_only_be_where_they_can_be_found_and_taken_out() {
    for (sources, complaint) in [
        ("[]", "1: auth.jwt[0].token_from: the list is empty"),
        ("[cookie]", "auth.jwt[0].token_from[0]"),
        ("[{ cookie: a, query: b }]", "auth.jwt[0].token_from[0]: this must be exactly one of `header`, `cookie`"),
        ("[{ cooky: a }]", "did you mean `cookie`"),
        ("[{ header: X_Token }]", "token_from[0]: `X_Token` is not the name of a header that gets here"),
        ("[{ header: 'a b' }]", "`a b` is not the name of a header"),
        ("[{ header: Cookie }]", "`Cookie` has another meaning"),
        ("[{ header: X-Forwarded-For }]", "`X-Forwarded-For` has another meaning"),
        ("[{ header: User-Agent }]", "`User-Agent` has another meaning"),
        ("[{ header: referer }]", "`referer` has another meaning"),
        ("[{ header: Sec-WebSocket-Protocol }]", "has another meaning and cannot carry a token"),
        ("[{ cookie: 'a b' }]", "`a b` is not the name of a cookie"),
        ("[{ cookie: '' }]", "`` is not the name of a cookie"),
        ("[{ query: 'a&b' }]", "`a&b` cannot be the name of a parameter"),
        ("[{ query: '' }]", "`` cannot be the name of a parameter"),
        ("[{ websocket_protocol: false }]", "token_from[0]: `false` is no source; take it out"),
        ("[{ header: X-T }, { query: t }, { header: x-t }]", "token_from[2]: this is there twice"),
    ] {
        refused(&[(&format!("auth: {{ jwt: [{{ keys: {{ file: a }}, token_from: {sources} }}] }}"), complaint)]);
    }
    for origin in [
        "https://app.example/",
        "https://app.example:443",
        "https://App.example",
        "app.example",
        "https://*.example",
        "https://u@app.example",
        "'null'",
        "''",
    ] {
        let complaint = "1: auth.trusted_origins[0]: `";
        refused(&[(&format!("auth: {{ trusted_origins: [{origin}] }}"), complaint)]);
        let complaint = "1: cors.origins[0]: `";
        refused(&[(&format!("cors: {{ preflight: answer, origins: [{origin}] }}"), complaint)]);
    }
}

#[test]
fn issuers_are_told_apart() {
    refused(&[
        (
            "auth: { jwt: [{ keys: { file: a }, name: a }, { keys: { file: b }, name: b }] }",
            "1: auth.jwt[1]: auth.jwt[0] has no `issuer`",
        ),
        (
            "auth: { jwt: [{ issuer: i, keys: { file: a } }, { keys: { file: b } }] }",
            "1: auth.jwt[1].name: an issuer is called `jwt`, which stands for the tokens of every issuer; give it another",
        ),
        (
            "auth: { jwt: [{ name: jwt, issuer: i, keys: { file: a } }, { name: b, keys: { file: b } }] }",
            "1: auth.jwt[0].name: an issuer is called `jwt`",
        ),
        (
            "auth: { jwt: [{ issuer: i, keys: { file: a } }, { issuer: i, name: b, keys: { file: b } }] }",
            "auth.jwt[1].issuer: auth.jwt[0] has the issuer `i` too",
        ),
        (
            "auth: { jwt: [{ issuer: 'https://h/a', keys: { file: a } }, { issuer: 'https://h/b', keys: { file: b } }] }",
            "auth.jwt[1]: auth.jwt[0] is called `h` too",
        ),
        ("auth: { jwt: [{ issuer: '', keys: { file: a } }] }", "issuer: the issuer is empty"),
        ("auth: { jwt: [{ issuer: null, keys: { file: a } }] }", "issuer: this must be a string, not nothing"),
        (
            "auth: { jwt: [{ issuer: i }] }",
            "auth.jwt[0].keys: the issuer cannot be asked where its keys are: `i` is no URL",
        ),
        ("auth: { jwt: [{ keys: jwks.json }] }", "keys: this must be a map of keys, not `jwks.json`"),
        ("auth: { jwt: [{ keys: file }] }", "keys: this must be a map of keys, not `file`"),
        ("auth: { jwt: [{ keys: { url: x } }] }", "keys.url: `x` is no URL; write it like https://"),
        (
            "auth: { jwt: [{ keys: { url: 'http://login.example/' } }] }",
            "keys.url: `http://login.example/` is not https",
        ),
        ("auth: { jwt: [{ keys: { url: 'https://169.254.169.254/' } }] }", "is link-local"),
        (
            "auth: { jwt: [{ keys: { discovery: true } }] }",
            "keys: the issuer cannot be asked where its keys are: there is no `issuer`",
        ),
        ("auth: { jwt: [{ keys: { discovery: false } }] }", "keys: `discovery: false` is no source; take it out"),
        (
            "auth: { jwt: [{ keys: { file: a, refresh: 5m } }] }",
            "keys: `refresh` does not belong to `file`; take it out",
        ),
        (
            "auth: { jwt: [{ keys: { file: a, refresh: 5m, ca: b, cache: 1m } }] }",
            "keys: `refresh`, `cache`, `ca` do not belong to `file`; take them out",
        ),
        ("auth: { jwt: [{ keys: { url: 'https://h/', cache: 5m } }] }", "keys: `cache` does not belong to `url`"),
        ("auth: { jwt: [{ keys: { url: 'https://h/', refresh: 0 } }] }", "keys.refresh: with no time between"),
        ("auth: { jwt: [{ keys: { url: 'https://h/', max_stale: 1m } }] }", "keys.max_stale: the keys would go before"),
        (
            "auth: { jwt: [{ keys: { url: 'https://h/', timeout: 0 } }] }",
            "keys.timeout: with no time nothing is fetched",
        ),
        ("auth: { jwt: [{ keys: { kubernetes: true } }] }", "audiences: a service account's token that is meant for"),
        ("auth: { jwt: [{ keys: { token_review: true } }] }", "audiences: a service account's token that is meant for"),
        ("auth: { jwt: [{ keys: { file: [x] } }] }", "keys.file: this must be the path of a file, not a list"),
        ("auth: { jwt: [{ audiences: [''], keys: { file: a } }] }", "audiences: an audience is empty"),
        ("auth: { jwt: [{ name: '', keys: { file: a } }] }", "name: the name is empty"),
        ("auth: { jwt: [{ groups_claim: a..b, keys: { file: a } }] }", "groups_claim: `a..b` is no path to a claim"),
        ("auth: { jwt: [{ groups_claim: '/a~2', keys: { file: a } }] }", "groups_claim: `/a~2` is no JSON pointer"),
        ("auth: { jwt: [{ algorithms: [], keys: { file: a } }] }", "algorithms: the list is empty"),
        (
            "auth: { jwt: [{ algorithms: [RS256, HS256], keys: { file: a } }] }",
            "HS256 needs a shared secret, and `keys` are public",
        ),
        (
            "auth: { jwt: [{ algorithms: [HS256], keys: { pem_file: a } }] }",
            "everybody could sign with them; choose among [RS256",
        ),
        ("auth: { jwt: [{ algorithms: [ES256], keys: { secret_file: a } }] }", "ES256 needs a public key"),
        ("auth: { jwt: [{ algorithms: [none], keys: { file: a } }] }", "algorithms[0]: `none` is none of"),
    ]);
}

#[test]
fn rules_that_cannot_mean_what_they_say_are_refused() {
    refused(&[
        ("rules: [{ allow: anyone, path: '' }]", "1: rules[0].path: the path is empty; leave the key out"),
        ("rules: [{ allow: anyone, path: }]", "rules[0].path: this must be a string, not nothing"),
        ("rules: [{ allow: anyone, path: /a/../b }]", "requests for such paths are refused"),
        (
            "rules: [{ allow: anyone, name: a }, { path: /x, allow: anyone }]",
            "1: rules[1]: this rule can never match: rules[0] takes",
        ),
        (
            "rules: [{ path: /a/**, allow: anyone }, { path: /a/b, methods: [GET], allow: anyone }]",
            "move it before rules[0]",
        ),
        (
            "rules: [{ path: /a/*, methods: [GET, POST], allow: anyone }, { path: /a/b, methods: [GET], allow: anyone }]",
            "never match",
        ),
        (
            "rules: [{ name: a, path: /a, allow: anyone }, { name: a, allow: anyone }]",
            "1: rules[1].name: rules[0] is called `a` too",
        ),
        (
            "rules: [{ name: rule-2, path: /a, allow: anyone }, { allow: anyone }]",
            "rules[1].name: rules[0] is called `rule-2` too",
        ),
        (
            "rules: [{ methods: [get], allow: anyone }]",
            "rules[0].methods: `get` is no HTTP method; did you mean `GET`?",
        ),
        ("rules: [{ methods: GET, allow: anyone }]", "rules[0].methods: this must be a list, not `GET`"),
        ("rules: [{ path: / }]", "rules[0]: `allow` is missing"),
        ("rules: [{ allow: }]", "rules[0].allow: this must be `anyone`, `authenticated`, or a map"),
        (
            "rules: [{ allow: true }]",
            "or a map of `users`, `groups`, `service_accounts`, `claims`, `any` and `all`, not `true`",
        ),
        ("rules: [{ allow: authentcated }]", "did you mean `authenticated`?"),
        (
            "rules: [{ allow: {} }];auth: { basic: { users_file: u } }",
            "rules[0].allow: this asks nothing of the caller",
        ),
        ("rules: [{ allow: { users: [] } }];auth: { basic: { users_file: u } }", "this asks nothing of the caller"),
        (
            "rules: [{ allow: { users: } }];auth: { basic: { users_file: u } }",
            "rules[0].allow.users: this must be a list, not nothing",
        ),
        (
            "rules: [{ allow: { claims: { a..b: 1 } } }];auth: { basic: { users_file: u } }",
            "claims.a..b: `a..b` is no path to a claim",
        ),
        ("rules: { allow: anyone }", "1: rules: this must be a list, not a map of keys"),
    ]);
}

#[test]
fn a_rule_that_others_take_everything_from_is_refused_and_no_other() {
    let rules = |earlier: &str, later: &str| {
        format!(
            "listen: {{ plaintext: true }}\nrules: [{{ {earlier}, allow: anyone }}, {{ {later}, name: b, allow: anyone }}]"
        )
    };
    for (earlier, later) in [
        ("path: /a/**", "path: /a/b, methods: [GET], hosts: [a], client_ips: [::1]"),
        // A rule about GET is one about HEAD.
        ("methods: [GET]", "methods: [HEAD]"),
        ("methods: [GET]", "methods: [HEAD, GET]"),
        ("hosts: ['*.example.com']", "hosts: [a.example.com, '*.b.example.com']"),
        ("hosts: [A.example]", "hosts: [a.Example]"),
        ("hosts: [a, '[::1]']", "hosts: ['[0::1]']"),
        ("client_ips: [10.0.0.0/8]", "client_ips: [10.1.0.0/16, 10.0.0.1]"),
        ("client_ips: [10.0.0.0/8]", "client_ips: ['::ffff:10.0.0.1']"),
        ("paths: { ambiguous: pass }", "path: /a"),
    ] {
        let problems = Case::yaml(rules(earlier, later)).problems();
        assert!(problems.len() == 1 && problems[0].contains("rules[1]: this rule can never match"), "{problems:?}");
    }
    for (earlier, later) in [
        ("path: /a, methods: [GET]", "path: /a"),
        ("path: /a", "path: /a/"),
        ("methods: [HEAD]", "methods: [GET]"),
        ("methods: [GET, POST]", "methods: [GET, PUT]"),
        ("hosts: [a]", "path: /a"),
        ("hosts: [a]", "hosts: [a, b]"),
        ("hosts: ['*.example.com']", "hosts: [example.com]"),
        ("client_ips: [10.0.0.0/8]", "path: /a"),
        ("client_ips: [10.0.0.0/8]", "client_ips: [10.0.0.1, 11.0.0.1]"),
        ("client_ips: ['::/0']", "client_ips: [10.0.0.1]"),
        ("hosts: [a], client_ips: [10.0.0.0/8]", "hosts: [a], client_ips: [11.0.0.0/8]"),
    ] {
        assert_eq!(Case::yaml(rules(earlier, later)).config().rules.len(), 2, "{earlier}; {later}");
    }
    // What could not be read of a rule is not what it takes.
    let problems = Case::yaml(rules("hosts: [a:80]", "path: /a")).problems();
    assert!(problems.len() == 1 && problems[0].contains("rules[0].hosts[0]: `a:80` has a port"), "{problems:?}");
}

#[test]
fn hosts_clients_and_paths_are_what_they_can_be() {
    refused(&[
        ("rules: [{ hosts: a, allow: anyone }]", "rules[0].hosts: this must be a list, not `a`"),
        ("rules: [{ hosts: , allow: anyone }]", "rules[0].hosts: this must be a list, not nothing"),
        ("rules: [{ hosts: [a, 'b:80'], allow: anyone }]", "1: rules[0].hosts[1]: `b:80` has a port"),
        ("rules: [{ hosts: ['*'], allow: anyone }]", "`*` is every host; leave the key out"),
        (
            "rules: [{ client_ips: [10.0.0.1/8], allow: anyone }]",
            "rules[0].client_ips[0]: `10.0.0.1/8` names an address",
        ),
        ("rules: [{ client_ips: [app], allow: anyone }]", "client_ips[0]: `app` is not an IP address or network"),
        ("rules: [{ client_ips: , allow: anyone }]", "rules[0].client_ips: this must be a list, not nothing"),
        ("rules: [{ paths: { ambiguous: }, allow: anyone }]", "rules[0].paths.ambiguous: "),
        ("rules: [{ paths: , allow: anyone }]", "rules[0].paths: this must be a map of keys, not nothing"),
        ("rules: [{ paths: { encoded_slsh: pass }, allow: anyone }]", "did you mean `encoded_slash`?"),
        ("paths: { ambiguous: normalise }", "1: paths.ambiguous: `normalise` is none of `reject`, `normalize`, `pass`"),
        ("paths: { ambiguous: normalise }", "did you mean `normalize`?"),
    ]);
}

#[test]
fn values_that_mean_nothing_are_refused() {
    refused(&[
        ("workers: -1", "workers: this must be a whole number from 1 on, not `-1`"),
        ("workers: 1.5", "not `1.5`"),
        ("workers: many", "not `many`"),
        ("workers: 18446744073709551616", "not `18446744073709551616`"),
        (
            "limits: { http2_streams: 4294967296 }",
            "http2_streams: this must be a whole number from 0 on, not `4294967296`",
        ),
        ("limits: { max_body_bytes: 99999999999GiB }", "`99999999999GiB` is not a size"),
        (
            "limits: { max_body_bytes: [1] }",
            "max_body_bytes: this must be a size like 512B, 64KiB, 10MiB or 1GiB, not a list",
        ),
        ("limits: { header_timeout: 30 }", "`30` is not a duration like"),
        ("limits: { header_timeout: -1s }", "`-1s` is not a duration"),
        ("limits: { header_timeout: 9000h }", "`9000h` is longer than a year"),
        ("limits: { header_timeout: 18446744073709551615h }", "is not a duration"),
        ("limits:", "1: limits: this must be a map of keys, not nothing"),
        ("shutdown: [1s, 2s]", "1: shutdown: this must be a map of keys, not a list"),
        ("listen: { plaintext: 1 }", "listen.plaintext: this must be true or false, not `1`"),
        ("listen: { plaintext: true, address: ':8443' }", "`:8443` is not an IP address with a port"),
        ("upstream: 5000", "1: upstream.address: `5000` is not an address like"),
        ("upstream: http://u:p@h:1", "has a name or password, and none is sent to the app; write `http://h:1`"),
        ("upstream: http://h:0", "`http://h:0` has no port from 1 to 65535"),
        ("upstream: http://h:99999", "`http://h:99999` has no port from 1 to 65535"),
        ("upstream: http://h:1/path", "write `http://h:1`"),
        ("log: { access: { json: 1 } }", "log.access"),
        ("lisen: { plaintext: true };listen:  {}", "1: lisen: there is no key `lisen` here; did you mean `listen`?"),
        ("atuh: {};rules: [{ allow: authenticated }]", "1: atuh: there is no key `atuh` here; did you mean `auth`?"),
        ("surprise: 1", "1: surprise: there is no key `surprise` here; there are `listen`, `upstream`"),
    ]);
}

/// `SMALLEST` with `more` beside it is refused for one reason, which begins with the text.
#[track_caller]
pub(super) fn refused(table: &[(&str, &str)]) {
    for (more, expected) in table {
        let more = more.replace(';', "\n");
        let mut yaml = more.clone();
        for line in SMALLEST.lines() {
            let key = line.split(':').next().unwrap();
            if !more.lines().any(|line| line.starts_with(key)) {
                yaml = format!("{yaml}\n{line}");
            }
        }
        let problems = Case::yaml(&yaml).problems();
        let problem = problems.first().map(|problem| problem.trim_start_matches("sidegate.yaml:"));
        assert!(
            problems.len() == 1 && problem.is_some_and(|p| p.contains(expected)),
            "{yaml}\n{problems:#?}\n{expected}"
        );
    }
}
