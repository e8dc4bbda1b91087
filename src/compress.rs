//! A body that is compressed as it passes: nothing waits in the compressor for longer than the app makes it wait.

use std::{
    fmt,
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::HeaderMap;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use crate::config::Coding;

/// What is gathered before it is sent, in bytes, unless the app pauses.
const CHUNK: usize = 16 << 10;
/// How much is compressed at a stretch, in bytes. Other requests share the thread.
const STRETCH: usize = 128 << 10;
/// The window of Brotli and Zstandard, as a power of two: it bounds what a compressor may remember. Browsers take larger
/// ones; the answers of an app gain little by them, and each costs its memory as long as its slowest client reads.
const WINDOW: u8 = 18;

/// Why a body broke off.
pub type Interrupted = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// The body `source`, compressed.
    #[derive(Debug)]
    pub struct Compressed<B> {
        #[pin]
        source: B,
        // None when the end has been compressed, or will never come.
        encoder: Option<Encoder>,
        // Whether the compressor holds what the client has not been sent.
        unsent: bool,
        trailers: Option<HeaderMap>,
        // Released with the compressor's memory.
        place: Option<OwnedSemaphorePermit>,
    }
}

impl<B> Compressed<B> {
    /// Compresses `source`, while it occupies `place`.
    ///
    /// # Errors
    /// There is no memory for the compressor.
    pub fn new(source: B, coding: Coding, place: OwnedSemaphorePermit) -> Result<Self, B> {
        match Encoder::new(coding) {
            Ok(encoder) => {
                Ok(Self { source, encoder: Some(encoder), unsent: false, trailers: None, place: Some(place) })
            }
            Err(_) => Err(source),
        }
    }
}

impl<B: Body<Data = Bytes, Error: Into<Interrupted>>> Body for Compressed<B> {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        let mut this = self.project();
        let mut taken = 0;
        loop {
            let Some(encoder) = this.encoder else {
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            if encoder.gathered() >= CHUNK {
                return Poll::Ready(Some(Ok(Frame::data(encoder.take()))));
            }
            match this.source.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        encoder.write(&data)?;
                        *this.unsent = true;
                        taken += data.len();
                    }
                    Err(frame) => *this.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(error))) => {
                    // Without the end that the coding asks for, and without the end of the message: an aborted answer.
                    *this.encoder = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => {
                    let Some(encoder) = this.encoder.take() else { continue };
                    let rest = encoder.finish()?;
                    *this.place = None;
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
                Poll::Pending if *this.unsent => {
                    // The app pauses: what it has written is for the client to see now.
                    encoder.flush()?;
                    *this.unsent = false;
                    if encoder.gathered() > 0 {
                        return Poll::Ready(Some(Ok(Frame::data(encoder.take()))));
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
            if taken >= STRETCH {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

/// A compressor that writes into memory.
enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// Levels at which a core still compresses some tens of megabytes a second.
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(5))),
            Coding::Br => {
                let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 4, u32::from(WINDOW));
                Self::Brotli(Box::new(encoder))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
                encoder.window_log(u32::from(WINDOW))?;
                Self::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// Makes all that was written readable from what was gathered.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    fn gathered(&self) -> usize {
        match self {
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Brotli(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    fn take(&mut self) -> Bytes {
        let gathered = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        std::mem::take(gathered).into()
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        }))
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}
