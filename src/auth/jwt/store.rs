//! The last good key set of an issuer, kept on disk: for a start while the issuer is down.
//!
//! Whoever can write there can forge tokens, as with any file of keys. What is in the file is checked like what is fetched, and
//! its age counts from when it was fetched.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ring::now;
use crate::config::{self, Problem};

/// The file of one issuer.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// Whose keys they are: the issuer, and where they are fetched.
    whose: String,
}

#[derive(Deserialize, Serialize)]
struct Content<'a> {
    whose: String,
    /// In seconds since 1970.
    fetched: u64,
    #[serde(borrow)]
    jwks: &'a RawValue,
}

impl Store {
    /// In this folder, for the keys of `whose`.
    pub(super) fn new(folder: &Path, whose: String) -> Self {
        let name: String =
            digest(&SHA256, whose.as_bytes()).as_ref()[..16].iter().map(|b| format!("{b:02x}")).collect();
        Self { path: folder.join(format!("jwks-{name}.json")), whose }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was kept, with the time when it was fetched; nothing where nothing was.
    ///
    /// # Errors
    /// What is there is not what we wrote.
    pub(super) fn load(&self) -> Result<Option<(Vec<u8>, u64)>, Problem> {
        if !self.path.exists() {
            return Ok(None);
        }
        let bytes = config::read(&self.path, "store")?;
        let problem = |what: String| Problem::new(self.path.display().to_string(), what, "it is not used");
        let content: Content<'_> = serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
        if content.whose != self.whose {
            return Err(problem(format!("these are keys of {}", content.whose)));
        }
        if content.fetched > now() {
            return Err(problem("it was fetched in the future: one of the clocks is wrong".to_owned()));
        }
        Ok(Some((content.jwks.get().as_bytes().to_vec(), content.fetched)))
    }

    /// Keeps a key set that was `fetched` then, in seconds since 1970. Who reads sees the old one or the new one, and never a part.
    ///
    /// # Errors
    /// The folder is not there, is full, or is not ours to write.
    pub(super) fn save(&self, jwks: &[u8], fetched: u64) -> io::Result<()> {
        let jwks: &RawValue = serde_json::from_slice(jwks)?;
        let content = serde_json::to_vec(&Content { whose: self.whose.clone(), fetched, jwks })?;
        let new = self.path.with_extension(format!("{}.new", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let written =
            file.write_all(&content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_kept_is_found_again_by_its_issuer_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = |whose: &str| Store::new(folder.path(), whose.to_owned());
        assert!(store("a").load().unwrap().is_none());
        store("a").save(br#"{"keys": [1]}"#, now()).unwrap();
        let (jwks, fetched) = store("a").load().unwrap().unwrap();
        assert_eq!((jwks.as_slice(), fetched <= now()), (&br#"{"keys": [1]}"#[..], true));
        assert!(store("b").load().unwrap().is_none());
        let mode = fs::metadata(&store("a").path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_we_did_not_write_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), "a".to_owned());
        let other = format!(r#"{{"whose":"b","fetched":{},"jwks":{{}}}}"#, now());
        let later = format!(r#"{{"whose":"a","fetched":{},"jwks":{{}}}}"#, now() + 100);
        for content in ["", "{}", "[]", r#"{"whose":"a"}"#, &other, &later] {
            fs::write(&store.path, content).unwrap();
            assert!(store.load().is_err(), "{content}");
        }
        assert!(store.save(b"not JSON", now()).is_err());
        assert!(Store::new(Path::new("/nonexistent"), "a".to_owned()).save(b"{}", now()).is_err());
    }
}
