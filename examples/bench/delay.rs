//! A way to a service that takes a while: every byte arrives half the round trip later, in both
//! directions, however many are under way. On one machine a program that goes back and forth looks
//! as good as one that does not.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Listens, until the program ends, and passes everything on to `target` and back.
pub(crate) async fn before(target: String, round_trip: Duration) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::task::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(&target).await else {
                continue;
            };
            drop((near.set_nodelay(true), far.set_nodelay(true)));
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::task::spawn(pass_on(near_read, far_write, round_trip / 2));
            tokio::task::spawn(pass_on(far_read, near_write, round_trip / 2));
        }
    });
    Ok(address)
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, late: Duration) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(1_024);
    tokio::task::spawn(async move {
        while let Some((due, bytes)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let piece = (Instant::now() + late, buffer[..read].to_vec());
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}
