//! What is wrong with what became of the cases, by what their senders, the access log and the app say.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Case, Version, clients::Seen};
use crate::support::Server;

/// Who sends a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Caller {
    /// Nobody: only `/public/` is open.
    Anonymous,
    /// Somebody with a valid token, whom `/admin` is closed to.
    Alice,
}

/// The answers that a case should have, in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Expected {
    One(Word),
    All(Vec<Word>),
}

/// What one answer should be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// The app's answer, for everybody.
    Public,
    /// The app's answer for Alice, 401 for others.
    Private,
    /// 403 for Alice, 401 for others.
    Admin,
    /// Refused as malformed or not supported, whoever sends it: over HTTP/2 a reset stream says the same.
    Refused,
    /// Refused as too large.
    TooLarge,
    /// Refused, or taken for what it says and served: both are right, and the app sees what was meant at most.
    RefusedOrPublic,
    /// No answer: the connection ends.
    Nothing,
    /// Refused, or no answer.
    RefusedOrNothing,
    /// Refused; the connection may end there, or go on with requests that are refused as well.
    RefusedThenAny,
    /// 401 for everybody.
    Anonymous,
    /// 401 and 400: more than one set of credentials, or none that is valid.
    Unauthorized,
}

/// A case that was sent.
pub(super) struct Sent<'a> {
    pub(super) case: &'a Case,
    pub(super) version: Version,
    pub(super) caller: Caller,
    pub(super) id: String,
    pub(super) answers: Vec<Seen>,
    /// What somebody else got afterwards.
    pub(super) honest: Option<String>,
}

/// What the access log and the app say of one case.
#[derive(Default)]
struct Trace<'a> {
    permitted: usize,
    answered: usize,
    seen: Vec<&'a Value>,
}

impl Expected {
    /// How many answers there should be.
    pub(super) fn count(&self) -> usize {
        self.words().iter().filter(|word| **word != Word::Nothing).count()
    }

    fn words(&self) -> &[Word] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::All(words) => words,
        }
    }
}

impl Word {
    fn fits(self, seen: Option<&Seen>, version: Version, caller: Caller) -> bool {
        let status = seen.map_or(0, |seen| seen.status);
        // What sidegate itself answers has an id, or, where hyper answers, no body. Everything else comes from the app.
        let own = |seen: &Seen| seen.body.contains("\"request_id\"") || (seen.body.is_empty() && status >= 400);
        let from_app = seen.is_some_and(|seen| !own(seen)) && !matches!(status, 401 | 403 | 501..);
        let reset = seen.is_none() && version == Version::H2;
        let malformed = matches!(status, 400 | 501 | 505) && seen.is_some_and(|seen| !seen.body.contains("routed"));
        match (self, caller) {
            (Self::Public, _) | (Self::Private, Caller::Alice) => from_app,
            (Self::Private | Self::Admin, Caller::Anonymous) => status == 401,
            (Self::Admin, Caller::Alice) => status == 403,
            (Self::Anonymous, _) => status == 401,
            (Self::Refused | Self::RefusedThenAny, _) => malformed || reset,
            (Self::TooLarge, _) => matches!(status, 413 | 414 | 431) || reset,
            (Self::RefusedOrPublic, _) => malformed || reset || from_app,
            (Self::Nothing, _) => seen.is_none(),
            (Self::RefusedOrNothing, _) => malformed || seen.is_none(),
            (Self::Unauthorized, _) => matches!(status, 400 | 401) || reset,
        }
    }
}

