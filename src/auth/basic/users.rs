//! The users file (htpasswd) with the groups file beside it, loaded and checked as a whole.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    sync::Arc,
    time::Instant,
};

use super::{
    cache::Cache,
    check::{PasswordCheck, Remember},
    credentials::Credentials,
    groups::Groups,
    hash::Hash,
    lines::{Fault, Findings, check_name, lines},
    workload::Workload,
};
use crate::config::{self, Problem, Problems};

/// The longest line of a users file, in bytes. A name, the longest hash and a comment fit many times.
const LONGEST_LINE: usize = 4096;

/// A user whom the users file has.
#[derive(Debug, Eq, PartialEq)]
pub struct User {
    /// The name, as the file spells it.
    pub name: Arc<str>,
    /// The groups, in the order of the groups file.
    pub groups: Box<[Arc<str>]>,
}

/// A users file, and who of it had the right password a moment ago.
pub struct Users {
    entries: HashMap<Arc<str>, Arc<Entry>>,
    workload: Workload,
    /// None when hashing is cheaper than remembering.
    cache: Option<Arc<Cache>>,
    warnings: Vec<Problem>,
}

/// A user with the hash of the password.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) user: Arc<User>,
    pub(super) hash: Hash,
    line: usize,
}

impl Users {
    /// Reads the users file and the groups file.
    ///
    /// A line is `name:hash`, and what follows a second colon is a comment. Lines that are blank or begin with `#`
    /// say nothing. The hashes may be of different kinds: bcrypt, argon2id, SHA-crypt (`$5$`, `$6$`), and with a
    /// warning APR1 and `{SHA}`.
    ///
    /// # Errors
    /// Everything that is wrong with either file, by line.
    pub fn load(config: &config::Basic) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let users = problems.keep(config::read(&config.users_file, "auth.basic.users_file"));
        let mut groups = None;
        if let Some(path) = config.groups_file.as_deref() {
            let content = problems.keep(config::read(path, "auth.basic.groups_file"));
            let parsed = content.and_then(|content| problems.keep(Groups::parse(path, &content)));
            groups = parsed.map(|groups| (path, groups));
        }
        let users = users.and_then(|content| problems.keep(Self::parse(&config.users_file, &content, groups)));
        match users {
            Some(users) => problems.or(users),
            None => Err(problems),
        }
    }

    /// The user who sent these credentials a moment ago and had them checked. Takes no hashing.
    pub fn remembered(&self, credentials: &Credentials) -> Option<Arc<User>> {
        let cache = self.cache.as_ref()?;
        cache.find(&cache.fingerprint(credentials), Instant::now())
    }

    /// Whether right passwords are remembered at all. They are not when all hashes are `{SHA}`, which takes less
    /// time than finding them again.
    pub fn remembers(&self) -> bool {
        self.cache.is_some()
    }

    /// Plans the check of a password.
    pub fn check(&self, credentials: Credentials) -> PasswordCheck {
        let entry = self.entries.get(credentials.name()).cloned();
        let rest = self.workload.rest(entry.as_ref().map(|entry| entry.hash.kind()));
        let remember = self.cache.as_ref().map(|cache| {
            let fingerprint = cache.fingerprint(&credentials);
            Remember { cache: cache.clone(), fingerprint }
        });
        PasswordCheck { entry, credentials, rest, remember }
    }

    /// What is accepted, but should not stay as it is.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The users.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.entries.values().map(|entry| &*entry.user)
    }

    pub(super) fn parse(path: &Path, content: &[u8], groups: Option<(&Path, Groups)>) -> Result<Self, Problems> {
        let mut findings = Findings::new(path);
        let (groups_path, mut groups) = groups.map_or((None, Groups::default()), |(path, groups)| (Some(path), groups));
        let mut entries: HashMap<Arc<str>, Arc<Entry>> = HashMap::new();
        let mut workload = Workload::default();
        let mut weak: BTreeMap<&str, (usize, usize)> = BTreeMap::new();

        for (line, text) in lines(content, LONGEST_LINE) {
            let Some((name, hash)) = findings.keep(line, text.and_then(parse_line)) else { continue };
            if let Some(first) = entries.get(name) {
                let what = format!("user `{name}` is on line {} already", first.line);
                findings.keep::<()>(line, Err(Fault::new(what, "remove one of the lines")));
                continue;
            }
            workload.add(hash.kind());
            if let Some(name) = hash.kind().weak() {
                weak.entry(name).or_insert((line, 0)).1 += 1;
            }
            let name: Arc<str> = name.into();
            let user = Arc::new(User { name: name.clone(), groups: groups.take(&name) });
            entries.insert(name, Arc::new(Entry { user, hash, line }));
        }

        if entries.is_empty() {
            findings.note(Fault::new("no user in the file", "add one with `sidegate hash-password --user NAME`"));
        }
        if let Some(count) = workload.too_many() {
            let what = format!("{count} different kinds of hashes, and a wrong password takes one of each");
            findings.note(Fault::new(what, "hash the passwords with the same parameters"));
        }
        let mut warnings: Vec<Problem> = weak.into_iter().map(|(name, of)| weak_hashes(&findings, name, of)).collect();
        warnings.extend(groups_path.and_then(|path| groups.strangers(path)));
        let cache = match Cache::new() {
            _ if !workload.is_slow() => None,
            Ok(cache) => Some(Arc::new(cache)),
            Err(_) => {
                findings.note(Fault::new("the system gives no random numbers", "check the kernel's getrandom"));
                None
            }
        };
        findings.or(Self { entries, workload, cache, warnings })
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("count", &self.count()).field("workload", &self.workload).finish_non_exhaustive()
    }
}

