//! Who may do what.

use std::{collections::BTreeMap, fmt, slice};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        Error, MapAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

use super::{
    AccountPattern, Auth, Credentials, ForwardCredentials, HostPattern, Identity, Network, PathPattern, RulePaths,
    findings::{Findings, closest, member},
    units, wanted,
};

/// The methods that are registered (RFC 9110 section 16.1, and the registry that it founds), and PURGE of caches.
const METHODS: &[&str] = &[
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Those for every path are tried one after the other for every request, and here each is compared with all before it.
const MAX_RULES: usize = 1000;

/// Who may do what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The label in logs and metrics. Defaults to `rule-N`, counted from 1.
    pub name: Option<String>,
    /// An exact path, `/prefix/**` (which covers `/prefix` itself), or a glob in which `*` stays within one segment.
    /// Absent = every path.
    #[serde(default, deserialize_with = "units::given", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The methods; GET stands for HEAD too. Empty = every method.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The hosts that are asked for; the port does not matter. Empty = every host.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    /// Where the clients are. Empty = everywhere.
    #[serde(default)]
    pub client_ips: Vec<Network>,
    /// What becomes of paths that apps read in different ways, where it is not as for all rules.
    #[serde(default, deserialize_with = "units::given", skip_serializing_if = "Option::is_none")]
    pub paths: Option<RulePaths>,
    /// The kinds of credentials that it takes. Absent = every kind that is configured.
    #[serde(default, skip_serializing_if = "Credentials::is_whichever")]
    pub credentials: Credentials,
    /// What the app sees of the password or the token, where it is not as for all rules.
    #[serde(default, deserialize_with = "units::given", skip_serializing_if = "Option::is_none")]
    pub forward_credentials: Option<ForwardCredentials>,
    /// Whom it lets through.
    pub allow: Allow,
}

/// Whom a rule lets through.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Allow {
    /// `anyone` or `authenticated`.
    Class(Class),
    /// Callers with these properties: each one that is given must hold.
    Callers(Callers),
}

/// A class of callers that has a name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// No credentials needed.
    Anyone,
    /// Any caller whom we know.
    Authenticated,
}

/// Properties of a caller: each one that is given must hold, and of a list one entry.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Callers {
    /// The user is one of these (`sub`, or the name of Basic).
    pub users: Vec<String>,
    /// The user is in one of these groups.
    pub groups: Vec<String>,
    /// The user is one of these service accounts of the Kubernetes cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<AccountPattern>,
    /// Each claim, by its path, equals the value, or holds it when it is a list or a `scope`; as in `required_claims`.
    pub claims: BTreeMap<String, serde_json::Value>,
    /// One of these is true of the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<Callers>,
    /// All of these are true of the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<Callers>,
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllowVisitor)
    }
}

/// By hand, because an untagged enum says of whatever is wrong only that no variant matched.
struct AllowVisitor;

impl<'de> Visitor<'de> for AllowVisitor {
    type Value = Allow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "`anyone`, `authenticated`, or a map of `users`, `groups`, `service_accounts`, `claims`, `any` and `all`",
        )
    }

    fn visit_str<E: Error>(self, class: &str) -> Result<Allow, E> {
        Class::deserialize(StrDeserializer::new(class)).map(Allow::Class)
    }

    fn visit_map<A: MapAccess<'de>>(self, callers: A) -> Result<Allow, A::Error> {
        Callers::deserialize(MapAccessDeserializer::new(callers)).map(Allow::Callers)
    }
}

