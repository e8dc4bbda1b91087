//! Who may do what: the compiled rules.

use std::{net::IpAddr, ops};

use http::Method;

mod index;

use self::index::PathIndex;
use super::{basic::Users, claims::Mapping, wanted::Wanted};
use crate::{
    config::{
        self, AccountPattern, Allow, Class, ForwardCredentials, HostPattern, Kinds, Network, PathPattern, Paths,
        Problem, Problems,
    },
    identity::{Caller, Identity, ServiceAccount},
};

/// All of them, in their order.
#[derive(Debug)]
pub(super) struct Rules {
    list: Vec<Rule>,
    index: PathIndex,
}

/// One rule, ready to be matched.
#[derive(Debug)]
pub(super) struct Rule {
    path: Option<PathPattern>,
    methods: Vec<Method>,
    hosts: Vec<HostPattern>,
    clients: Vec<Network>,
    /// What becomes of paths for it that apps read in different ways.
    pub(super) paths: Paths,
    /// The kinds of credentials that have to be proved, one of each of these; the first says who is calling.
    pub(super) proofs: Vec<Kinds>,
    pub(super) demand: Demand,
    /// Whether the app sees the credentials: then it must not see any that were not checked.
    pub(super) forwards_credentials: bool,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked<'r> {
    pub(super) method: &'r Method,
    /// Without port and without a dot at the end.
    pub(super) host: &'r [u8],
    /// Decoded.
    pub(super) path: &'r str,
    /// The address of who asks.
    pub(super) client: Option<IpAddr>,
}

/// What a rule demands of the caller.
#[derive(Debug)]
pub(super) enum Demand {
    /// Nothing: nobody is asked for credentials.
    Nothing,
    /// Any caller whom we know.
    Known,
    /// A caller with these properties.
    Callers(Callers),
}

/// Each list that is not empty must be met; within a list but `claims` and `all` one entry is enough.
#[derive(Debug)]
pub(super) struct Callers {
    users: Vec<String>,
    groups: Vec<String>,
    accounts: Vec<AccountPattern>,
    claims: Vec<(usize, Wanted)>,
    any: Vec<Callers>,
    all: Vec<Callers>,
}

/// Compiles the rules; the claims that they ask for get a place in `mapping`.
pub(super) fn compile(config: &config::Config, mapping: &mut Mapping) -> Result<Rules, Problems> {
    let mut problems = Problems::default();
    let rules = config.rules.iter().enumerate().filter_map(|(i, rule)| {
        let place = |key: &str| format!("rules[{i}].{key}");
        let path = rule
            .path
            .as_deref()
            .map(|path| PathPattern::parse(path).map_err(|what| Problem::new(place("path"), what, "")));
        let path = path.map_or(Some(None), |path| problems.keep(path).map(Some));
        let methods = rule.methods.iter().map(|method| {
            method
                .parse::<Method>()
                .map_err(|_| Problem::new(place("methods"), format!("`{method}` is not a method"), ""))
        });
        let methods: Option<Vec<_>> = methods.map(|method| problems.keep(method)).collect();
        let demand = match &rule.allow {
            Allow::Class(Class::Anyone) => Demand::Nothing,
            Allow::Class(Class::Authenticated) => Demand::Known,
            Allow::Callers(callers) => Demand::Callers(Callers::compile(callers, mapping)),
        };
        Some(Rule {
            path: path?,
            methods: methods?,
            hosts: rule.hosts.clone(),
            clients: rule.client_ips.clone(),
            paths: rule.paths.map_or(config.paths, |over| config.paths.overridden_by(over)),
            proofs: rule.credentials.demands(&config.auth),
            demand,
            forwards_credentials: *rule.forwarding(&config.identity) == ForwardCredentials::Yes,
        })
    });
    let rules = Rules::new(rules.collect());
    problems.or(rules)
}

/// What the rules ask for that nobody has, where all who are known are `users`.
pub(super) fn unmet(config: &[config::Rule], users: &Users) -> Vec<Problem> {
    let mut unmet = Vec::new();
    for (i, rule) in config.iter().enumerate() {
        let Allow::Callers(callers) = &rule.allow else { continue };
        unmet.extend(unmet_by(callers, &format!("rules[{i}].allow"), users));
    }
    unmet
}

