//! What is configured as meant, perhaps, but opens a way around.

use std::net::IpAddr;

use crate::config::{Allow, Callers, Config, Handling, PathPattern, Problem, Rule, TrustedProxy};

/// Looks for it.
pub(super) fn find(config: &Config) -> Vec<Problem> {
    let mut found = around(config);
    found.extend(passed(config));
    found.extend(for_others(config));
    found.extend(unproved(config));
    // A pattern that cannot be read was a problem before it came here.
    let pattern = |rule: &Rule| rule.path.as_deref().and_then(|path| PathPattern::parse(path).ok());
    let paths: Vec<_> = config.rules.iter().map(pattern).collect();
    found.extend(public_first(&config.rules, &paths));
    found.extend(slashes(&config.rules, &paths));
    found
}

/// Ways that pass no rule.
fn around(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    // Who reaches a socket in the file system is for its permissions to say.
    let on_network =
        config.upstream.address.host().is_some_and(|host| {
            host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        });
    // An app that asks for a certificate lets nobody past us who has none.
    let asks_for_ours = config.upstream.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    if on_network && !asks_for_ours {
        let what = format!(
            "the app at {} is not on loopback: whoever reaches it there has passed no rule",
            config.upstream.address
        );
        found.push(Problem::new("upstream.address", what, "let the app listen on 127.0.0.1 only"));
    }
    if config.upstream.reaches(config.admin.address) {
        let what = format!("{} is our own admin listener, and not an app", config.upstream.address);
        found.push(Problem::new("upstream.address", what, "name the port that the app listens on"));
    }
    let network = config.listen.address.tcp().is_some_and(|address| !address.ip().is_loopback());
    let secrets = match (config.auth.basic.is_some(), !config.auth.jwt.is_empty()) {
        (true, true) => Some("passwords and tokens"),
        (true, false) => Some("passwords"),
        (false, true) => Some("tokens"),
        (false, false) => None,
    };
    if config.listen.plaintext
        && network
        && let Some(secrets) = secrets
    {
        let what = format!("{secrets} cross the network unencrypted");
        found.push(Problem::new("listen.plaintext", what, "set listen.tls, or end TLS right before sidegate"));
    }
    let everyone = |proxy: &TrustedProxy| matches!(proxy, TrustedProxy::Network(network) if network.is_everyone());
    if config.listen.trusted_proxies.iter().any(everyone) {
        let what = "whoever can connect is believed about where a request comes from";
        found.push(Problem::new("listen.trusted_proxies", what, "name the networks of your proxies only"));
    }
    found
}

/// Issuers whose tokens for other services are taken here: each of these services could be us to the others.
fn for_others(config: &Config) -> Vec<Problem> {
    let issuers = config.auth.jwt.iter().enumerate().filter(|(_, jwt)| jwt.audiences.is_empty());
    let found = issuers.map(|(i, jwt)| {
        let what = format!("tokens of `{}` that are meant for other services are accepted", jwt.label());
        Problem::new(format!("auth.jwt[{i}].audiences"), what, "name what stands for this service in their `aud`")
    });
    found.collect()
}

/// What rules ask for that nothing which they take can prove.
fn unproved(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    for (i, rule) in config.rules.iter().enumerate() {
        let Allow::Callers(callers) = &rule.allow else { continue };
        // The first says who is calling.
        if rule.credentials.demands(&config.auth).first().is_some_and(|kinds| kinds.issuers.is_empty()) {
            unproved_by_passwords(callers, &format!("rules[{i}].allow"), &mut found);
        }
    }
    found
}

fn unproved_by_passwords(callers: &Callers, key: &str, found: &mut Vec<Problem>) {
    if !callers.claims.is_empty() {
        let what = "passwords prove no claims, and no token is taken: nobody is let through";
        let remedy = "ask for `users` or `groups`, or take tokens: `auth.jwt`, and `credentials` of the rule";
        found.push(Problem::new(format!("{key}.claims"), what, remedy));
    }
    for (name, list) in [("any", &callers.any), ("all", &callers.all)] {
        for (i, callers) in list.iter().enumerate() {
            unproved_by_passwords(callers, &format!("{key}.{name}[{i}]"), found);
        }
    }
}

/// Paths that are forwarded although apps read them in different ways.
fn passed(config: &Config) -> Vec<Problem> {
    let rules = config.rules.iter().enumerate().filter_map(|(i, rule)| {
        let paths = rule.paths?;
        let passes = [paths.ambiguous, paths.encoded_slash].contains(&Some(Handling::Pass));
        passes.then(|| (format!("rules[{i}].paths"), format!("the rule `{}` passes", rule.label(i))))
    });
    let all = config.paths.pass_any().then(|| ("paths".to_owned(), "sidegate passes".to_owned()));
    let what = "paths that apps read in different ways; all readings that we know of lead to one rule, others may not";
    let remedy = "`normalize` is enough for an app that does not need them as they are written";
    all.into_iter().chain(rules).map(|(place, who)| Problem::new(place, format!("{who} {what}"), remedy)).collect()
}

/// Public rules that take what a later one was meant to protect. That one takes a part which has a name of its own is
/// how exceptions are written: `/healthz` before everything, `/admin/login` before `/admin/**`.
fn public_first(rules: &[Rule], paths: &[Option<PathPattern>]) -> Vec<Problem> {
    let mut found = Vec::new();
    for (i, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.needs_caller()) {
        for (j, later) in rules.iter().enumerate().skip(i + 1) {
            if !later.needs_caller() || !rule.comes_before(later) {
                continue;
            }
            let (ours, theirs) = (paths[i].as_ref(), paths[j].as_ref());
            let unnamed = ours.zip(theirs).is_some_and(|(ours, theirs)| ours.takes_unnamed_part_of(theirs));
            if unnamed || PathPattern::takes_all_of(ours, theirs) {
                let (public, protected) = (rule.label(i), later.label(j));
                let what = format!("the public rule `{public}` comes first for some of what `{protected}` protects");
                let remedy = "move the narrower rule before the public one";
                let remedy = if unnamed { "give the public part a name of its own, or let nobody in" } else { remedy };
                found.push(Problem::new(format!("rules[{i}]"), what, remedy));
            }
        }
    }
    found
}

/// Protected paths that are public with a slash at the end, which many apps take for the same.
fn slashes(rules: &[Rule], paths: &[Option<PathPattern>]) -> Vec<Problem> {
    let slashed = |i: usize| paths[i].as_ref().and_then(PathPattern::with_slash);
    let first = |path: &str| paths.iter().position(|ours| ours.as_ref().is_none_or(|ours| ours.matches(path)));
    let protected = rules.iter().enumerate().filter(|(_, rule)| rule.needs_caller());
    let exposed = protected.filter_map(|(i, rule)| {
        let path = slashed(i)?;
        let public = first(&path).filter(|first| *first > i && !rules[*first].needs_caller())?;
        let what = format!(
            "`{}` protects this path, but `{path}` is public by `{}`, and many apps take the two for the same",
            rule.label(i),
            rules[public].label(public)
        );
        let remedy = format!("write `{path}**`, which is for both");
        Some(Problem::new(format!("rules[{i}].path"), what, remedy))
    });
    exposed.collect()
}
