//! Which paths a rule is about: exact paths, prefixes and globs, and whether one leaves anything to another.

use std::{fmt, str::Split};

/// The paths that a rule is about.
///
/// A pattern is written as the path is read, not as it is encoded (`/über uns`, not `/%C3%BCber%20uns`), and is
/// held against the canonical path, decoded. `*` stands for any characters within one segment; as a whole segment
/// it stands for at least one. `/**` at the end stands for the path before it, and everything below. Everything
/// else stands for itself, a `/` at the end too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern {
    text: String,
    segments: Vec<String>,
    below: bool,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with `text`, and what to write instead: such a pattern would match nothing, because no
    /// canonical path looks like it, or something else than its author thinks.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the path is empty; leave the key out to mean every path".to_owned());
        }
        let Some(path) = text.strip_prefix('/') else {
            return Err(format!("`{text}` does not begin with a slash; write `/{text}`"));
        };
        if let Some(reason) = never_canonical(path) {
            return Err(format!("`{text}` {reason}"));
        }
        let mut segments = path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let below = segments.pop_if(|last| last == "**").is_some();
        let inner = if below { segments.as_slice() } else { &segments[..segments.len().saturating_sub(1)] };
        if inner.iter().any(String::is_empty) {
            return Err(format!("`{text}` contains `//`, and requests for such paths are refused; write one slash"));
        }
        for segment in &segments {
            check_segment(segment).map_err(|reason| format!("`{text}` {reason}"))?;
        }
        Ok(Self { text: text.to_owned(), segments, below })
    }

    /// Whether the pattern stands for `path`, which is canonical and decoded.
    pub fn matches(&self, path: &str) -> bool {
        let Some(mut rest) = Self::segments_of(path) else { return false };
        for pattern in &self.segments {
            match rest.next() {
                Some(segment) if segment_matches(pattern, segment) => {}
                _ => return false,
            }
        }
        self.below || rest.next().is_none()
    }

    /// What every pattern is held against: the segments of `path`, unless it does not begin with a slash. No pattern
    /// stands for such a path.
    pub fn segments_of(path: &str) -> Option<Split<'_, char>> {
        path.strip_prefix('/').map(|path| path.split('/'))
    }

    /// What the segments of every path that it stands for begin with: one text each, or `None` where there may be
    /// several.
    pub fn stem(&self) -> impl Iterator<Item = Option<&str>> {
        self.segments.iter().map(|segment| Some(segment.as_str()).filter(|segment| !segment.contains('*')))
    }

    /// Whether a rule for `wide` is for every path that one for `narrow` is for. None is every path.
    pub fn takes_all_of(wide: Option<&Self>, narrow: Option<&Self>) -> bool {
        match (wide, narrow) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => wide.covers(narrow),
        }
    }

    /// Whether every path that `other` stands for is one of ours too. Exact, not a guess.
    pub fn covers(&self, other: &Self) -> bool {
        // What `other` writes as `*` may become any text, so only a `*` of ours can take it in. `segment_matches`
        // sees it that way by itself, because no character of ours equals a `*`.
        let common = self.segments.len();
        let long_enough = other.segments.len() >= common;
        let same_length = other.segments.len() == common && !other.below;
        (if self.below { long_enough } else { same_length })
            && self.segments.iter().zip(&other.segments).all(|(ours, theirs)| segment_matches(ours, theirs))
    }
}

impl PathPattern {
    /// Whether it takes a part out of what `whole` is for without a name for that part: `/a` and `/a/*` of `/a/**`, but
    /// not `/a/login`. The root itself is a part with a name.
    pub fn takes_unnamed_part_of(&self, whole: &Self) -> bool {
        let stem = whole.segments.len();
        whole.below
            && self.segments.len() >= stem
            && self.segments.iter().zip(&whole.segments).all(|(ours, theirs)| segment_matches(ours, theirs))
            && self.segments[stem..].iter().all(|rest| matches!(rest.as_str(), "" | "*"))
            && (stem > 0 || self.segments != [""])
    }

