//! A raw TCP relay on one thread: what any userspace proxy must at least spend on a request. `relay LISTEN UPSTREAM`.

use std::{env, io, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut addresses = env::args().skip(1);
    let listen = address(addresses.next())?;
    let upstream = address(addresses.next())?;

    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A connection that breaks is the load generator's to notice: it counts answers.
            let _ = relay(client, upstream).await;
        });
    }
}

/// Copies both ways until both sides have ended.
async fn relay(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut app = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    app.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut app).await?;
    Ok(())
}

fn address(argument: Option<String>) -> io::Result<SocketAddr> {
    argument
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "usage: relay LISTEN_ADDRESS UPSTREAM_ADDRESS"))
}
