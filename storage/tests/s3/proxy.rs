//! A wire that can be cut: forwards connections until so many bytes went up, then drops all of them and takes no more.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The wire; dropping it cuts it too.
pub(crate) struct Wire {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    is_cut: watch::Sender<bool>,
}

impl Wire {
    /// A wire to `server` that is cut once `limit` bytes went up.
    pub(crate) async fn to(server: SocketAddr, limit: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let (is_cut, cut) = watch::channel(false);
        tokio::spawn(accept(listener, server, Meter { sent: Arc::clone(&sent), limit }, is_cut.clone(), cut));
        Self { address, sent, is_cut }
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it was cut, and the bytes that went up before.
    pub(crate) fn state(&self) -> (bool, u64) {
        (*self.is_cut.borrow(), self.sent.load(Ordering::Relaxed))
    }
}

/// Counts what goes up.
#[derive(Clone)]
struct Meter {
    sent: Arc<AtomicU64>,
    limit: u64,
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    meter: Meter,
    is_cut: watch::Sender<bool>,
    cut: watch::Receiver<bool>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *cut.borrow() {
            continue;
        }
        let (meter, is_cut, mut cut) = (meter.clone(), is_cut.clone(), cut.clone());
        tokio::spawn(async move {
            let server = TcpStream::connect(server).await.unwrap();
            let ((client_reads, client_writes), (server_reads, server_writes)) =
                (client.into_split(), server.into_split());
            tokio::select! {
                () = up(client_reads, server_writes, &meter, &is_cut) => {}
                () = down(server_reads, client_writes) => {}
                _ = cut.wait_for(|is_cut| *is_cut) => {}
            }
        });
    }
}

async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, meter: &Meter, is_cut: &watch::Sender<bool>) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let before = meter.sent.fetch_add(length as u64, Ordering::Relaxed);
        let allowed = meter.limit.saturating_sub(before).min(length as u64) as usize;
        if to.write_all(&piece[..allowed]).await.is_err() {
            return;
        }
        if allowed < length {
            is_cut.send_replace(true);
            return;
        }
    }
}

async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // A side that went away ends the connection.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}
