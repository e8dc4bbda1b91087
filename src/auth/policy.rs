//! The decision: which rule, who is calling, and may they. Synchronous, so that the whole security argument is a table of
//! tests, and so that one snapshot decides both who and whether. It does nothing but look, remember what was verified, and
//! wish: for a key that is not there, or an API server's word. What it wishes for is found out elsewhere.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::{
    basic::{Credentials, Users},
    claims::Mapping,
    jwt::{Authentic, Background, CacheGauges, Issuers, KeyRing, Unproved},
    need::{Learned, Need},
    pages,
    rules::{self, Asked, Demand, Rule, Rules},
};
use crate::{
    config::{self, Kinds, Paths, Problem, Problems},
    denial::{Challenges, Denial},
    exchange::Verdict,
    identity::{self, Caller, Identity},
    reason::Reason,
    sources::{self, Found},
    target::{Target, Unsettled},
};

/// Everything that decides about a request, compiled from the configuration and the files that it names.
#[derive(Debug)]
pub struct Policy {
    rules: Rules,
    /// For what no rule matches.
    paths: Paths,
    issuers: Option<Issuers>,
    passwords: Option<Passwords>,
    mapping: Mapping,
    /// What a refusal asks for, by the rule.
    challenges: Vec<Asking>,
    passes_preflights: bool,
    /// Whose pages may open a WebSocket with credentials that a browser adds by itself.
    trusted_origins: Vec<config::Origin>,
}

#[derive(Debug)]
struct Passwords {
    users: Users,
    /// Whom each of them is to the rules and to the app: made once, for all requests.
    identities: HashMap<Arc<str>, Arc<Identity>>,
}

/// What a refusal asks for.
#[derive(Debug)]
struct Asking {
    challenges: Arc<Challenges>,
    /// For what the scripts of a page ask, where no browser is to ask its user for a password because of it.
    quietly: Option<Arc<Challenges>>,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Decision {
    /// Refuse it.
    Deny(Denial, Verdict),
    /// Forward it.
    Permit(Caller, Verdict),
}

/// What the credentials are worth.
enum Proof {
    Known { identity: Arc<Identity>, remembered: bool },
    Unchecked(Need),
}

/// A decision that waits for something to be found out; then [`Policy::resume`].
#[derive(Debug)]
pub struct Pending {
    /// What.
    pub need: Need,
    /// The rule that is to decide.
    pub rule: usize,
}

/// How far a request was understood when it was refused.
struct Refused(Reason, identity::Method);

impl Policy {
    /// Reads all that the configuration names: keys, users, groups. The second value lists what works but deserves a
    /// look.
    ///
    /// # Errors
    /// All the problems, not the first.
    pub fn compile(config: &config::Config) -> Result<(Self, Vec<Problem>), Problems> {
        let mut problems = Problems::default();
        let mut warnings = Vec::new();
        let mapping = problems.keep(Mapping::compile(&config.identity));
        let issuers = problems.keep(Issuers::compile(&config.auth)).map(|(issuers, left_out)| {
            warnings.extend(left_out);
            (!config.auth.jwt.is_empty()).then_some(issuers)
        });
        let passwords = match &config.auth.basic {
            None => Some(None),
            Some(basic) => problems.keep(Users::load(basic)).map(|users| {
                warnings.extend_from_slice(users.warnings());
                if config.auth.jwt.is_empty() {
                    warnings.extend(rules::unmet(&config.rules, &users));
                }
                Some(users)
            }),
        };
        // The rules add the claims that they ask for to the mapping; without one they are still checked.
        let mut mapping = mapping.unwrap_or_default();
        let rules = problems.keep(rules::compile(config, &mut mapping));
        let passwords = passwords.and_then(|users| match (users, &config.auth.basic) {
            (Some(users), Some(basic)) => problems.keep(Passwords::new(users, basic, &mapping)).map(Some),
            (None, _) | (_, None) => Some(None),
        });
        match (rules, issuers, passwords) {
            (Some(rules), Some(issuers), Some(passwords)) => {
                let basic = config.auth.basic.as_ref();
                let policy = Self {
                    challenges: rules.iter().map(|rule| Asking::about(&rule.proofs, basic)).collect(),
                    rules,
                    paths: config.paths,
                    issuers,
                    passwords,
                    mapping,
                    passes_preflights: config.cors.preflight == config::Preflight::Pass,
                    trusted_origins: config.auth.trusted_origins.clone(),
                };
                problems.or((policy, warnings))
            }
            _ => Err(problems),
        }
    }

    /// From now on shows in `gauges` how many verified tokens are remembered.
    pub fn show_cache_in(&mut self, gauges: CacheGauges) {
        if let Some(issuers) = &mut self.issuers {
            issuers.show_cache_in(gauges);
        }
    }

    /// What fetches keys and asks about tokens. It is to be run on another thread than requests.
    pub fn take_background(&mut self) -> Background {
        self.issuers.as_mut().map(Issuers::take_background).unwrap_or_default()
    }

