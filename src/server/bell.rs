//! Tells who has woken a task that waits for several things, so that only those are asked that have something to say.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Release},
        },
    },
    task::{Context, Wake, Waker},
};

/// A bell, for one of the things that a task waits for.
#[derive(Debug, Default)]
pub(super) struct Bell(Option<(Arc<Ringer>, Waker)>);

/// What rings the bell, and wakes the task.
#[derive(Debug)]
struct Ringer {
    rung: AtomicBool,
    task: Waker,
}

impl Bell {
    /// The waker that rings the bell, if it has rung since this was asked last. The first time it always has.
    ///
    /// It wakes the task of the first `cx`. The bell is part of that task's own future, so there is no other.
    pub(super) fn answer(&mut self, cx: &Context<'_>) -> Option<&Waker> {
        let (ringer, waker) = self.0.get_or_insert_with(|| {
            let ringer = Arc::new(Ringer { rung: AtomicBool::new(true), task: cx.waker().clone() });
            (ringer.clone(), Waker::from(ringer))
        });
        ringer.rung.swap(false, AcqRel).then_some(waker)
    }

    /// Rings it ourselves: for whoever changes what waits, and is not seen by it.
    pub(super) fn ring(&self) {
        if let Some((ringer, _)) = &self.0 {
            ringer.wake_by_ref();
        }
    }
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_answered_at_first_and_once_for_each_time_it_has_rung() {
        let mut bell = Bell::default();
        let cx = Context::from_waker(Waker::noop());
        let waker = bell.answer(&cx).cloned().unwrap_or_else(|| Waker::noop().clone());
        assert!(bell.answer(&cx).is_none());
        waker.wake_by_ref();
        waker.wake();
        assert!(bell.answer(&cx).is_some() && bell.answer(&cx).is_none());
        bell.ring();
        assert!(bell.answer(&cx).is_some() && bell.answer(&cx).is_none());
    }
}
