//! Which protocol a client speaks where TLS has not agreed on one: HTTP/2 begins with a preface.

use std::{future::poll_fn, io};

use bytes::BytesMut;
use tokio::{io::AsyncRead, select, time::timeout_at};

use super::{Server, activity::Activity};
use crate::http1::input::poll_some;

/// What a client begins with that knows that HTTP/2 is spoken (RFC 9113 section 3.4). No request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Server {
    /// Reads until it is known whether the client begins with the preface: whether it does, and all that was read. Where
    /// the client takes too long to say, or we drain, it is left to HTTP/1, which knows what is due to half a request.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) async fn spoken(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        activity: &Activity,
    ) -> io::Result<(bool, BytesMut)> {
        let mut said = BytesMut::new();
        let reading = async {
            while said.len() < PREFACE.len() && PREFACE.starts_with(&said) {
                if poll_fn(|cx| poll_some(stream, cx, &mut said)).await? == 0 {
                    break;
                }
                activity.read();
            }
            Ok::<_, io::Error>(())
        };
        select! {
            biased;
            outcome = timeout_at(activity.first_look(&self.limits), reading) => outcome.unwrap_or(Ok(()))?,
            () = self.drain.cancelled() => {}
        }
        Ok((said.starts_with(PREFACE), said))
    }
}