fn unmet_by(callers: &config::Callers, key: &str, users: &Users) -> Vec<Problem> {
    let mut unmet = Vec::new();
    let place = |name: &str| format!("{key}.{name}");
    for name in callers.users.iter().filter(|name| users.iter().all(|user| *user.name != ***name)) {
        let what = format!("there is no user `{name}` in auth.basic.users_file, and there are no tokens");
        unmet.push(Problem::new(place("users"), what, "is it spelt as in the file?"));
    }
    let has = |group: &str| users.iter().any(|user| user.groups.iter().any(|name| **name == *group));
    for name in callers.groups.iter().filter(|name| !has(name)) {
        let what = format!("no user is in a group `{name}` of auth.basic.groups_file, and there are no tokens");
        unmet.push(Problem::new(place("groups"), what, "is it spelt as in the file?"));
    }
    for (name, list) in [("any", &callers.any), ("all", &callers.all)] {
        for (i, callers) in list.iter().enumerate() {
            unmet.extend(unmet_by(callers, &format!("{key}.{name}[{i}]"), users));
        }
    }
    unmet
}

impl Rules {
    fn new(list: Vec<Rule>) -> Self {
        let index = PathIndex::new(list.iter().map(|rule| rule.path.as_ref()));
        Self { list, index }
    }

    /// The first that matches what is `asked` for: it decides. The index spares us those that cannot.
    pub(super) fn first(&self, asked: &Asked<'_>) -> Option<usize> {
        self.index.candidates(asked.path).find(|rule| self.list[*rule].matches(asked))
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.list.iter()
    }
}

impl ops::Index<usize> for Rules {
    type Output = Rule;

    fn index(&self, rule: usize) -> &Rule {
        &self.list[rule]
    }
}

impl Rule {
    /// Whether it decides about what is `asked` for.
    fn matches(&self, asked: &Asked<'_>) -> bool {
        // Apps answer HEAD with what they do for GET, so a rule about GET is one about HEAD.
        let named = |method| self.methods.contains(method);
        (self.methods.is_empty() || named(asked.method) || (*asked.method == Method::HEAD && named(&Method::GET)))
            && self.path.as_ref().is_none_or(|pattern| pattern.matches(asked.path))
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(asked.host)))
            && (self.clients.is_empty()
                || asked.client.is_some_and(|client| self.clients.iter().any(|network| network.contains(client))))
    }

    /// Whether it lets `caller` through.
    pub(super) fn allows(&self, caller: &Caller) -> bool {
        match (&self.demand, caller) {
            (Demand::Nothing, _) | (Demand::Known, Caller::Known(_)) => true,
            (Demand::Callers(callers), Caller::Known(identity)) => callers.include(identity),
            (Demand::Known | Demand::Callers(_), Caller::Anonymous) => false,
        }
    }
}

impl Callers {
    fn compile(config: &config::Callers, mapping: &mut Mapping) -> Self {
        Self {
            users: config.users.clone(),
            groups: config.groups.clone(),
            accounts: config.service_accounts.clone(),
            claims: config.claims.iter().map(|(path, value)| (mapping.slot(path), Wanted::new(path, value))).collect(),
            any: config.any.iter().map(|callers| Self::compile(callers, mapping)).collect(),
            all: config.all.iter().map(|callers| Self::compile(callers, mapping)).collect(),
        }
    }

    fn include(&self, identity: &Identity) -> bool {
        let user = self.users.is_empty() || self.users.iter().any(|user| **user == *identity.user);
        let group = self.groups.is_empty() || self.groups.iter().any(|group| identity.groups.contains(group));
        let named = |account: &ServiceAccount| {
            self.accounts.iter().any(|pattern| pattern.matches(&account.namespace, &account.name))
        };
        let account = self.accounts.is_empty() || identity.account.as_ref().is_some_and(named);
        let claim =
            |(slot, wanted): &(usize, Wanted)| wanted.is_met_by(identity.claims.get(*slot).and_then(Option::as_ref));
        let any = self.any.is_empty() || self.any.iter().any(|callers| callers.include(identity));
        let claims = self.claims.iter().all(claim);
        let all = self.all.iter().all(|callers| callers.include(identity));
        user && group && account && claims && any && all
    }
}

#[cfg(test)]
mod tests;