    /// Some path that it stands for with a slash at the end, where it stands for none itself.
    pub fn with_slash(&self) -> Option<String> {
        let bare = !self.below && self.segments.last().is_some_and(|last| !last.is_empty());
        // What is written as `*` may be a `*`.
        bare.then(|| format!("{}/", self.text))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether `pattern`, in which `*` stands for any text, is `segment`.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == segment };
    let (pieces, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    if pattern == "*" {
        return !segment.is_empty();
    }
    let Some(mut middle) = segment.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    // Each piece is taken at its first occurrence: that leaves most to those after it.
    for piece in pieces.split('*') {
        match middle.find(piece) {
            Some(at) => middle = &middle[at + piece.len()..],
            None => return false,
        }
    }
    true
}

/// Why no canonical path can contain the characters of `path`.
fn never_canonical(path: &str) -> Option<&'static str> {
    if path.contains(char::is_control) {
        return Some("contains a control character, and requests for such paths are refused");
    }
    if path.contains('\\') {
        return Some("contains a backslash, and requests for such paths are refused");
    }
    if path.contains(['?', '#']) {
        return Some("contains `?` or `#`; rules see the path only, without query and fragment");
    }
    if path.contains(['{', '}', '[', ']']) {
        return Some("contains a brace or bracket; the patterns are `*` for a part of a segment, and `/**` at the end");
    }
    let encoded = |rest: &str| rest.as_bytes().iter().take(2).filter(|byte| byte.is_ascii_hexdigit()).count() == 2;
    if path.split('%').skip(1).any(encoded) {
        return Some("is percent-encoded; write the characters themselves, as in `/über uns`");
    }
    None
}

