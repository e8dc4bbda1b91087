//! Which rules may be about a path, without asking each of them.
//!
//! **It decides nothing.** It names candidates, in the order of the rules, and whether one matches is asked of the rule
//! itself. So the first candidate that matches is the first rule that matches, as long as no rule that matches is missing,
//! and none is: a pattern stands only for paths whose segments begin with its own ([`PathPattern::stem`]), and the walk
//! takes every branch that such a path may have been put on. Methods, hosts and clients play no part in it.
//!
//! It is a tree of segments, in which those with a `*` are one branch beside the texts. The walk costs what the path is
//! long, not what the rules are many; where patterns with `*` make it branch, it meets no more nodes than there are
//! segments in all patterns.

use std::{collections::HashMap, str::Split};

use crate::config::PathPattern;

/// So many rules are asked sooner than they are looked up.
const FEW: usize = 4;

/// The segments of a pattern that are looked at. Bounds the tree and the walk; rules that differ below it are candidates
/// together.
const DEPTH: usize = 16;

/// The lists of candidates that are merged. A path that leads to more, by very many ways to write it with `*`, makes every
/// rule a candidate.
const LISTS: usize = 8;

/// The rules by the segments of their paths.
#[derive(Debug)]
pub(super) struct PathIndex {
    root: Node,
    all: Vec<usize>,
}

/// Where patterns lead that begin alike.
#[derive(Debug, Default)]
struct Node {
    /// The rules whose pattern says no more than what led here, in their order.
    rules: Vec<usize>,
    /// By the next segment.
    texts: HashMap<Box<str>, Self>,
    /// Whatever the next segment is.
    any: Option<Box<Self>>,
}

/// The rules that may be about a path, in their order.
#[derive(Debug)]
pub(super) struct Candidates<'i> {
    lists: [&'i [usize]; LISTS],
    count: usize,
}

/// There are more lists than are merged.
struct Full;

impl PathIndex {
    /// Of the rules that have these patterns; `None` is one for every path.
    pub(super) fn new<'p>(patterns: impl ExactSizeIterator<Item = Option<&'p PathPattern>>) -> Self {
        let depth = if patterns.len() > FEW { DEPTH } else { 0 };
        let (mut root, mut all) = (Node::default(), Vec::new());
        for (rule, pattern) in patterns.enumerate() {
            let stem = pattern.into_iter().flat_map(PathPattern::stem);
            stem.take(depth).fold(&mut root, Node::branch).rules.push(rule);
            all.push(rule);
        }
        Self { root, all }
    }

    /// Every rule that may be about `path`, and some that are not.
    pub(super) fn candidates(&self, path: &str) -> Candidates<'_> {
        let mut found = Candidates { lists: [&[]; LISTS], count: 0 };
        match self.root.collect(PathPattern::segments_of(path), &mut found) {
            Ok(()) => found,
            Err(Full) => Candidates::of(&self.all),
        }
    }
}

impl Node {
    /// The node after one more segment, which is new if need be.
    fn branch(&mut self, segment: Option<&str>) -> &mut Self {
        match segment {
            Some(text) => self.texts.entry(text.into()).or_default(),
            None => self.any.get_or_insert_default(),
        }
    }

    /// Adds the rules here and at every node to which the `rest` of a path leads.
    fn collect<'i>(&'i self, rest: Option<Split<'_, char>>, found: &mut Candidates<'i>) -> Result<(), Full> {
        found.add(&self.rules)?;
        if self.texts.is_empty() && self.any.is_none() {
            return Ok(());
        }
        let Some(mut rest) = rest else { return Ok(()) };
        let Some(segment) = rest.next() else { return Ok(()) };
        if let Some(node) = self.texts.get(segment) {
            node.collect(Some(rest.clone()), found)?;
        }
        if let Some(node) = &self.any {
            node.collect(Some(rest), found)?;
        }
        Ok(())
    }
}

