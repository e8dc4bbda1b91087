//! Keeps the layering: which module may import which.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each top-level module of `src/` and what it may import of ours, from the lowest layer to the highest. A line that has
/// to grow is a decision: say in the commit why the lower layer needs the higher one.
const LAYERS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("clock", &[]),
    ("reason", &[]),
    ("fields", &[]),
    ("http1", &["reason"]),
    // Who signs what is said about a caller reads its key at the start.
    ("identity", &["config"]),
    ("target", &["config", "fields", "reason"]),
    ("sources", &["config", "fields", "reason", "target"]),
    ("origin", &["config", "fields", "reason", "target"]),
    ("exchange", &["http1", "identity", "origin", "reason"]),
    ("tunnel", &["exchange", "reason"]),
    ("live", &[]),
    ("tls", &["config"]),
    ("fetch", &["config", "tls"]),
    ("upstream", &["clock", "config", "exchange", "http1", "reason", "tls", "tunnel"]),
    ("compress", &["config"]),
    ("body", &["compress", "upstream"]),
    ("denial", &["body", "exchange", "reason"]),
    ("cors", &["body", "config", "denial", "exchange", "fields", "reason"]),
    ("admit", &["body", "denial", "exchange", "reason"]),
    (
        "auth",
        &["config", "cors", "denial", "exchange", "fetch", "fields", "identity", "live", "reason", "sources", "target"],
    ),
    (
        "proxy",
        &[
            "auth", "body", "clock", "compress", "config", "denial", "exchange", "fields", "http1", "identity",
            "origin", "reason", "sources", "target", "tunnel", "upstream",
        ],
    ),
    ("telemetry", &["clock", "config", "exchange", "http1", "identity", "reason"]),
    ("stack", &["admit", "auth", "body", "cors", "denial", "exchange", "proxy", "telemetry"]),
    (
        "server",
        &["body", "clock", "config", "exchange", "fields", "http1", "origin", "reason", "stack", "telemetry", "tunnel"],
    ),
    ("admin", &["auth", "telemetry", "upstream"]),
    ("app", &["admin", "auth", "config", "cors", "origin", "proxy", "server", "stack", "telemetry", "tls", "upstream"]),
    ("commands", &["app", "auth", "config", "telemetry"]),
];

/// Over this many lines a file needs a reason; none has one yet.
const LONGEST_FILE: usize = 400;

#[test]
fn modules_import_only_what_their_layer_may() {
    for (path, module, text) in sources() {
        let (_, allowed) = LAYERS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{}: `{module}` has no line in LAYERS", path.display()));
        for import in imports(&text) {
            assert!(
                import == module || allowed.contains(&import.as_str()),
                "{}: `{module}` imports `{import}`, which its layer may not",
                path.display()
            );
        }
    }
}

#[test]
fn layers_import_downwards_only() {
    for (place, (module, allowed)) in LAYERS.iter().enumerate() {
        for import in *allowed {
            let below = LAYERS[..place].iter().any(|(name, _)| name == import);
            assert!(below, "`{module}` may import `{import}`, which is not below it");
        }
    }
}

#[test]
fn layers_say_no_more_than_is_needed() {
    for (module, allowed) in LAYERS {
        let used: BTreeSet<_> =
            sources().filter(|(_, owner, _)| owner == module).flat_map(|(_, _, text)| imports(&text)).collect();
        for import in *allowed {
            assert!(used.contains(*import), "`{module}` may import `{import}` and does not");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    for (path, _, text) in sources() {
        assert!(text.starts_with("//! "), "{}: it does not open with what it is for", path.display());
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{}: {lines} lines are more than {LONGEST_FILE}", path.display());
    }
}

/// Every source file but the two roots, with its top-level module and its text.
fn sources() -> impl Iterator<Item = (PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.into_iter().filter_map(move |path| {
        let relative = path.strip_prefix(&root).ok()?.with_extension("");
        let module = relative.iter().next()?.to_str()?.to_owned();
        let text = fs::read_to_string(&path).expect("a readable source file");
        (!matches!(module.as_str(), "lib" | "main")).then_some((path, module, text))
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules that `crate::…` names, in a list in braces too.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        if code[..start].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
            continue;
        }
        let rest = &code[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.extend(name(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut at_start = true;
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_start = true,
                        _ if at_start && !c.is_whitespace() => {
                            at_start = false;
                            found.extend(name(&list[i..]));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0 && text.starts_with(char::is_lowercase)).then(|| text[..end].to_owned())
}
