//! Lines for an output whose reader may be slow or stand still, as a pipe's can: whoever writes one never waits for it.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Bytes of lines that wait for their reader at most. What comes on top is lost.
const CAPACITY: usize = 4 * 1024 * 1024;

/// How long the end of the process waits for the reader.
const FLUSH: Duration = Duration::from_secs(1);

/// A bounded buffer of lines, and the thread that writes them out.
#[derive(Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    waiting: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// What was taken out of `bytes` is on its way.
    writing: bool,
    /// Lines lost since the last one that was kept.
    lost: u64,
}

impl Lines {
    /// Starts a thread of this name that writes to `output`, and gathers lines for as long as `gather` before it does.
    ///
    /// # Errors
    /// No thread could be started.
    pub(super) fn start(name: &str, mut output: impl Write + Send + 'static, gather: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            loop {
                drop(ours.waiting.wait_while(ours.lock(), |buffer| buffer.bytes.is_empty()));
                thread::park_timeout(gather);
                ours.write_out(&mut output);
            }
        })?;
        Ok(Self(shared))
    }

    /// Adds what `format` appends, which is told how many lines were lost before. False when this one is lost, too.
    pub(super) fn push(&self, format: impl FnOnce(&mut Vec<u8>, u64)) -> bool {
        let mut buffer = self.0.lock();
        if buffer.bytes.len() > CAPACITY {
            buffer.lost += 1;
            return false;
        }
        let was_empty = buffer.bytes.is_empty();
        let lost = std::mem::take(&mut buffer.lost);
        format(&mut buffer.bytes, lost);
        drop(buffer);
        if was_empty {
            self.0.waiting.notify_one();
        }
        true
    }

    /// Waits until everything is written, or a second has passed: a reader that stands still must not keep the process
    /// from ending.
    pub(super) fn flush(&self) {
        let waits = |buffer: &mut Buffer| buffer.writing || !buffer.bytes.is_empty();
        drop(self.0.written.wait_timeout_while(self.0.lock(), FLUSH, waits));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_out(&self, output: &mut impl Write) {
        let mut buffer = self.lock();
        let bytes = std::mem::take(&mut buffer.bytes);
        buffer.writing = true;
        drop(buffer);
        // Where the output is closed there is nobody to tell.
        let _ = output.write_all(&bytes).and_then(|()| output.flush());
        self.lock().writing = false;
        self.written.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        time::Instant,
    };

    use super::*;

    /// Takes what it is given once it gets leave to.
    struct Gate {
        leave: Receiver<()>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.leave.recv().map_err(io::Error::other)?;
            self.taken.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Lines, Sender<()>, Receiver<Vec<u8>>) {
        let ((open, leave), (taken, seen)) = (channel(), channel());
        (Lines::start("test", Gate { leave, taken }, Duration::ZERO).unwrap(), open, seen)
    }

    #[test]
    fn what_was_added_before_a_flush_is_written_after_it() {
        let (lines, open, seen) = gated();
        assert!(lines.push(|buffer, _| buffer.extend(b"one\n")));
        open.send(()).unwrap();
        lines.flush();
        assert_eq!(seen.try_recv().unwrap(), b"one\n");
    }

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up_and_what_is_lost_is_counted() {
        let (lines, open, seen) = gated();
        let megabyte = vec![b'x'; 1 << 20];
        let start = Instant::now();
        // At most four wait, one more that goes over the limit, and as many are with the writer.
        let lost = (0..50).filter(|_| !lines.push(|buffer, _| buffer.extend(&megabyte))).count() as u64;
        assert!((40..50).contains(&lost), "{lost}");
        assert!(start.elapsed() < FLUSH, "a line waited for the reader");

        lines.flush();
        assert!((FLUSH..FLUSH * 5).contains(&start.elapsed()), "{:?}", start.elapsed());

        open.send(()).unwrap();
        open.send(()).unwrap();
        lines.flush();
        assert!(seen.try_iter().map(|bytes| bytes.len()).sum::<usize>() >= 5 << 20);
        let mut before = 0;
        assert!(lines.push(|_, lost| before = lost));
        assert_eq!(before, lost);
    }
}
