//! Reads the files that a configuration names, and says why one cannot be read.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    process,
};

use super::Problem;

/// No key, certificate or list of users that is meant to be one is larger, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Reads the file at `path`, which `key` names, up to 16 MiB.
///
/// # Errors
/// Why it cannot be read. For a file that is not ours to read that is its mode, its owner and who we are.
pub fn read(path: &Path, key: &str) -> Result<Vec<u8>, Problem> {
    read_up_to(path, key, MAX_FILE)
}

/// Reads the file at `path`, which `key` names, up to `max` bytes.
pub(super) fn read_up_to(path: &Path, key: &str, max: u64) -> Result<Vec<u8>, Problem> {
    let problem = |(what, remedy): (String, &str)| Problem::new(key, what, remedy);
    if path.as_os_str().is_empty() {
        return Err(problem(("the path of the file is empty".to_owned(), "")));
    }
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut content));
    read.map_err(|error| problem(why(path, &error)))?;
    if content.len() as u64 > max {
        return Err(problem((format!("{} is larger than {} MiB", path.display(), max >> 20), "is it the right file?")));
    }
    Ok(content)
}

/// Checks that files can be kept in `folder`, which `key` names.
///
/// # Errors
/// It is not there, is no folder, or is not ours to write.
pub fn check_folder(folder: &Path, key: &str) -> Result<(), Problem> {
    let name = folder.display();
    let remedy = "mount a volume there, an emptyDir or a PersistentVolumeClaim, that we may write; or take the key out";
    let problem = |what: String| Err(Problem::new(key, what, remedy));
    match fs::metadata(folder) {
        Err(error) => return problem(format!("there is no folder {name}: {error}")),
        Ok(metadata) if !metadata.is_dir() => return problem(format!("{name} is no folder")),
        Ok(_) => {}
    }
    // By trying: of a mode, a read-only root and a full disk only the system knows.
    let probe = folder.join(format!(".sidegate-{}", process::id()));
    match File::create(&probe) {
        Ok(_) => {
            // Two who share the folder may have the same number, and the other one was here first.
            let _ = fs::remove_file(&probe);
            Ok(())
        }
        Err(error) => problem(format!("nothing can be written into {name}: {error}")),
    }
}

/// Why `path` cannot be read, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds these few have a remedy")]
fn why(path: &Path, error: &io::Error) -> (String, &'static str) {
    let name = path.display();
    match error.kind() {
        io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
            (format!("{name} is a link to a file that is not there"), "is the volume mounted whole?")
        }
        io::ErrorKind::NotFound => (format!("there is no file {name}"), ""),
        io::ErrorKind::IsADirectory => (
            format!("{name} is a directory"),
            "name the file in it; a volume with a wrong subPath makes a directory, too",
        ),
        io::ErrorKind::PermissionDenied => {
            // What we may not look at lies below a directory that we may not enter.
            let seen = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
            let whose = seen.map_or_else(String::new, |(seen, metadata)| match seen == path {
                true => format!("{}, ", ownership(&metadata)),
                false => format!("{} has {}, ", seen.display(), ownership(&metadata)),
            });
            let (user, group) = ourselves().unwrap_or_else(|| ("?".to_owned(), "?".to_owned()));
            (
                format!("cannot read {name}: {whose}running as {user}:{group}"),
                "in a pod set fsGroup, or the volume's defaultMode; elsewhere chown or chmod it",
            )
        }
        _ => (format!("cannot read {name}: {error}"), ""),
    }
}

fn ownership(metadata: &Metadata) -> String {
    format!("mode {:04o} owner {}:{}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
}

/// The effective user and group of this process. The standard library has no call for it, and libc's is unsafe.
fn ourselves() -> Option<(String, String)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let effective = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1).map(str::to_owned)
    };
    Some((effective("Uid:")?, effective("Gid:")?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_that_is_not_ours_to_read_says_whose_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tls.key");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
        // Root reads everything, so that the test cannot rely on being refused.
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let owner = fs::metadata(&file).unwrap();
        let (user, group) = ourselves().unwrap();
        let (what, remedy) = why(&file, &denied);
        let (owner, running) =
            (format!("mode 0400 owner {}:{}", owner.uid(), owner.gid()), format!("running as {user}:{group}"));
        assert_eq!(what, format!("cannot read {}: {owner}, {running}", file.display()));
        assert!(remedy.contains("fsGroup") && remedy.contains("defaultMode"));
        assert!(user.parse::<u32>().is_ok() && group.parse::<u32>().is_ok());

        // Not even the name in a directory that we may not enter.
        let (what, _) = why(&file.join("below"), &denied);
        assert!(what.contains(&format!("{} has {owner}", file.display())), "{what}");
    }

    #[test]
    fn what_is_no_file_is_said_so() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name: &str| {
            read_up_to(&directory.path().join(name), "listen.tls.key", 4).map_err(|problem| problem.to_string())
        };
        fs::write(directory.path().join("four"), "1234").unwrap();
        fs::write(directory.path().join("five"), "12345").unwrap();
        assert_eq!(read("four").unwrap(), b"1234");
        for (name, expected) in [("five", "is larger than"), ("none", "there is no file"), (".", "is a directory")] {
            let problem = read(name).unwrap_err();
            assert!(problem.starts_with("listen.tls.key: ") && problem.contains(expected), "{problem}");
        }
        assert!(super::read(Path::new(""), "k").unwrap_err().to_string().contains("is empty"));
    }
}
