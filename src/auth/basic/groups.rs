//! The groups file: which users are in which group, as Apache's `AuthGroupFile`.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use super::lines::{Fault, Findings, lines};
use crate::config::{Problem, Problems};

/// Users whom the users file does not have are named up to this many.
const STRANGERS_TOLD: usize = 5;

/// The groups of every user whom a groups file names.
#[derive(Debug, Default)]
pub(super) struct Groups {
    of: HashMap<Box<str>, Membership>,
}

#[derive(Debug)]
struct Membership {
    /// Where the user is named first.
    line: usize,
    groups: Vec<Arc<str>>,
}

impl Groups {
    /// Reads lines of `group: user user`. A group that has several lines has the users of all of them.
    pub(super) fn parse(path: &Path, content: &[u8]) -> Result<Self, Problems> {
        let mut findings = Findings::new(path);
        let mut names: HashSet<Arc<str>> = HashSet::new();
        let mut groups = Self::default();
        for (number, line) in lines(content, usize::MAX) {
            let Some((name, members)) = findings.keep(number, line.and_then(parse_line)) else { continue };
            let group = names.get(name).cloned().unwrap_or_else(|| name.into());
            names.insert(group.clone());
            for member in members.split_ascii_whitespace() {
                groups.add(member, &group, number);
            }
        }
        findings.or(groups)
    }

    /// The groups of a user, in the order of the file. Each user is asked for once.
    pub(super) fn take(&mut self, user: &str) -> Box<[Arc<str>]> {
        self.of.remove(user).map(|membership| membership.groups.into()).unwrap_or_default()
    }

    /// A warning about the users who were not asked for, because the users file does not have them.
    ///
    /// It is no problem: one groups file often serves several apps, and a user who leaves is removed from the users
    /// file first, which must not stop a pod from starting.
    pub(super) fn strangers(self, path: &Path) -> Option<Problem> {
        let mut strangers: Vec<(usize, Box<str>)> = self.of.into_iter().map(|(name, of)| (of.line, name)).collect();
        strangers.sort_unstable();
        let (line, _) = strangers.first()?;
        let place = format!("{}:{line}", path.display());
        let told: Vec<String> = strangers.iter().take(STRANGERS_TOLD).map(|(_, name)| format!("`{name}`")).collect();
        let more = match strangers.len() - told.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = format!("not in the users file: {}{more}", told.join(", "));
        Some(Problem::new(place, what, "check the spelling, or remove them from the groups"))
    }

    fn add(&mut self, member: &str, group: &Arc<str>, line: usize) {
        let Some(membership) = self.of.get_mut(member) else {
            self.of.insert(member.into(), Membership { line, groups: vec![group.clone()] });
            return;
        };
        if !membership.groups.contains(group) {
            membership.groups.push(group.clone());
        }
    }
}

fn parse_line(line: &str) -> Result<(&str, &str), Fault> {
    const FORM: &str = "write `group: user user`";
    let (name, members) = line.split_once(':').ok_or_else(|| Fault::new("the line has no colon", FORM))?;
    let name = name.trim();
    if name.is_empty() {
        return Err(Fault::new("the group has no name", FORM));
    }
    if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Fault::new("the group's name contains a blank or a control character", FORM));
    }
    if members.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Fault::new("the line contains a control character", FORM));
    }
    if members.contains(':') {
        return Err(Fault::new("the line has a second colon", "put every group on a line of its own"));
    }
    Ok((name, members))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::{
        auth::basic::{Credentials, Users, vectors::BCRYPT},
        config,
    };

    fn parse(content: &str) -> Result<Groups, String> {
        Groups::parse(Path::new("groups"), content.as_bytes()).map_err(|problems| problems.to_string())
    }

    fn of(groups: &mut Groups, user: &str) -> String {
        groups.take(user).join(" ")
    }

    #[test]
    fn lines_of_one_group_are_merged() {
        let content = "\u{feff}# who may do what\r\n\r\nadmin: alice bob\r\nstaff:bob\tcarol bob\r\n  ops :  \r\nadmin: carol alice\r\n";
        let mut groups = parse(content).unwrap();
        assert_eq!(of(&mut groups, "alice"), "admin");
        assert_eq!(of(&mut groups, "bob"), "admin staff");
        assert_eq!(of(&mut groups, "carol"), "staff admin");
        assert_eq!(of(&mut groups, "dave"), "");
    }

    #[test]
    fn every_broken_line_is_told_with_its_place() {
        let problems = parse("admin alice\n: bob\nad min: carol\nadmin: alice staff: bob\nok: alice\n").unwrap_err();
        let told: Vec<&str> = problems.lines().collect();
        assert_eq!(
            told,
            [
                "groups:1: the line has no colon; write `group: user user`",
                "groups:2: the group has no name; write `group: user user`",
                "groups:3: the group's name contains a blank or a control character; write `group: user user`",
                "groups:4: the line has a second colon; put every group on a line of its own",
            ]
        );
    }

    #[test]
    fn users_who_are_not_in_the_users_file_are_a_warning() {
        let mut groups = parse("admin: alice\nstaff: zoe alice b c d e f g").unwrap();
        groups.take("alice");
        let warning = groups.strangers(Path::new("groups")).unwrap().to_string();
        assert!(
            warning.starts_with("groups:2: not in the users file: `b`, `c`, `d`, `e`, `f` and 2 more;"),
            "{warning}"
        );
        assert_eq!(Groups::default().strangers(Path::new("groups")), None);
    }

    fn files(files: &[(&str, &[u8])]) -> (tempfile::TempDir, impl Fn(&str, &str) -> Result<Users, Problems> + use<>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let path = folder.path().to_owned();
        let load = move |users: &str, groups: &str| {
            let (users_file, groups_file) = (path.join(users), Some(path.join(groups)));
            Users::load(&config::Basic {
                users_file,
                groups_file,
                realm: "sidegate".to_owned(),
                prompt: config::Prompt::Always,
                failures: config::Failures::default(),
            })
        };
        (folder, load)
    }

    #[test]
    fn users_are_loaded_with_their_groups() {
        let content = format!("alice:{BCRYPT}\nbob:{BCRYPT}\n");
        let (_folder, load) =
            files(&[("users", content.as_bytes()), ("groups", b"staff: alice mallory\nadmin: alice\n")]);
        let users = load("users", "groups").unwrap();
        let groups = |name| {
            let check = users.check(Credentials::new(name, "correct horse").unwrap());
            check.run().unwrap().groups.join(" ")
        };
        assert_eq!((groups("alice"), groups("bob")), ("staff admin".to_owned(), String::new()));
        let warning = users.warnings()[0].to_string();
        assert!(warning.contains("groups:1: not in the users file: `mallory`; "), "{warning}");
    }

    #[test]
    fn the_problems_of_both_files_are_told_at_once() {
        let (_folder, load) = files(&[("groups", b"admin alice\n"), ("large", &vec![b'#'; (16 << 20) + 1])]);
        let problems = |users, groups| load(users, groups).unwrap_err().to_string();
        let told = problems("missing", "groups");
        assert!(told.starts_with("auth.basic.users_file: there is no file ") && told.contains("groups:1: "), "{told}");
        let told = problems("large", "missing");
        assert!(
            told.contains("is larger than 16 MiB") && told.contains("auth.basic.groups_file: there is no file"),
            "{told}"
        );
        assert!(problems(".", "groups").starts_with("auth.basic.users_file: "), "a folder");
    }

    proptest! {
        #[test]
        fn arbitrary_files_never_panic(content in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Groups::parse(Path::new("groups"), &content);
        }
    }
}