/// All that is wrong.
pub(super) fn judge(sent: &[Sent<'_>], log: &[Value], seen: &[Value], server: Server) -> Vec<String> {
    let mut traces: BTreeMap<&str, Trace<'_>> = BTreeMap::new();
    let mut findings = Vec::new();
    for line in log {
        let agent = line["user_agent"].as_str().unwrap_or_default();
        if let Some(id) = id(agent) {
            let trace = traces.entry(id).or_default();
            trace.permitted += usize::from(line["auth_reason"] == "ok");
            trace.answered += usize::from(!line["upstream_service_time"].is_null());
        }
    }
    for request in seen {
        let agent = request["environ"]["HTTP_USER_AGENT"].as_str().unwrap_or_default();
        match id(agent) {
            Some(id) => traces.entry(id).or_default().seen.push(request),
            None if agent.starts_with("honest/") => {}
            None => findings.push(format!("nobody sent what the app saw: {request}")),
        }
    }
    let nothing = Trace::default();
    for sent in sent {
        let trace = traces.get(sent.id.as_str()).unwrap_or(&nothing);
        let mut wrong = of_answers(sent, server);
        wrong.extend(of_counts(sent, trace));
        wrong.extend(trace.seen.iter().flat_map(|request| of_request(sent, request, server)));
        findings.extend(wrong.into_iter().map(|what| format!("{} {what}", sent.id)));
    }
    findings
}

/// The id of a case in a `User-Agent`.
fn id(agent: &str) -> Option<&str> {
    let start = agent.find("corpus/")?;
    let length = agent[start..].find(';')? + 1;
    Some(&agent[start..start + length])
}

fn of_answers(sent: &Sent<'_>, server: Server) -> Vec<String> {
    let expected = sent.case.expected(sent.version).words();
    let mut wrong = Vec::new();
    for (i, word) in expected.iter().enumerate() {
        let seen = sent.answers.get(i);
        // nginx answers before it has read the body.
        let early =
            sent.case.broken_off && server == Server::Nginx && Word::Public.fits(seen, sent.version, sent.caller);
        if !early && !word.fits(seen, sent.version, sent.caller) {
            wrong.push(format!("should be {word:?}, and its answer {} is {seen:?}", i + 1));
        }
    }
    let ends = !expected.contains(&Word::RefusedThenAny);
    if let Some(more) = sent.answers.get(expected.len()).filter(|more| ends || !matches!(more.status, 400 | 401 | 403))
    {
        wrong.push(format!("has one answer too many: {more:?}"));
    }
    wrong.extend(
        sent.honest
            .iter()
            .filter(|honest| *honest != "200 routed public")
            .map(|honest| format!("made the next client see: {honest}")),
    );
    wrong
}

/// The app has seen what sidegate says that it forwarded, and nothing else.
fn of_counts(sent: &Sent<'_>, trace: &Trace<'_>) -> Option<String> {
    let Trace { permitted, answered, seen } = trace;
    let count = seen.len();
    let fits = match (sent.case.broken_off, sent.case.app_may_refuse) {
        // Whether the app saw it depends on how far it got.
        (true, _) => count <= *permitted && *answered <= *permitted,
        (false, true) => count <= *permitted && answered == permitted,
        (false, false) => count == *permitted && answered == permitted,
    };
    (!fits).then(|| format!("was forwarded {permitted} times and answered {answered} times, and the app saw {count}"))
}

/// The app has seen nothing that this caller may not do, and nothing that only sidegate may say.
fn of_request(sent: &Sent<'_>, request: &Value, server: Server) -> Vec<String> {
    let variable = |name: &str| request["environ"][name].as_str().unwrap_or_default();
    let (route, path) = (request["route"].as_str().unwrap_or("none"), variable("PATH_INFO"));
    let mut wrong = Vec::new();
    let is_public = matches!(route, "public" | "none") && path.starts_with("/public");
    let is_admin = route == "admin" || path.split('/').find(|segment| !segment.is_empty()) == Some("admin");
    if is_admin || (sent.caller == Caller::Anonymous && !is_public) {
        wrong.push(format!("REACHED {route}: {} {path}", variable("REQUEST_METHOD")));
    }
    // Where anyone may go, nobody is asked who they are.
    let (user, groups) = if sent.caller == Caller::Alice && !is_public { ("alice", "staff") } else { ("", "") };
    for (name, value) in [
        ("SCRIPT_NAME", ""),
        ("REMOTE_USER", ""),
        ("HTTP_X_FORWARDED_USER", user),
        ("HTTP_X_FORWARDED_GROUPS", groups),
        ("HTTP_X_FORWARDED_EMAIL", ""),
        ("HTTP_X_FORWARDED_PREFIX", ""),
        ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
        ("HTTP_X_FORWARDED_PROTO", "https"),
        ("HTTP_X_FORWARDED_HOST", variable("HTTP_HOST")),
        ("HTTP_FORWARDED", ""),
        ("HTTP_AUTHORIZATION", ""),
    ] {
        if variable(name) != value {
            wrong.push(format!("has {name}={:?} at the app, which should be {value:?}", variable(name)));
        }
    }
    // Whatever a client writes to be believed has `evil` in it.
    let environ = request["environ"].as_object().into_iter().flatten();
    for (name, value) in environ.filter(|(_, value)| value.as_str().is_some_and(|value| value.contains("evil"))) {
        let target = matches!(name.as_str(), "QUERY_STRING" | "REQUEST_URI" | "RAW_URI" | "PATH_INFO");
        if !target && !sent.case.arrives.contains(name) {
            wrong.push(format!("made {name}={value} at the app"));
        }
    }
    // nginx writes down only some variables.
    for name in sent.case.arrives.iter().filter(|_| server != Server::Nginx) {
        if !variable(name).contains("evil") {
            wrong.push(format!("should arrive in {name}, which is {:?}", variable(name)));
        }
    }
    wrong
}