    /// Whether callers can be known without the keys of any issuer: by a password, or an API server's word.
    pub fn knows_without_keys(&self) -> bool {
        self.passwords.is_some() || self.issuers.as_ref().is_some_and(Issuers::asks_a_cluster)
    }

    /// The keys of every issuer of tokens.
    pub fn key_rings(&self) -> Vec<Arc<KeyRing>> {
        self.issuers.iter().flat_map(Issuers::key_rings).cloned().collect()
    }

    /// The public key that what we tell the app can be checked with, if we sign it.
    pub fn jwks(&self) -> Option<Bytes> {
        self.mapping.jwks()
    }

    /// Decides about a request of a client at the address `client`, where that is known, at `now`. The target is settled
    /// by it: what is forwarded is what was decided about.
    ///
    /// # Errors
    /// Something has to be found out first.
    pub fn decide(
        &self,
        method: &Method,
        target: &mut Target,
        headers: &HeaderMap,
        client: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<Decision, Pending> {
        match self.rule(method, target, client) {
            Ok(rule) => self.resume(rule, target, headers, now, &Learned::default()),
            Err(decision) => Ok(decision),
        }
    }

    /// Decides about a request that `rule` is for, with what has been `learned` about it since it arrived.
    ///
    /// # Errors
    /// Something else has to be found out first.
    pub fn resume(
        &self,
        rule: usize,
        target: &Target,
        headers: &HeaderMap,
        now: SystemTime,
        learned: &Learned,
    ) -> Result<Decision, Pending> {
        if matches!(self.rules[rule].demand, Demand::Nothing) {
            return Ok(Decision::permit_anyone(rule));
        }
        let mut caller = None;
        for kinds in &self.rules[rule].proofs {
            match self.identify(&self.rules[rule], kinds, target, headers, now, learned) {
                Ok(Proof::Known { identity, remembered }) => caller = caller.or(Some((identity, remembered))),
                Ok(Proof::Unchecked(need)) => return Err(Pending { need, rule }),
                Err(refused) => return Ok(self.refuse(refused, rule, headers)),
            }
        }
        match caller {
            Some((identity, remembered)) => Ok(self.judge(identity, remembered, rule)),
            None => Ok(self.refuse(Refused(Reason::CredentialsMissing, identity::Method::None), rule, headers)),
        }
    }

    fn refuse(&self, Refused(reason, method): Refused, rule: usize, headers: &HeaderMap) -> Decision {
        if reason.status() != StatusCode::UNAUTHORIZED {
            return Decision::deny(reason.into(), method, Some(rule));
        }
        let Asking { challenges, quietly } = &self.challenges[rule];
        let challenges = quietly.as_ref().filter(|_| pages::asks_in_the_background(headers)).unwrap_or(challenges);
        Decision::deny(Denial::challenge(reason, challenges.clone()), method, Some(rule))
    }

    /// Decides about a preflight that asks about `method`, where the app is to answer it; `None` where preflights are requests
    /// like any other. A browser sends it without credentials, so nobody is asked for any; but what no rule is about is
    /// denied as ever.
    pub fn decide_preflight(&self, method: &Method, target: &mut Target, client: Option<IpAddr>) -> Option<Decision> {
        let decision = |rule| Decision::permit_anyone(rule);
        self.passes_preflights.then(|| self.rule(method, target, client).map_or_else(|denied| denied, decision))
    }

    /// The first rule that matches, or the refusal where there is none.
    fn rule(&self, method: &Method, target: &mut Target, client: Option<IpAddr>) -> Result<usize, Decision> {
        let settled = target.settle(
            |host, path| self.rules.first(&Asked { method, host, path, client }),
            |rule| rule.map_or(self.paths, |rule| self.rules[rule].paths),
        );
        match settled {
            Ok(Some(rule)) => Ok(rule),
            Ok(None) => Err(Decision::deny(Reason::NoRule.into(), identity::Method::None, None)),
            Err(Unsettled { rule, reason }) => Err(Decision::deny(reason.into(), identity::Method::None, rule)),
        }
    }

    /// Who is calling, by credentials of one of these `kinds`, or what has to be checked to know it. A token comes before
    /// a password.
    fn identify(
        &self,
        rule: &Rule,
        kinds: &Kinds,
        target: &Target,
        headers: &HeaderMap,
        now: SystemTime,
        learned: &Learned,
    ) -> Result<Proof, Refused> {
        let none = |reason| Refused(reason, identity::Method::None);
        if !kinds.issuers.is_empty()
            && let Some(issuers) = &self.issuers
            && let Some(found) = issuers.sources.find(headers, target).map_err(none)?
        {
            let refused = |reason| Refused(reason, identity::Method::Jwt);
            if rule.forwards_credentials {
                let password = rule.proofs.iter().any(|kinds| kinds.issuers.is_empty());
                issuers.sources.nothing_beside(Some(&found), password, headers, target).map_err(refused)?;
            }
            self.check_origin(found.ambient, target, headers).map_err(refused)?;
            let Found { token, source, .. } = found;
            let accepted = |issuer| kinds.issuers.contains(&issuer);
            let authentic = issuers.authenticate(&token, source, accepted, now, &self.mapping, learned);
            let Authentic { identity, remembered } = match authentic {
                Ok(authentic) => authentic,
                Err(Unproved::Refused(reason)) => return Err(refused(reason)),
                Err(Unproved::Review(asked)) => return Ok(Proof::Unchecked(Need::Review(asked))),
                Err(Unproved::Key(refetch)) => return Ok(Proof::Unchecked(Need::Key(refetch))),
            };
            return Ok(Proof::Known { identity, remembered });
        }
        let value = sources::authorization(headers).map_err(none)?.ok_or(none(Reason::CredentialsMissing))?;
        if kinds.passwords
            && let Some(passwords) = &self.passwords
            && sources::after_scheme(value, "basic").is_some()
        {
            let refused = |reason| Refused(reason, identity::Method::Basic);
            if rule.forwards_credentials
                && let Some(issuers) = &self.issuers
                && rule.proofs.iter().all(|kinds| kinds.issuers.is_empty())
            {
                issuers.sources.nothing_beside(None, true, headers, target).map_err(refused)?;
            }
            self.check_origin(true, target, headers).map_err(refused)?;
            let user = match &learned.password {
                Some(outcome) => outcome.clone(),
                None => {
                    let credentials = Credentials::parse(value).map_err(|_| refused(Reason::BasicMalformed))?;
                    let Some(user) = passwords.users.remembered(&credentials) else {
                        return Ok(Proof::Unchecked(Need::Password(passwords.users.check(credentials))));
                    };
                    Some(user)
                }
            };
            let identity = user.and_then(|user| passwords.identities.get(&user.name));
            let identity = identity.ok_or(refused(Reason::PasswordWrong))?.clone();
            return Ok(Proof::Known { identity, remembered: learned.password.is_none() });
        }
        Err(none(Reason::CredentialsMissing))
    }

    /// Refuses a WebSocket that a page of another origin opens with `ambient` credentials: those of its visitor.
    fn check_origin(&self, ambient: bool, target: &Target, headers: &HeaderMap) -> Result<(), Reason> {
        let asks = ambient && target.is_upgrade();
        if asks && !pages::may_open(headers, target.host(), &self.trusted_origins) {
            return Err(Reason::OriginDenied);
        }
        Ok(())
    }

    fn judge(&self, identity: Arc<Identity>, remembered: bool, rule: usize) -> Decision {
        let caller = Caller::Known(identity.clone());
        let allowed = self.rules[rule].allows(&caller);
        let verdict = Verdict {
            method: identity.method,
            identity: Some(identity),
            rule: Some(rule),
            refusal: (!allowed).then_some(Reason::RuleDenied),
            remembered,
        };
        if allowed { Decision::Permit(caller, verdict) } else { Decision::Deny(Reason::RuleDenied.into(), verdict) }
    }
}

impl Passwords {
    /// The users, as `mapping` tells of them.
    ///
    /// # Errors
    /// Those of whom the app cannot be told.
    fn new(users: Users, basic: &config::Basic, mapping: &Mapping) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let label: Arc<str> = basic.realm.as_str().into();
        let identities = users.iter().filter_map(|user| {
            let groups = user.groups.iter().map(ToString::to_string).collect();
            let claims = &serde_json::Value::Null;
            let identity = mapping.identify(identity::Method::Basic, label.clone(), &user.name, groups, None, claims);
            let identity = problems.keep(identity.ok_or_else(|| {
                let what = format!("what the app is told of user `{}` does not fit into a header of 8 KiB", user.name);
                Problem::new("auth.basic.groups_file", what, "let the user be in fewer groups")
            }));
            Some((user.name.clone(), Arc::new(identity?)))
        });
        let identities = identities.collect();
        problems.or(Self { users, identities })
    }
}

impl Asking {
    /// About what a rule wants to have proved.
    fn about(proofs: &[Kinds], basic: Option<&config::Basic>) -> Self {
        let bearer = proofs.iter().any(|kinds| !kinds.issuers.is_empty());
        let basic = basic.filter(|_| proofs.iter().any(|kinds| kinds.passwords));
        let challenges =
            |prompt| Arc::new(Challenges { bearer, basic: basic.map(|basic| basic.realm.clone()), prompt });
        let quietly = basic.filter(|basic| basic.prompt == config::Prompt::Navigation).map(|_| challenges(false));
        Self { challenges: challenges(true), quietly }
    }
}

impl Decision {
    /// Lets everybody through, and tells the app of nobody.
    fn permit_anyone(rule: usize) -> Self {
        let verdict = Verdict {
            method: identity::Method::None,
            identity: None,
            rule: Some(rule),
            refusal: None,
            remembered: false,
        };
        Self::Permit(Caller::Anonymous, verdict)
    }

    fn deny(denial: Denial, method: identity::Method, rule: Option<usize>) -> Self {
        let verdict = Verdict { method, identity: None, rule, refusal: Some(denial.reason), remembered: false };
        Self::Deny(denial, verdict)
    }
}

#[cfg(test)]
mod tests;
