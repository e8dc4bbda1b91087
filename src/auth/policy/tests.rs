//! The security argument as a table: what is decided about which request.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    net::Ipv4Addr,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Request;
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use super::*;
use crate::{
    auth::basic::Hashing,
    config::{Config, Source},
};

const NOW: u64 = 1_800_000_000;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// A policy with an issuer and two users, and the issuer's key.
struct Fixture {
    policy: Policy,
    key: KeyPair,
    other_key: KeyPair,
}

/// What a decision comes down to.
#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    Anonymous,
    Known(String),
    Denied(Reason),
}

use Outcome::{Anonymous, Denied};

impl Fixture {
    fn new() -> Self {
        Self::with_rule("{ path: /app/**, allow: authenticated }")
    }

    /// A policy whose last rule is this one.
    fn with_rule(last: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("issuer.pem"), key.public_key_pem()).unwrap();
        let hash = crate::auth::basic::hash_password("wonderland", "bcrypt".parse().unwrap(), Some(4)).unwrap();
        fs::write(path("users"), format!("alice:{hash}\nbob:{hash}\n")).unwrap();
        fs::write(path("groups"), "admin: alice\n").unwrap();
        let text = format!(
            "listen: {{ plaintext: true }}
auth:
  jwt:
    - name: corp
      issuer: https://login.example/
      audiences: [orders]
      keys: {{ pem_file: {} }}
      token_from: [{{ header: Authorization }}, {{ header: X-Token }}]
    - {{ name: partner, issuer: https://partner.example/, keys: {{ pem_file: {} }} }}
  basic: {{ users_file: {}, groups_file: {} }}
rules:
  - {{ path: /public/**, allow: anyone }}
  - {{ path: /admin/**, allow: {{ groups: [admin] }} }}
  - {{ path: /orders/**, methods: [POST], allow: {{ claims: {{ scope: 'orders:write' }} }} }}
  - {{ path: /alice, allow: {{ users: [alice], groups: [admin] }} }}
  - {last}
",
            path("issuer.pem"),
            path("issuer.pem"),
            path("users"),
            path("groups")
        );
        fs::write(path("sidegate.yaml"), text).unwrap();
        let source = Source { file: Some(path("sidegate.yaml").into()), ..Source::default() };
        let config: Config = config::load(&source).unwrap().config;
        let (policy, _) = Policy::compile(&config).unwrap();
        Self { policy, key, other_key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    fn sign(key: &KeyPair, claims: &Value) -> String {
        let header = Header::new(jsonwebtoken::Algorithm::ES256);
        let token = jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&key.serialize_der())).unwrap();
        format!("Bearer {token}")
    }

    /// A token with the claims that it should have, but for `changes`; `null` takes one away.
    fn token(&self, changes: Value) -> String {
        let mut claims = json!({"iss": "https://login.example/", "aud": "orders", "sub": "carol", "exp": NOW + 300, "nbf": NOW - 300});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        Self::sign(&self.key, &claims)
    }

    fn decide(&self, method: &str, path: &str, authorization: &[&str]) -> Outcome {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        self.decide_with(method, path, &headers)
    }

    fn decide_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Outcome {
        let mut request = Request::builder().method(method).uri(path).header("host", "app.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let mut target = match Target::parse(&request) {
            Ok(target) => target,
            Err(reason) => return Denied(reason),
        };
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let mut learned = Learned::default();
        let mut step = self.policy.decide(request.method(), &mut target, request.headers(), Some(CLIENT), now);
        for _ in 0..3 {
            let Err(Pending { need, rule }) = step else { break };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime
                .block_on(need.meet(&Hashing::new(&config::Failures::default()), Some(CLIENT), &mut learned))
                .unwrap();
            step = self.policy.resume(rule, &target, request.headers(), now, &learned);
        }
        let decision = step.unwrap_or_else(|pending| panic!("the same is asked again: {pending:?}"));
        match decision {
            Decision::Permit(Caller::Anonymous, _) => Anonymous,
            Decision::Permit(Caller::Known(identity), _) => Outcome::Known(identity.user.to_string()),
            Decision::Deny(denial, _) => Denied(denial.reason),
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn known(user: &str) -> Outcome {
    Outcome::Known(user.to_owned())
}

#[test]
fn rules_decide_in_their_order_and_what_none_allows_is_denied() {
    let f = Fixture::new();
    let (alice, bob) = (basic("alice", "wonderland"), basic("bob", "wonderland"));
    let (carol, writer) = (f.token(json!({})), f.token(json!({"scope": "orders:read orders:write"})));
    let admin = f.token(json!({"groups": ["admin"]}));
    for (method, path, authorization, expected) in [
        ("GET", "/public/x", None, Anonymous),
        ("GET", "/public", None, Anonymous),
        // A public route asks nobody, and so believes nobody.
        ("GET", "/public/x", Some(&alice), Anonymous),
        ("GET", "/publicity", None, Denied(Reason::NoRule)),
        ("GET", "/", Some(&alice), Denied(Reason::NoRule)),
        ("GET", "/app/", None, Denied(Reason::CredentialsMissing)),
        ("GET", "/app/", Some(&bob), known("bob")),
        ("GET", "/app/", Some(&carol), known("carol")),
        ("GET", "/admin/", Some(&alice), known("alice")),
        ("GET", "/admin/", Some(&bob), Denied(Reason::RuleDenied)),
        ("GET", "/admin/", Some(&carol), Denied(Reason::RuleDenied)),
        ("GET", "/admin/", Some(&admin), known("carol")),
        ("POST", "/orders/1", Some(&writer), known("carol")),
        ("POST", "/orders/1", Some(&carol), Denied(Reason::RuleDenied)),
        ("GET", "/orders/1", Some(&writer), Denied(Reason::NoRule)),
        ("GET", "/alice", Some(&alice), known("alice")),
        ("GET", "/alice", Some(&bob), Denied(Reason::RuleDenied)),
        ("GET", "/alice", Some(&admin), Denied(Reason::RuleDenied)),
        ("GET", "/app/../admin", Some(&bob), Denied(Reason::PathAmbiguous)),
        ("GET", "/app/%2e%2e/admin", Some(&bob), Denied(Reason::PathAmbiguous)),
        ("GET", "/%61pp/", Some(&bob), known("bob")),
        // The app may read `/admin;x` as `/admin`: the two readings must not be decided by two rules.
        ("GET", "/admin;x/", Some(&bob), Denied(Reason::PathAmbiguous)),
        ("GET", "/app/a;x", Some(&bob), known("bob")),
    ] {
        let authorization: Vec<_> = authorization.into_iter().map(String::as_str).collect();
        assert_eq!(f.decide(method, path, &authorization), expected, "{method} {path} {authorization:?}");
    }
}

#[test]
fn two_readings_of_a_path_that_two_rules_decide_are_refused() {
    let f = Fixture::with_rule("{ allow: authenticated }");
    let bob = basic("bob", "wonderland");
    // To Flask this is a path like any other, for which the last rule is meant; to Tomcat it is /admin/users.
    assert_eq!(f.decide("GET", "/admin;x/users", &[&bob]), Denied(Reason::PathAmbiguous));
    assert_eq!(f.decide("GET", "/admin%3bx/users", &[&bob]), Denied(Reason::PathAmbiguous));
    // Both readings are for the last rule.
    assert_eq!(f.decide("GET", "/cart;jsessionid=1", &[&bob]), known("bob"));
}

#[test]
fn a_rule_is_for_its_hosts_and_clients_only() {
    let f = Fixture::with_rule("{ hosts: [APP.example], client_ips: ['192.0.2.0/24'], allow: authenticated }");
    let bob = basic("bob", "wonderland");
    let elsewhere = Fixture::with_rule("{ hosts: [other.example], allow: authenticated }");
    let outside = Fixture::with_rule("{ client_ips: ['198.51.100.0/24', '::/0'], allow: authenticated }");
    assert_eq!(f.decide("GET", "/x", &[&bob]), known("bob"));
    assert_eq!(elsewhere.decide("GET", "/x", &[&bob]), Denied(Reason::NoRule));
    assert_eq!(outside.decide("GET", "/x", &[&bob]), Denied(Reason::NoRule));
}

#[test]
fn the_setting_of_a_rule_is_for_its_own_paths_and_opens_no_others() {
    let f = Fixture::with_rule("{ paths: { ambiguous: pass, encoded_slash: pass }, allow: authenticated }");
    let bob = basic("bob", "wonderland");
    assert_eq!(f.decide("GET", "/x//y%2fz", &[&bob]), known("bob"));
    for path in ["/admin//x", "/admin%2fx", "/x;/../admin", "/x%2f..%2fadmin", "/public//x", "/%2fadmin", "//admin"] {
        assert_eq!(f.decide("GET", path, &[&bob]), Denied(Reason::PathAmbiguous), "{path}");
    }
}

#[test]
fn a_token_is_believed_only_when_everything_about_it_is_right() {
    let f = Fixture::new();
    let anyone = json!({"iss": "https://login.example/", "aud": "orders", "sub": "mallory", "exp": NOW + 300});
    let good = f.token(json!({}));
    let (start, end) = good.split_at(good.len() - 20);
    let forged =
        format!("{start}{}", if end.starts_with('A') { end.replacen('A', "B", 1) } else { format!("A{}", &end[1..]) });
    for (token, expected) in [
        (f.token(json!({})), known("carol")),
        (f.token(json!({"aud": ["billing", "orders"]})), known("carol")),
        (f.token(json!({"exp": NOW - 29})), known("carol")),
        (f.token(json!({"nbf": NOW + 30})), known("carol")),
        (f.token(json!({"nbf": null})), known("carol")),
        (f.token(json!({"exp": NOW - 30})), Denied(Reason::JwtExpired)),
        (f.token(json!({"exp": null})), Denied(Reason::JwtExpired)),
        (f.token(json!({"exp": (NOW + 300).to_string()})), Denied(Reason::JwtClaim)),
        (f.token(json!({"nbf": NOW + 31})), Denied(Reason::JwtNotYetValid)),
        (f.token(json!({"nbf": "soon"})), Denied(Reason::JwtClaim)),
        (f.token(json!({"aud": "billing"})), Denied(Reason::JwtAudience)),
        (f.token(json!({"aud": null})), Denied(Reason::JwtAudience)),
        (f.token(json!({"aud": []})), Denied(Reason::JwtAudience)),
        (f.token(json!({"iss": "https://evil.example/"})), Denied(Reason::JwtIssuer)),
        (f.token(json!({"iss": null})), Denied(Reason::JwtIssuer)),
        (f.token(json!({"iss": ["https://login.example/"]})), Denied(Reason::JwtIssuer)),
        (f.token(json!({"sub": null})), Denied(Reason::JwtClaim)),
        (f.token(json!({"sub": ""})), Denied(Reason::JwtClaim)),
        (f.token(json!({"sub": 7})), Denied(Reason::JwtClaim)),
        (f.token(json!({"groups": {"admin": true}})), Denied(Reason::JwtClaim)),
        (f.token(json!({"email": "a\r\nX-Admin: 1"})), Denied(Reason::JwtClaim)),
        (Fixture::sign(&f.other_key, &anyone), Denied(Reason::JwtSignature)),
        (forged, Denied(Reason::JwtSignature)),
        ("Bearer ".to_owned(), Denied(Reason::CredentialsMissing)),
        ("Bearer x".to_owned(), Denied(Reason::JwtMalformed)),
    ] {
        assert_eq!(f.decide("GET", "/app/", &[&token]), expected, "{token}");
    }
}

#[test]
fn a_token_that_was_believed_is_not_believed_after_its_end() {
    let f = Fixture::new();
    let token = f.token(json!({}));
    let request = Request::get("/app/").header("host", "a").header("authorization", &token).body(()).unwrap();
    let mut target = Target::parse(&request).unwrap();
    let mut at = |seconds| {
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        match f.policy.decide(request.method(), &mut target, request.headers(), Some(CLIENT), now) {
            Ok(Decision::Permit(_, verdict)) => Ok(verdict.remembered),
            decision @ (Ok(Decision::Deny(..)) | Err(_)) => Err(format!("{decision:?}")),
        }
    };
    assert_eq!(at(NOW), Ok(false));
    assert_eq!(at(NOW + 1), Ok(true));
    assert_eq!(at(NOW + 329), Ok(true));
    assert!(at(NOW + 330).unwrap_err().contains("JwtExpired"));
}

#[test]
fn a_password_is_believed_only_with_its_user() {
    let f = Fixture::new();
    for (authorization, expected) in [
        (basic("alice", "wonderland"), known("alice")),
        (basic("alice", "wonderlan"), Denied(Reason::PasswordWrong)),
        (basic("alice", ""), Denied(Reason::PasswordWrong)),
        (basic("Alice", "wonderland"), Denied(Reason::PasswordWrong)),
        (basic("nobody", "wonderland"), Denied(Reason::PasswordWrong)),
        (basic("alic", "ewonderland"), Denied(Reason::PasswordWrong)),
        ("Basic !".to_owned(), Denied(Reason::BasicMalformed)),
        ("Digest x".to_owned(), Denied(Reason::CredentialsMissing)),
        ("Negotiate".to_owned(), Denied(Reason::CredentialsMissing)),
        (String::new(), Denied(Reason::CredentialsMissing)),
    ] {
        // Twice: what the first time left behind must not change the answer.
        assert_eq!(f.decide("GET", "/app/", &[&authorization]), expected, "{authorization}");
        assert_eq!(f.decide("GET", "/app/", &[&authorization]), expected, "{authorization} again");
    }
}

#[test]
fn two_sets_of_credentials_are_ambiguous() {
    let f = Fixture::new();
    let (alice, carol) = (basic("alice", "wonderland"), f.token(json!({})));
    assert_eq!(f.decide("GET", "/app/", &[&alice, &carol]), Denied(Reason::CredentialsAmbiguous));
    assert_eq!(f.decide("GET", "/app/", &[&alice, &alice]), Denied(Reason::CredentialsAmbiguous));
}

#[test]
fn a_rule_takes_only_the_credentials_that_it_names() {
    let missing = || Denied(Reason::CredentialsMissing);
    for (credentials, alice_gets, carol_gets, partner_gets) in [
        ("", known("alice"), known("carol"), known("carol")),
        ("credentials: [jwt, basic],", known("alice"), known("carol"), known("carol")),
        ("credentials: { any: [jwt] },", missing(), known("carol"), known("carol")),
        ("credentials: basic,", known("alice"), missing(), missing()),
        ("credentials: [corp],", missing(), known("carol"), Denied(Reason::JwtIssuer)),
        ("credentials: [partner, basic],", known("alice"), Denied(Reason::JwtIssuer), known("carol")),
    ] {
        let f = Fixture::with_rule(&format!("{{ path: /app/**, {credentials} allow: authenticated }}"));
        let (alice, carol) = (basic("alice", "wonderland"), f.token(json!({})));
        let partner = f.token(json!({"iss": "https://partner.example/"}));
        // Twice: what is remembered of one rule's question must not answer another's.
        for _ in 0..2 {
            assert_eq!(f.decide("GET", "/app/", &[&alice]), alice_gets, "{credentials} alice");
            assert_eq!(f.decide("GET", "/app/", &[&carol]), carol_gets, "{credentials} carol");
            assert_eq!(f.decide("GET", "/app/", &[&partner]), partner_gets, "{credentials} partner");
            assert_eq!(f.decide("GET", "/app/", &[]), missing(), "{credentials} nothing");
        }
    }
}

#[test]
fn a_rule_that_wants_a_token_and_a_password_lets_none_through_who_proves_one() {
    let f = Fixture::with_rule("{ path: /app/**, credentials: { all: [basic, corp] }, allow: { users: [carol] } }");
    let (alice, wrong) = (basic("alice", "wonderland"), basic("alice", "wrong"));
    let (carol, dave) = (f.token(json!({})), f.token(json!({"sub": "dave"})));
    let (carol, dave) = (carol.trim_start_matches("Bearer "), dave.trim_start_matches("Bearer "));
    let partner = f.token(json!({"iss": "https://partner.example/"}));
    let expired = f.token(json!({"exp": NOW - 60}));
    let ask = |headers: &[(&str, &str)]| f.decide_with("GET", "/app/", headers);
    for _ in 0..2 {
        assert_eq!(ask(&[("authorization", &alice), ("x-token", carol)]), known("carol"));
        assert_eq!(ask(&[("authorization", &alice), ("x-token", dave)]), Denied(Reason::RuleDenied));
        assert_eq!(ask(&[("authorization", &wrong), ("x-token", carol)]), Denied(Reason::PasswordWrong));
        assert_eq!(ask(&[("authorization", &alice), ("x-token", &expired)]), Denied(Reason::JwtExpired));
        // The partner's tokens may not be in this header, whoever else's may.
        assert_eq!(ask(&[("authorization", &alice), ("x-token", &partner)]), Denied(Reason::JwtIssuer));
        for one in [&[("authorization", alice.as_str())][..], &[("x-token", carol)], &[]] {
            assert_eq!(ask(one), Denied(Reason::CredentialsMissing), "{one:?}");
        }
        let bearer = format!("Bearer {carol}");
        assert_eq!(ask(&[("authorization", &bearer)]), Denied(Reason::CredentialsMissing));
        assert_eq!(ask(&[("authorization", &bearer), ("x-token", carol)]), Denied(Reason::CredentialsMissing));
    }
}

#[test]
fn any_and_all_of_several_properties_can_be_asked_for() {
    let f = Fixture::with_rule(
        "{ path: /app/**, allow: { any: [{ users: [bob] }, { groups: [ops], claims: { amr: mfa } }], \
         all: [{ any: [{ users: [bob, carol] }] }, { claims: { tenant: a } }] } }",
    );
    for (claims, expected) in [
        (json!({"groups": ["ops"], "amr": ["pwd", "mfa"], "tenant": "a"}), known("carol")),
        (json!({"groups": ["ops"], "amr": ["pwd"], "tenant": "a"}), Denied(Reason::RuleDenied)),
        (json!({"groups": ["ops"], "amr": ["mfa"], "tenant": "b"}), Denied(Reason::RuleDenied)),
        (json!({"groups": ["ops"], "amr": ["mfa"], "tenant": "a", "sub": "dave"}), Denied(Reason::RuleDenied)),
        (json!({"sub": "bob", "tenant": "a"}), known("bob")),
    ] {
        assert_eq!(f.decide("GET", "/app/", &[&f.token(claims.clone())]), expected, "{claims}");
    }
    assert_eq!(f.decide("GET", "/app/", &[&basic("bob", "wonderland")]), Denied(Reason::RuleDenied), "no claims");
}

#[test]
fn what_an_app_is_shown_was_checked_whatever_the_rule_takes() {
    let (alice, token) = (basic("alice", "wonderland"), |f: &Fixture| f.token(json!({})).split_off("Bearer ".len()));
    for (credentials, beside) in [
        ("basic", Denied(Reason::CredentialsAmbiguous)),
        ("[jwt, basic]", Denied(Reason::CredentialsAmbiguous)),
        // Both are checked.
        ("{ all: [corp, basic] }", known("carol")),
    ] {
        let f = Fixture::with_rule(&format!(
            "{{ path: /app/**, credentials: {credentials}, forward_credentials: true, allow: authenticated }}"
        ));
        let headers = [("authorization", alice.as_str()), ("x-token", &token(&f))];
        assert_eq!(f.decide_with("GET", "/app/", &headers), beside, "{credentials}");
    }
}
