//! Where `sidegate dev` keeps its files: a directory of the user's own, at a place that `sidegate token` finds again.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf, absolute},
};

/// The variable that names another place.
pub(super) const VARIABLE: &str = "SIDEGATE_DEV_DIR";

/// The file that tells a directory of ours from one that holds somebody's work.
const MARK: &str = ".sidegate-dev";

/// A directory that nobody else may look into, and that no other `sidegate dev` writes to as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Where a `sidegate token` of another shell looks without being told.
    usual: bool,
    temporary: bool,
    _lock: File,
}

/// A variable of the environment.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Folder {
    /// Makes the directory, or takes the one of last time. Where the usual place cannot be used it is a temporary one,
    /// and the second value says why.
    ///
    /// # Errors
    /// The place that [`VARIABLE`] names cannot be used, or there is no temporary one either.
    pub(super) fn open(environment: Environment<'_>) -> io::Result<(Self, Option<String>)> {
        if let Some(path) = named(environment) {
            let path = absolute(path)?;
            let told = |error: io::Error| {
                let what = format!("{VARIABLE}: cannot keep files in {}: {error}", path.display());
                io::Error::new(error.kind(), what)
            };
            let lock = claim(&path).map_err(told)?;
            return Ok((Self { path, usual: false, temporary: false, _lock: lock }, None));
        }
        let why = match usual(environment) {
            Some(path) => match claim(&path) {
                Ok(lock) => return Ok((Self { path, usual: true, temporary: false, _lock: lock }, None)),
                Err(error) => format!("cannot keep files in {}: {error}", path.display()),
            },
            None => "HOME is not set".to_owned(),
        };
        let path = temporary()?;
        let lock = claim(&path)?;
        Ok((Self { path, usual: false, temporary: true, _lock: lock }, Some(why)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a `sidegate token` of another shell looks here without being told.
    pub(super) fn is_usual(&self) -> bool {
        self.usual
    }

    /// Whether it goes away with this process.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Writes a file that only the user may read, and says where it is. It appears whole, in place of the one of last
    /// time; what that was, a link even, does not matter.
    pub(super) fn write(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        write(&path, content)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // What cannot be removed is throw-away all the same.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Where the files of a running `sidegate dev` are looked for.
pub(super) fn place(environment: Environment<'_>) -> Option<PathBuf> {
    named(environment).or_else(|| usual(environment))
}

fn named(environment: Environment<'_>) -> Option<PathBuf> {
    environment(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The XDG base directories' place for what should survive a restart, but is worth no backup.
fn usual(environment: Environment<'_>) -> Option<PathBuf> {
    let directory = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")))?;
    Some(state.join("sidegate/dev"))
}

fn temporary() -> io::Result<PathBuf> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let path = env::temp_dir().join(format!("sidegate-dev-{:016x}", u64::from_ne_bytes(random)));
    // Not recursive: it must be new, or else somebody has guessed the name.
    let made = DirBuilder::new().mode(0o700).create(&path);
    made.map_err(|error| io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display())))?;
    Ok(path)
}

/// Makes sure that the directory is ours alone, and locks it.
fn claim(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Err(io::Error::other("it is a link, and could lead anywhere; remove it"));
    }
    let lock = File::open(path)?;
    if lock.metadata()?.ino() != found.ino() {
        return Err(io::Error::other("somebody is replacing it"));
    }
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another `sidegate dev` uses it"),
        TryLockError::Error(error) => error,
    })?;
    let mark = path.join(MARK);
    if !mark.exists() && fs::read_dir(path)?.next().is_some() {
        return Err(io::Error::other("it is not empty, and not from `sidegate dev`; name an empty directory"));
    }
    write(&mark, "")?;
    // Whose the new file is, we are: the standard library has no call for it.
    if fs::symlink_metadata(&mark)?.uid() != found.uid() {
        return Err(io::Error::other("it belongs to somebody else"));
    }
    lock.set_permissions(Permissions::from_mode(0o700))?;
    Ok(lock)
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    let new = path.with_added_extension("new");
    // Of a start that was cut off in the middle.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content.as_bytes())?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::symlink;

    use super::*;

    fn open(variables: &[(&str, &Path)]) -> io::Result<(Folder, Option<String>)> {
        Folder::open(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, path)| path.as_os_str().to_owned()))
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_directory_and_its_files_are_for_the_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let (folder, why) = open(&[("HOME", home.path())]).unwrap();
        assert_eq!((folder.path(), why), (&*home.path().join(".local/state/sidegate/dev"), None));
        assert!(folder.is_usual());
        let file = folder.write("key", "secret").unwrap();
        assert_eq!((mode(folder.path()), mode(&file)), (0o700, 0o600));
        drop(folder);

        fs::set_permissions(file.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let (folder, _) = open(&[("HOME", home.path())]).unwrap();
        folder.write("key", "another").unwrap();
        assert_eq!((mode(folder.path()), mode(&file)), (0o700, 0o600), "of last time, and opened since");
        assert_eq!(fs::read_to_string(&file).unwrap(), "another");
    }

    #[test]
    fn a_second_one_at_the_same_time_gets_a_place_of_its_own_that_goes_away() {
        let home = tempfile::tempdir().unwrap();
        let (_first, _) = open(&[("HOME", home.path())]).unwrap();
        let (second, why) = open(&[("HOME", home.path())]).unwrap();
        assert!(why.unwrap().contains("another `sidegate dev` uses it"));
        assert!(second.is_temporary() && !second.is_usual());
        let path = second.path().to_owned();
        assert_eq!(mode(&path), 0o700);
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_planted_link_is_neither_followed_nor_written_through() {
        let home = tempfile::tempdir().unwrap();
        let (victim, state) = (home.path().join("victim"), home.path().join("state/sidegate"));
        fs::create_dir_all(&state).unwrap();
        fs::create_dir(&victim).unwrap();
        symlink(&victim, state.join("dev")).unwrap();
        let (folder, why) = open(&[("XDG_STATE_HOME", &home.path().join("state"))]).unwrap();
        assert!(folder.is_temporary() && why.unwrap().contains("it is a link"));
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);

        fs::remove_file(state.join("dev")).unwrap();
        fs::write(victim.join("file"), "precious").unwrap();
        let (folder, _) = open(&[("XDG_STATE_HOME", &home.path().join("state"))]).unwrap();
        symlink(victim.join("file"), folder.path().join("key")).unwrap();
        symlink(victim.join("file"), folder.path().join("key.new")).unwrap();
        folder.write("key", "secret").unwrap();
        assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "precious");
    }

    #[test]
    fn without_a_home_it_is_a_temporary_one() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        for variables in [&[][..], &[("HOME", Path::new("relative"))], &[("HOME", &*file)]] {
            let (folder, why) = open(variables).unwrap();
            assert!(folder.is_temporary() && why.is_some(), "{variables:?}");
        }
    }

    #[test]
    fn a_directory_that_holds_something_else_is_left_alone() {
        let work = tempfile::tempdir().unwrap();
        fs::write(work.path().join("users"), "precious").unwrap();
        let error = open(&[(VARIABLE, work.path())]).unwrap_err().to_string();
        assert!(error.contains(VARIABLE) && error.contains("not empty"), "{error}");
        let (folder, _) = open(&[(VARIABLE, &work.path().join("dev"))]).unwrap();
        assert!(!folder.is_temporary() && !folder.is_usual());
    }
}