/// What is wrong with one segment.
fn check_segment(segment: &str) -> Result<(), &'static str> {
    match segment {
        "." | ".." => Err("contains a `.` or `..` segment, and requests for such paths are refused"),
        ".*" => Err("looks like a regular expression; write `*` for one segment, or `/**` at the end"),
        _ if segment.contains("**") => Err("has `**` in the middle; it can only be the whole last segment"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("/", &["/"], &["", "/x", "//", "*"]),
            ("/x", &["/x"], &["/x/", "/X", "/xy", "/", "/x/y", "x"]),
            ("/x/", &["/x/"], &["/x", "/x/y", "/x//"]),
            ("/**", &["/", "/x", "/x/y/"], &["", "*", "x"]),
            (
                "/admin/**",
                &["/admin", "/admin/", "/admin/x", "/admin/x/y"],
                &["/administrator", "/admi", "/", "/x/admin"],
            ),
            ("/a/*", &["/a/b", "/a/*"], &["/a", "/a/", "/a/b/", "/a/b/c"]),
            ("/a/*/c", &["/a/b/c"], &["/a//c", "/a/b/d/c", "/a/c"]),
            ("/a/*/**", &["/a/b", "/a/b/", "/a/b/c"], &["/a", "/a/"]),
            ("/*.css", &["/x.css", "/.css", "/x.css.css"], &["/x.cs", "/d/x.css", "/x.css/"]),
            ("/v*/x", &["/v/x", "/v1/x"], &["/w/x", "/v1/y"]),
            ("/a*b*c", &["/abc", "/axbxc", "/abbc", "/abcbc"], &["/ac", "/acb", "/abcd", "/ab"]),
            ("/aa*aa", &["/aaaa", "/aaxaa"], &["/aa", "/aaa"]),
            ("/über uns/**", &["/über uns/x"], &["/uber uns"]),
            ("/100%", &["/100%"], &["/100"]),
        ];
        for (pattern, yes, no) in table {
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.to_string(), *pattern);
            for path in *yes {
                assert!(parsed.matches(path), "{pattern} should match {path:?}");
            }
            for path in *no {
                assert!(!parsed.matches(path), "{pattern} should not match {path:?}");
            }
        }
    }

    #[test]
    fn what_can_never_match_is_refused_with_advice() {
        for (pattern, advice) in [
            ("", "leave the key out"),
            ("admin", "write `/admin`"),
            ("**", "write `/**`"),
            ("*", "write `/*`"),
            ("/a//b", "one slash"),
            ("//", "one slash"),
            ("/a//**", "one slash"),
            ("/a/./b", "segment"),
            ("/a/..", "segment"),
            ("/../**", "segment"),
            ("/a%2fb", "percent-encoded"),
            ("/%C3%BCber", "percent-encoded"),
            ("/a?b=c", "query"),
            ("/a#b", "fragment"),
            ("/a\\b", "backslash"),
            ("/a\0b", "control"),
            ("/a\nb", "control"),
            ("/**/b", "whole last segment"),
            ("/a**", "whole last segment"),
            ("/a/***", "whole last segment"),
            ("/{a,b}/c", "brace"),
            ("/[ab]", "bracket"),
            ("/api/.*", "regular expression"),
        ] {
            let error = PathPattern::parse(pattern).unwrap_err();
            assert!(error.contains(advice), "{pattern:?}: {error}");
        }
    }

    #[test]
    fn covering_is_decided_by_what_is_matched() {
        for (wide, narrow, covers) in [
            ("/**", "/", true),
            ("/**", "/a/*/**", true),
            ("/", "/**", false),
            ("/a/**", "/a", true),
            ("/a/**", "/a/", true),
            ("/a/**", "/a/b/**", true),
            ("/a/**", "/ab", false),
            ("/a/b/**", "/a/**", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", false),
            ("/a/*", "/a/**", false),
            ("/a/*", "/a/b*", true),
            ("/a/b*", "/a/*", false),
            ("/*b*", "/a*bc", true),
            ("/*.css", "/x*.css", true),
            ("/x", "/x/", false),
            ("/x", "/x", true),
        ] {
            let (wide, narrow) = (PathPattern::parse(wide).unwrap(), PathPattern::parse(narrow).unwrap());
            assert_eq!(wide.covers(&narrow), covers, "{wide} over {narrow}");
        }
    }

    #[test]
    fn a_part_without_a_name_is_told_from_one_with_a_name() {
        for (part, whole, unnamed) in [
            ("/a", "/a/**", true),
            ("/a/", "/a/**", true),
            ("/a/*", "/a/**", true),
            ("/a/*/**", "/a/**", true),
            ("/*/*", "/a/**", true),
            ("/*", "/**", true),
            ("/", "/**", false),
            ("/healthz", "/**", false),
            ("/a/login", "/a/**", false),
            ("/a/*.css", "/a/**", false),
            ("/a/*/public", "/a/**", false),
            ("/b", "/a/**", false),
            ("/a", "/a/*", false),
        ] {
            let (part, whole) = (PathPattern::parse(part).unwrap(), PathPattern::parse(whole).unwrap());
            assert_eq!(part.takes_unnamed_part_of(&whole), unnamed, "{part} of {whole}");
        }
    }

    fn pattern() -> impl Strategy<Value = PathPattern> {
        "(/[ab*]{1,3}){0,3}(/|/\\*\\*)?".prop_filter_map("not a pattern", |text| PathPattern::parse(&text).ok())
    }

    /// Paths that a pattern stands for, of which one betrays every pattern that does not cover it: what no pattern
    /// writes (`z`) stands in for `*`, and below the end there is nothing, an empty segment, or two.
    fn witnesses(pattern: &PathPattern) -> Vec<String> {
        let stem: String = pattern.segments.iter().map(|segment| format!("/{}", segment.replace('*', "z"))).collect();
        if !pattern.below {
            return vec![stem];
        }
        ["", "/", "/z", "/z/z"]
            .map(|rest| format!("{stem}{rest}"))
            .into_iter()
            .filter(|path| !path.is_empty())
            .collect()
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in "\\PC*", path in "\\PC*") {
            if let Ok(pattern) = PathPattern::parse(&pattern) {
                pattern.matches(&path);
                prop_assert!(pattern.covers(&pattern));
            }
        }

        #[test]
        fn the_covered_matches_nothing_of_its_own(wide in pattern(), narrow in pattern(), path in "(/[abz]{0,3}){1,4}") {
            if wide.covers(&narrow) && narrow.matches(&path) {
                prop_assert!(wide.matches(&path), "{wide} covers {narrow}, but not {path}");
            }
        }

        #[test]
        fn the_uncovered_matches_something_of_its_own(wide in pattern(), narrow in pattern()) {
            let witnesses = witnesses(&narrow);
            prop_assert!(witnesses.iter().all(|path| narrow.matches(path)));
            prop_assert_eq!(wide.covers(&narrow), witnesses.iter().all(|path| wide.matches(path)), "{} over {}", wide, narrow);
        }
    }
}
