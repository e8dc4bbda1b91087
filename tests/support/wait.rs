//! Waiting for something that another process does: poll with a deadline, never sleep and hope.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that should happen at once. Generous: a loaded build machine is no bug of ours.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` until it has something.
///
/// # Panics
/// When it has nothing within [`PATIENCE`].
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        #[expect(clippy::disallowed_methods, reason = "between two looks, with a deadline: the one place for it")]
        thread::sleep(Duration::from_millis(5));
    }
}
