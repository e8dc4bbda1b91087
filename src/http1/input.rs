//! Reads from a connection.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

/// What is read at once while it is not known to be much, in bytes. It is on the stack: who says nothing holds nothing, and
/// what is short takes no more memory than its length.
pub const SOME: usize = 8 * 1024;

/// Reads what there is, up to the size of a usual head.
///
/// # Errors
/// The stream breaks off.
pub fn poll_some(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    read: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut bytes = [const { MaybeUninit::uninit() }; SOME];
    let mut buffer = ReadBuf::uninit(&mut bytes);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    read.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}
