//! A tunnel between two streams in memory, with the clock in the hand of the test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::advance,
};

use super::*;

const FREE: Terms = Terms { idle_timeout: None, end: None };

/// A tunnel that runs: what the client has of it, what the app has, and its trail.
fn open(terms: Terms, room: usize) -> (DuplexStream, DuplexStream, Arc<Trail>, JoinHandle<()>) {
    let ((client, ours), (app, theirs)) = (duplex(room), duplex(room));
    let trail = Arc::new(Trail::new(&HeaderMap::new()));
    let early = Bytes::from_static(b"from app");
    let tunnel = Tunnel::new(Box::new(theirs), early, Box::new(()), terms, trail.clone());
    let running = tokio::spawn(tunnel.run(ours, Bytes::from_static(b"from client")));
    (client, app, trail, running)
}

async fn read(stream: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn what_was_sent_early_comes_first_and_everything_is_counted() {
    let (mut client, mut app, trail, running) = open(FREE, 1024);
    client.write_all(b", more").await.unwrap();
    assert_eq!(read(&mut app, 17).await, b"from client, more");
    assert_eq!(read(&mut client, 8).await, b"from app");
    drop((client, app));
    running.await.unwrap();
    assert_eq!((trail.received(), trail.sent(), trail.failure()), (17, 8, None));
}

#[tokio::test]
async fn a_side_that_has_ended_is_still_sent_the_rest_of_the_other() {
    let (mut client, mut app, trail, running) = open(FREE, 1024);
    client.shutdown().await.unwrap();
    let mut all = Vec::new();
    app.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"from client");
    app.write_all(b", later").await.unwrap();
    app.shutdown().await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"from app, later");
    running.await.unwrap();
    assert_eq!(trail.failure(), None);
}

#[tokio::test]
async fn much_goes_through_little_room_both_ways_at_once() {
    let (client, app, trail, running) = open(FREE, 7);
    let send = |stream: DuplexStream, byte: u8| async move {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sending = tokio::spawn(async move {
            writer.write_all(&vec![byte; 100_000]).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        sending.await.unwrap();
        all
    };
    let (at_client, at_app) = tokio::join!(send(client, b'c'), send(app, b'a'));
    running.await.unwrap();
    assert_eq!(at_app, [&b"from client"[..], &[b'c'; 100_000]].concat());
    assert_eq!(at_client, [&b"from app"[..], &[b'a'; 100_000]].concat());
    assert_eq!((trail.received(), trail.sent()), (100_011, 100_008));
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_it_and_a_ping_keeps_it() {
    let idle_timeout = Some(Duration::from_secs(60));
    let (mut client, mut app, trail, running) = open(Terms { idle_timeout, ..FREE }, 1024);
    read(&mut app, 11).await;
    for _ in 0..5 {
        advance(Duration::from_secs(50)).await;
        client.write_all(b"ping").await.unwrap();
        assert_eq!(read(&mut app, 4).await, b"ping");
    }
    assert!(!running.is_finished());
    advance(Duration::from_secs(61)).await;
    running.await.unwrap();
    assert_eq!(trail.failure(), Some(Reason::UpgradeIdle));
    assert_eq!(app.read(&mut [0; 9]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn its_end_comes_whatever_it_does() {
    let end = Some((Instant::now() + Duration::from_secs(60), Reason::JwtExpired));
    let (mut client, mut app, trail, running) = open(Terms { idle_timeout: Some(Duration::from_secs(50)), end }, 1024);
    read(&mut app, 11).await;
    advance(Duration::from_secs(40)).await;
    client.write_all(b"ping").await.unwrap();
    assert_eq!(read(&mut app, 4).await, b"ping");
    advance(Duration::from_secs(21)).await;
    running.await.unwrap();
    assert_eq!(trail.failure(), Some(Reason::JwtExpired));
}

#[tokio::test]
async fn an_app_that_breaks_off_is_told_from_one_that_had_ended() {
    for (read, reason) in [(Err(io::ErrorKind::ConnectionReset), Some(Reason::UpstreamBroken)), (Ok(()), None)] {
        let trail = Arc::new(Trail::new(&HeaderMap::new()));
        let tunnel = Tunnel::new(Box::new(Gone(read)), Bytes::new(), Box::new(()), FREE, trail.clone());
        let (_client, ours) = duplex(1024);
        tunnel.run(ours, Bytes::from_static(b"more")).await;
        assert_eq!(trail.failure(), reason);
    }
}

/// An app that takes nothing more, and whose own side has broken off, or ended.
struct Gone(Result<(), io::ErrorKind>);

impl AsyncRead for Gone {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.map_err(io::Error::from))
    }
}

impl AsyncWrite for Gone {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }
}
