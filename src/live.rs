//! A value that is replaced as a whole while others read it.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// A value with one writer and many readers. Reading takes no lock and never waits; who has read goes on with what it was.
#[derive(Debug)]
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    /// A live value that is this for now.
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// What it is now.
    pub fn load(&self) -> arc_swap::Guard<Arc<T>> {
        self.0.load()
    }

    /// Replaces it.
    pub fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}