fn parse_line(line: &str) -> Result<(&str, Hash), Fault> {
    let Some((name, rest)) = line.split_once(':') else {
        return Err(Fault::new("the line has no colon", "write `name:hash`, as `sidegate hash-password` prints it"));
    };
    check_name(name)?;
    let hash = rest.split(':').next().unwrap_or_default();
    Ok((name, Hash::parse(hash.trim_end())?))
}

fn weak_hashes(findings: &Findings<'_>, name: &str, (line, count): (usize, usize)) -> Problem {
    let what = match count {
        1 => format!("an {name} hash, which is guessed fast by who reads the file"),
        _ => format!("{count} {name} hashes, which are guessed fast by who reads the file, the first on this line"),
    };
    Problem::new(findings.place(line), what, "hash the passwords again with `sidegate hash-password`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::auth::basic::vectors::{BCRYPT, HASHES, SHA1};

    fn parse(content: impl AsRef<[u8]>) -> Result<Users, String> {
        Users::parse(Path::new("users"), content.as_ref(), None).map_err(|problems| problems.to_string())
    }

    fn login(users: &Users, name: &str, password: &str) -> Option<Arc<User>> {
        users.check(Credentials::new(name, password).unwrap()).run()
    }

    #[test]
    fn a_file_may_mix_kinds_comments_blanks_and_line_ends() {
        let content = format!(
            "\u{feff}# our users\r\n\r\nalice:{BCRYPT}\r\n  \t\n#bob:{SHA1}\ncarol smith:{SHA1}:the boss\ndävid:{BCRYPT}  "
        );
        let users = parse(content).unwrap();
        assert_eq!(users.count(), 3);
        for name in ["alice", "carol smith", "dävid"] {
            assert_eq!(&*login(&users, name, "correct horse").unwrap().name, name);
        }
        assert_eq!(login(&users, "bob", "correct horse"), None);
        assert_eq!(login(&users, "#bob", "correct horse"), None);
    }

    #[test]
    fn every_broken_line_is_told_with_its_place_and_what_to_do() {
        let content = [
            format!("alice:{BCRYPT}").into_bytes(),
            b"secretpw".to_vec(),
            format!(":{BCRYPT}").into_bytes(),
            b"bob:secretpw".to_vec(),
            format!("alice:{SHA1}").into_bytes(),
            format!("a\u{7}b:{BCRYPT}").into_bytes(),
            b"caf\xe9:secretpw".to_vec(),
            vec![b'x'; LONGEST_LINE + 1],
            format!("{}:{BCRYPT}", "n".repeat(256)).into_bytes(),
            format!(" dave:{BCRYPT}").into_bytes(),
            b"erin:".to_vec(),
        ];
        let problems = parse(content.join(&b'\n')).unwrap_err();
        let starts = [
            "users:2: the line has no colon; write",
            "users:3: the name is empty; ",
            "users:4: neither a hash that begins with `$` nor `{SHA}`: plain text or DES crypt; accepted are bcrypt, ",
            "users:5: user `alice` is on line 1 already; remove",
            "users:6: the name contains a control character; ",
            "users:7: the line is not UTF-8; save",
            "users:8: the line is longer than 4096 bytes; ",
            "users:9: the name is longer than 255 bytes; ",
            "users:10: the name begins or ends with a blank; ",
            "users:11: no hash after the name; ",
        ];
        assert_eq!(problems.lines().count(), starts.len(), "{problems}");
        for (told, start) in problems.lines().zip(starts) {
            assert!(told.starts_with(start), "{told}");
        }
        assert!(!problems.contains("secretpw") && !problems.contains(&BCRYPT[7..]), "{problems}");
    }

    #[test]
    fn a_file_of_another_kind_has_a_bounded_number_of_problems() {
        let problems = parse("<html>\n".repeat(10_000)).unwrap_err();
        assert_eq!(problems.lines().count(), 21);
        assert!(problems.ends_with("users: 9980 more broken lines; is it the file that you meant?"), "{problems}");
    }

    #[test]
    fn a_file_without_users_or_with_too_many_kinds_is_a_problem() {
        for empty in ["", "\n\n", "# nobody\n", "\u{feff}"] {
            let problems = parse(empty).unwrap_err();
            assert!(problems.starts_with("users: no user in the file; add one with `sidegate"), "{problems}");
        }
        let line = |m| format!("u{m}:$argon2id$v=19$m={m},t=1,p=1$c29tZXNhbHQ$HLY7365Ju2EvnseQtMyxtw\n");
        let problems = parse((100..121).map(line).collect::<String>()).unwrap_err();
        assert!(problems.starts_with("users: 21 different kinds of hashes"), "{problems}");
    }

    #[test]
    fn weak_kinds_are_accepted_with_one_warning_each() {
        let apr1 = HASHES.iter().find(|(hash, _)| hash.starts_with("$apr1$")).unwrap().0;
        let users = parse(format!("a:{BCRYPT}\nb:{apr1}\nc:{SHA1}\nd:{SHA1}\n")).unwrap();
        let told: Vec<String> = users.warnings().iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("users:2: an APR1 hash, "), "{told:?}");
        assert!(told[1].starts_with("users:3: 2 {SHA} hashes, "), "{told:?}");
        assert_eq!(told.len(), 2);
        assert_eq!(parse(format!("a:{BCRYPT}")).unwrap().warnings(), []);
    }

    #[test]
    fn a_hundred_thousand_users_are_loaded() {
        let content: String = (0..100_000).map(|i| format!("user{i}:{BCRYPT}\n")).collect();
        let users = parse(content).unwrap();
        assert_eq!(users.count(), 100_000);
        assert_eq!(&*login(&users, "user99999", "correct horse").unwrap().name, "user99999");
    }

    proptest! {
        #[test]
        fn arbitrary_files_never_panic(content in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(content);
        }

        #[test]
        fn arbitrary_lines_never_panic(name in "\\PC{0,20}", prefix in "(\\$[a-z0-9]{0,8}\\$)?", rest in "[ -~]{0,90}") {
            let _ = parse(format!("{name}:{prefix}{rest}\n"));
        }
    }
}