impl<'i> Candidates<'i> {
    fn of(rules: &'i [usize]) -> Self {
        let mut lists: [&[usize]; LISTS] = [&[]; LISTS];
        lists[0] = rules;
        Self { lists, count: 1 }
    }

    fn add(&mut self, rules: &'i [usize]) -> Result<(), Full> {
        if !rules.is_empty() {
            *self.lists.get_mut(self.count).ok_or(Full)? = rules;
            self.count += 1;
        }
        Ok(())
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let head = |list: &&mut &[usize]| list.first().copied().unwrap_or(usize::MAX);
        let list = self.lists[..self.count].iter_mut().min_by_key(head)?;
        let (first, rest) = list.split_first()?;
        *list = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn index(patterns: &[&str]) -> PathIndex {
        // `` stands for a rule without a path.
        let parsed = patterns.iter().map(|text| (!text.is_empty()).then(|| PathPattern::parse(text).unwrap()));
        let parsed: Vec<_> = parsed.collect();
        PathIndex::new(parsed.iter().map(Option::as_ref))
    }

    fn candidates(index: &PathIndex, path: &str) -> Vec<usize> {
        index.candidates(path).collect()
    }

    #[test]
    fn what_cannot_match_is_left_out_and_the_rest_stays_in_order() {
        let patterns = ["/a/b/**", "", "/a/*/c", "/a/b", "/b/**", "/*.css", "/a", "/**", "/"];
        for (path, rules) in [
            ("/", [1, 5, 7, 8].as_slice()),
            ("/a", &[1, 5, 6, 7]),
            ("/a/b", &[0, 1, 3, 5, 6, 7]),
            ("/a/b/c", &[0, 1, 2, 3, 5, 6, 7]),
            ("/a/x/c", &[1, 2, 5, 6, 7]),
            ("/A/b", &[1, 5, 7]),
            ("/b/", &[1, 4, 5, 7]),
            ("/x/b/c", &[1, 5, 7]),
            ("//b", &[1, 5, 7, 8]),
            // No pattern stands for what begins without a slash.
            ("", &[1, 7]),
            ("a/b", &[1, 7]),
        ] {
            assert_eq!(candidates(&index(&patterns), path), rules, "{path}");
        }
    }

    #[test]
    fn of_a_thousand_rules_below_one_segment_few_are_tried() {
        let patterns: Vec<_> =
            (0..500).flat_map(|i| [format!("/api/v1/area-{i}/**"), format!("/api/v1/*/part-{i}")]).collect();
        let patterns: Vec<_> = patterns.iter().map(String::as_str).chain([""]).collect();
        let index = index(&patterns);
        assert_eq!(candidates(&index, "/api/v1/area-499/part-7/x"), [15, 998, 1000]);
        assert_eq!(candidates(&index, "/api/v1/elsewhere"), [1000]);
    }

    #[test]
    fn few_rules_are_all_tried() {
        let patterns = ["/a", "/b", "/c", "/d", "/e"];
        assert_eq!(candidates(&index(&patterns[..FEW]), "/x"), [0, 1, 2, 3]);
        assert!(candidates(&index(&patterns), "/x").is_empty());
    }

    #[test]
    fn rules_that_differ_far_down_are_tried_together() {
        let deep = "/a".repeat(DEPTH);
        let index = index(&[&format!("{deep}/b"), &format!("{deep}/c"), &deep, "/b", "/c"]);
        assert_eq!(candidates(&index, &format!("{deep}/c")), [0, 1, 2]);
        assert!(candidates(&index, "/a/a").is_empty());
    }

    #[test]
    fn a_path_that_leads_to_too_many_lists_makes_every_rule_a_candidate() {
        // With three segments there are 2³ ways to write each path, and `/z` is none of them.
        let ways = ["/a/a/a", "/a/a/*", "/a/*/a", "/a/*/*", "/*/a/a", "/*/a/*", "/*/*/a", "/*/*/*", "/z", "/**"];
        assert_eq!(candidates(&index(&ways[..9]), "/a/a/a"), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(candidates(&index(&ways), "/a/a/a"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