impl Rule {
    /// The label in logs and metrics of this rule, which is entry `i` of the list.
    pub fn label(&self, i: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("rule-{}", i + 1))
    }

    /// Whether it has to know who is calling.
    pub fn needs_caller(&self) -> bool {
        !matches!(self.allow, Allow::Class(Class::Anyone))
    }

    /// What the app sees of the password or the token, where `identity` says it for all rules.
    pub fn forwarding<'a>(&'a self, identity: &'a Identity) -> &'a ForwardCredentials {
        self.forward_credentials.as_ref().unwrap_or(&identity.forward_credentials)
    }

    pub(super) fn check_all(rules: &[Self], auth: &Auth, identity: &Identity, findings: &mut Findings<'_>) {
        if rules.len() > MAX_RULES {
            let what = format!("there are {} rules, and {MAX_RULES} at the most", rules.len());
            findings.push("rules", what, "let one pattern stand for several paths");
            return;
        }
        let mut names = BTreeMap::new();
        let mut earlier: Vec<(String, &Self, Option<PathPattern>)> = Vec::new();
        for (i, rule) in rules.iter().enumerate() {
            let key = findings.element("rules", i);
            rule.check(&key, auth, identity, findings);
            if let Some(other) = names.insert(rule.label(i), key.clone()) {
                let what = format!("{other} is called `{}` too", rule.label(i));
                findings.push(member(&key, "name"), what, "give each rule a name of its own");
            }
            let path = match rule.path.as_deref().map(PathPattern::parse).transpose() {
                Ok(path) => path,
                Err(what) => {
                    findings.push(member(&key, "path"), what, "");
                    continue;
                }
            };
            // What was left out of a rule makes it wider than it is.
            let covering = earlier.iter().find(|(key, other, other_path)| {
                findings.complete(key)
                    && PathPattern::takes_all_of(other_path.as_ref(), path.as_ref())
                    && other.takes_all_of(rule)
            });
            if let Some((other, ..)) = covering {
                let what = format!("this rule can never match: {other} takes every request that it is for");
                findings.push(&key, what, format!("move it before {other}, or take it out"));
            }
            earlier.push((key, rule, path));
        }
    }

    /// Whether it may take a request from `later`, on a path that both are for: it is for some of its methods, and not
    /// only for some of its hosts or clients. One that is only for those is an exception that somebody meant.
    pub fn comes_before(&self, later: &Self) -> bool {
        let methods = [(self, later), (later, self)].into_iter().any(|(a, b)| {
            a.methods.is_empty() || b.methods.iter().any(|method| covered(&a.methods, slice::from_ref(method), takes))
        });
        methods
            && covered(&self.hosts, &later.hosts, HostPattern::covers)
            && covered(&self.client_ips, &later.client_ips, Network::covers)
    }

    /// Whether it is for every method, host and client that `other` is for. Exact, but for what it takes several entries
    /// of ours to cover: then it says no.
    fn takes_all_of(&self, other: &Self) -> bool {
        covered(&self.methods, &other.methods, takes)
            && covered(&self.hosts, &other.hosts, HostPattern::covers)
            && covered(&self.client_ips, &other.client_ips, Network::covers)
    }

    fn check(&self, key: &str, auth: &Auth, identity: &Identity, findings: &mut Findings<'_>) {
        if self.name.as_ref().is_some_and(|name| name.is_empty() || name.contains(char::is_control)) {
            findings.push(member(key, "name"), "the name is empty or contains a control character", "");
        }
        for method in &self.methods {
            if !METHODS.contains(&method.as_str()) {
                let remedy =
                    closest(method, METHODS).map_or_else(String::new, |meant| format!("did you mean `{meant}`?"));
                findings.push(member(key, "methods"), format!("`{method}` is no HTTP method"), remedy);
            }
        }
        self.credentials.check(auth, &member(key, "credentials"), findings);
        if let Some(forward) = &self.forward_credentials {
            let key = member(key, "forward_credentials");
            forward.check(&key, identity, findings);
            if *forward == ForwardCredentials::Signed && !self.needs_caller() {
                let what = "a rule that lets anyone through knows no caller to sign an identity of";
                findings.push(key, what, "take it out, or write `allow: authenticated`");
            }
        }
        match &self.allow {
            Allow::Class(Class::Anyone) if !self.credentials.is_whichever() => {
                let what = "a rule that lets anyone through asks for no credentials";
                findings.push(member(key, "credentials"), what, "take it out, or write `allow: authenticated`");
            }
            Allow::Class(Class::Anyone | Class::Authenticated) => {}
            Allow::Callers(callers) => {
                // Of several credentials the first says who is calling.
                let issuers = self.credentials.demands(auth).into_iter().next().map(|kinds| kinds.issuers);
                let of_a_cluster = |issuer: usize| auth.jwt[issuer].keys.are_of_a_cluster();
                // The cluster may be the issuer that could not be read.
                let cluster = !findings.complete("auth") || issuers.into_iter().flatten().any(of_a_cluster);
                callers.check(&member(key, "allow"), cluster, findings);
            }
        }
    }
}

impl Callers {
    /// Checks what is asked of callers, who may be the service accounts of a `cluster`.
    fn check(&self, key: &str, cluster: bool, findings: &mut Findings<'_>) {
        let Self { users, groups, service_accounts, claims, any, all } = self;
        let lists = [users.len(), groups.len(), service_accounts.len(), claims.len(), any.len(), all.len()];
        if lists.iter().all(|length| *length == 0) {
            let remedy = "name `users`, `groups` or `claims`, or write `allow: authenticated`";
            findings.push(key, "this asks nothing of the caller", remedy);
        }
        if !service_accounts.is_empty() && !cluster {
            let what = "no cluster says who its service accounts are, so that nobody gets through";
            let remedy = "let the rule take an issuer of `auth.jwt` with `keys: { kubernetes: true }` or `{ token_review: true }`";
            findings.push(member(key, "service_accounts"), what, remedy);
        }
        for (path, value) in claims {
            wanted::check(path, value, &member(key, "claims"), findings);
        }
        for (name, list) in [("any", any), ("all", all)] {
            for (i, callers) in list.iter().enumerate() {
                callers.check(&findings.element(&member(key, name), i), cluster, findings);
            }
        }
    }
}

/// Whether a rule for the method `ours` is one for `theirs`. GET stands for HEAD too.
fn takes(ours: &String, theirs: &String) -> bool {
    ours == theirs || (ours == "GET" && theirs == "HEAD")
}

/// Whether each of `narrow` is covered by one of `wide`. No entry means all that there is.
fn covered<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|narrow| wide.iter().any(|wide| covers(wide, narrow))))
}
