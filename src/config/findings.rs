//! What the checks of the sections find, by key, before it is known where each key was written.

use std::collections::BTreeSet;

/// Something wrong with a key.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// The key: `rules[2].path`. Empty = the whole.
    pub(super) key: String,
    /// What is wrong, in one sentence without a full stop.
    pub(super) what: String,
    /// What to do about it. Empty when `what` already says it.
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), remedy: remedy.into() }
    }
}

/// What the checks of the sections have found so far.
///
/// A value that could not be read is left out of what they see, so that they can look at all others. So an
/// entry of a list may have had another number in the file, and a section may lack what was meant to be there.
#[derive(Debug)]
pub(super) struct Findings<'s> {
    left_out: &'s BTreeSet<String>,
    list: Vec<Finding>,
}

impl<'s> Findings<'s> {
    pub(super) fn new(left_out: &'s BTreeSet<String>) -> Self {
        Self { left_out, list: Vec::new() }
    }

    /// Notes a finding, unless something within `key` was left out: it may be the very thing that is missing.
    pub(super) fn push(&mut self, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        let finding = Finding::new(key, what, remedy);
        if self.complete(&finding.key) {
            self.list.push(finding);
        }
    }

    /// Whether nothing within `key` was left out.
    pub(super) fn complete(&self, key: &str) -> bool {
        !self.left_out.iter().any(|left_out| within(left_out, key))
    }

    /// The key of the entry of `list` that the checks see as number `seen`.
    pub(super) fn element(&self, list: &str, seen: usize) -> String {
        let index = |key: &String| key.strip_prefix(list)?.strip_prefix('[')?.strip_suffix(']')?.parse::<usize>().ok();
        let mut left_out = self.left_out.iter().filter_map(index).collect::<Vec<_>>();
        left_out.sort_unstable();
        let written = left_out.into_iter().fold(seen, |written, left_out| written + usize::from(left_out <= written));
        element(list, written)
    }

    pub(super) fn into_list(self) -> Vec<Finding> {
        self.list
    }
}

/// The key of `name` in the map `key`.
pub(super) fn member(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

/// The key of entry `i` of the list `key`.
pub(super) fn element(key: &str, i: usize) -> String {
    format!("{key}[{i}]")
}

/// The key of the map or list that holds `key`.
pub(super) fn parent(key: &str) -> &str {
    &key[..key.rfind(['.', '[']).unwrap_or(0)]
}

/// The way to a key, so that keys can be put in order: entry 10 of a list comes after entry 2.
pub(super) fn steps(key: &str) -> impl Iterator<Item = Result<usize, &str>> {
    key.split(['.', '[']).map(|step| step.strip_suffix(']').and_then(|number| number.parse().ok()).ok_or(step))
}

/// The one of `candidates` that was probably meant by `word`.
pub(super) fn closest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let word = word.to_lowercase();
    let rated = candidates
        .iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase()), *candidate));
    rated.filter(|(likeness, _)| *likeness >= 0.6).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// `words` as prose: `a`, `b`, `c`.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Whether `key` is `outer` or lies within it.
pub(super) fn within(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_the_numbers_that_they_have_in_the_file() {
        let left_out =
            ["rules[10]", "rules[2]", "rules[0]", "rules[1].allow.users[0]", "auth.jwt[1]"].map(String::from).into();
        let findings = Findings::new(&left_out);
        let written: Vec<_> = (0..9).map(|seen| findings.element("rules", seen)).collect();
        assert_eq!(written, [1, 3, 4, 5, 6, 7, 8, 9, 11].map(|i| format!("rules[{i}]")));
        assert_eq!(findings.element("auth.jwt", 1), "auth.jwt[2]");
    }

    #[test]
    fn entries_are_in_the_order_of_their_numbers() {
        let mut keys =
            ["rules[10]", "rules[2].path", "rules[2]", "rules", "listen.tls", "rules[2].allow.users[11]", ""];
        keys.sort_by(|a, b| steps(a).cmp(steps(b)));
        let sorted = ["", "listen.tls", "rules", "rules[2]", "rules[2].allow.users[11]", "rules[2].path", "rules[10]"];
        assert_eq!(keys, sorted);
    }

    #[test]
    fn nothing_is_missed_where_something_was_left_out() {
        let left_out = ["listen.plaintxt"].map(String::from).into();
        let mut findings = Findings::new(&left_out);
        for key in ["listen", "listen.plaintxt", "listening", "listen.tls"] {
            findings.push(key, "w", "");
        }
        let keys: Vec<_> = findings.into_list().into_iter().map(|finding| finding.key).collect();
        assert_eq!(keys, ["listening", "listen.tls"]);
    }

    #[test]
    fn the_likeliest_word_is_meant() {
        for (word, meant) in
            [("alow", Some("allow")), ("ALLOW", Some("allow")), ("paht", Some("path")), ("x", None), ("", None)]
        {
            assert_eq!(closest(word, &["allow", "path", "methods"]), meant, "{word}");
        }
    }
}
