//! However an app reads what it is sent, the rule that decided is the one for it.

use proptest::prelude::*;

use super::*;

/// How an app goes from the path that it is sent to the one that it looks up. Written without regard to how the proxy
/// does it.
#[derive(Clone, Copy, Debug)]
struct App {
    parameters: Parameters,
    slashes: fn(&str) -> bool,
    order: Order,
}

#[derive(Clone, Copy, Debug)]
enum Parameters {
    Kept,
    /// As Python's `urlparse` does: in the last segment only.
    CutAtTheEnd,
    CutBeforeDecoding,
    CutAfterDecoding,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Nothing,
    Collapse,
    Resolve,
    CollapseThenResolve,
    ResolveThenCollapse,
}

/// What each kind of app takes for a slash beside the slash.
const SLASHES: [fn(&str) -> bool; 6] = [
    |_| false,
    |token| token == "%2f",
    |token| token == "\\",
    |token| token == "\\" || token == "%5c",
    |token| token == "%5c" || token == "%2f",
    |token| token == "\\" || token == "%5c" || token == "%2f",
];

impl App {
    fn all() -> impl Iterator<Item = Self> {
        use Order::{Collapse, CollapseThenResolve, Nothing, Resolve, ResolveThenCollapse};
        use Parameters::{CutAfterDecoding, CutAtTheEnd, CutBeforeDecoding, Kept};
        let orders = [Nothing, Collapse, Resolve, CollapseThenResolve, ResolveThenCollapse];
        let parameters = [Kept, CutAtTheEnd, CutBeforeDecoding, CutAfterDecoding];
        let both = orders.into_iter().flat_map(move |order| parameters.map(|parameters| (order, parameters)));
        both.flat_map(|(order, parameters)| SLASHES.map(|slashes| Self { parameters, slashes, order }))
    }

    fn read(&self, path: &str) -> String {
        let cut = |path: &str| -> String {
            let segments: Vec<_> = path.split('/').map(|segment| segment.split(';').next().unwrap()).collect();
            segments.join("/")
        };
        let path = path.to_lowercase();
        let path = match self.parameters {
            Parameters::Kept | Parameters::CutAfterDecoding => path,
            Parameters::CutAtTheEnd => {
                let (before, last) = path.rsplit_once('/').unwrap();
                format!("{before}/{}", cut(last))
            }
            Parameters::CutBeforeDecoding => cut(&path),
        };
        let mut decoded = String::new();
        let mut rest = path.as_str();
        while let Some(first) = rest.chars().next() {
            let (token, tail) = rest.split_at(if first == '%' { 3 } else { first.len_utf8() });
            rest = tail;
            match token {
                token if (self.slashes)(token) => decoded.push('/'),
                "%2e" => decoded.push('.'),
                "%3b" => decoded.push(';'),
                "%61" => decoded.push('a'),
                // A character of a segment, which is none that a route is written with.
                "%2f" => decoded.push('\u{2044}'),
                "%5c" => decoded.push('\\'),
                token => decoded.push_str(token),
            }
        }
        let path = if matches!(self.parameters, Parameters::CutAfterDecoding) { cut(&decoded) } else { decoded };
        match self.order {
            Order::Nothing => path,
            Order::Collapse => collapse(&path),
            Order::Resolve => resolve(&path),
            Order::CollapseThenResolve => resolve(&collapse(&path)),
            Order::ResolveThenCollapse => collapse(&resolve(&path)),
        }
    }
}

fn collapse(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

/// RFC 3986 section 5.2.4, which does not climb above the root.
fn resolve(path: &str) -> String {
    let segments: Vec<_> = path.split('/').skip(1).collect();
    let mut kept = Vec::new();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match *segment {
            "." => kept.extend(last.then_some("")),
            ".." => {
                kept.pop();
                kept.extend(last.then_some(""));
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

fn handling() -> impl Strategy<Value = Handling> {
    prop_oneof![Just(Reject), Just(Normalize), Just(Pass)]
}

fn rules() -> impl Strategy<Value = Vec<(PathPattern, Paths)>> {
    let pattern = "(/(a|b|a;b|\\*|a\\*|\\*b)){0,3}(/|/\\*\\*)?";
    let pattern = pattern.prop_filter_map("not a pattern", |text| PathPattern::parse(&text).ok());
    let rule = (pattern, handling(), handling()).prop_map(|(path, a, b)| (path, paths(a, b)));
    proptest::collection::vec(rule, 1..5)
}

fn targets() -> impl Strategy<Value = String> {
    "(/|%2f|%5C|\\\\|/)?((a|b|%61|\\.|%2e|\\.\\.|;|%3b|/|/|%2F|%5c|\\\\|//)){0,9}".prop_map(|rest| format!("/{rest}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn however_an_app_reads_what_it_is_sent_the_rule_that_decided_is_the_one_for_it(
        rules in rules(), others in (handling(), handling()), target in targets()
    ) {
        let find = |path: &str| rules.iter().position(|(pattern, _)| pattern.matches(path));
        let others = paths(others.0, others.1);
        let mut target = parse(&target).unwrap();
        if let Ok(rule) = target.settle(|_, path| find(path), |rule| rule.map_or(others, |i| rules[i].1)) {
            let forwarded = target.forwarded().path();
            for app in App::all() {
                let reading = app.read(forwarded);
                prop_assert_eq!(find(&reading), rule, "{} is {} to {:?}", forwarded, reading, app);
            }
        }
    }

    #[test]
    fn what_was_normalised_is_forwarded_unchanged_when_it_comes_back(target in targets()) {
        let all = paths(Normalize, Normalize);
        if let Ok((path, forwarded)) = settle(&target, all) {
            prop_assert_eq!(settle(&forwarded, STRICT), Ok((path, forwarded.clone())));
        }
    }

    #[test]
    fn what_passes_by_default_passes_unchanged_with_every_setting(target in targets(), a in handling(), b in handling()) {
        if let Ok(settled) = settle(&target, STRICT) {
            prop_assert_eq!(settle(&target, paths(a, b)), Ok(settled));
        }
    }

    #[test]
    fn nothing_panics(target in "/[ -~é%]{0,30}", a in handling(), b in handling()) {
        if let Ok(request) = Request::get(&target).header("host", "a").body(())
            && let Ok(mut target) = Target::parse(&request)
        {
            let _ = target.settle(|_, _| Some(()), |_| paths(a, b));
        }
    }
}
