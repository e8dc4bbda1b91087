//! What a person can paste into a shell.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// `text` as one word of a POSIX shell.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.-_:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

/// How the program at `exe` is started by a shell in `directory`: by its name where `search_path` leads to it, by a
/// relative path where it lies beneath, else by its whole path.
pub(super) fn invocation(exe: &Path, directory: &Path, search_path: Option<&OsStr>) -> String {
    let Some(name) = exe.file_name() else { return quoted(&exe.to_string_lossy()).into_owned() };
    let same = |candidate: &Path| candidate.canonicalize().is_ok_and(|found| found == exe);
    let found = search_path.and_then(|paths| env::split_paths(paths).map(|p| p.join(name)).find(|file| file.is_file()));
    let shown = match exe.strip_prefix(directory) {
        _ if found.is_some_and(|file| same(&file)) => PathBuf::from(name),
        Ok(below) if below.components().nth(1).is_none() => Path::new(".").join(below),
        Ok(below) => below.to_owned(),
        Err(_) => exe.to_owned(),
    };
    quoted(&shown.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn a_shell_reads_the_word_that_was_meant() {
        for text in
            ["plain/path.crt", "", "two words", "it's", "$HOME", "`id`", "a\\b", "alice:p\"w", "*", "~", "a;b", "ä"]
        {
            let output = Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(text))).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
        assert_eq!(quoted("target/debug/sidegate"), "target/debug/sidegate");
    }

    #[test]
    fn the_program_is_called_as_this_shell_would() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let bin = root.join("target/debug");
        fs::create_dir_all(&bin).unwrap();
        let exe = bin.join("sidegate");
        fs::write(&exe, "").unwrap();
        let elsewhere = Path::new("/nowhere");
        assert_eq!(invocation(&exe, &root, None), "target/debug/sidegate");
        assert_eq!(invocation(&exe, &bin, None), "./sidegate");
        assert_eq!(invocation(&exe, elsewhere, None), exe.to_string_lossy());
        assert_eq!(invocation(&exe, elsewhere, Some(bin.as_os_str())), "sidegate");
        // Another one of that name comes first on the path.
        let other = root.join("bin");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("sidegate"), "").unwrap();
        let paths = env::join_paths([&other, &bin]).unwrap();
        assert_eq!(invocation(&exe, &root, Some(&paths)), "target/debug/sidegate");
    }
}
