//! The admin endpoint: `/livez`, `/readyz` and `/metrics` over HTTP, on a thread and runtime of its own, so that
//! probes and scrapes are answered while everything else is saturated.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

/// Content type of the OpenMetrics text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Passes, or says why not.
pub type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the probes ask.
pub struct Probes {
    /// Whether the process makes progress: a failing one should be restarted.
    pub live: Probe,
    /// Whether it should get traffic.
    pub ready: Probe,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

/// Why there is no admin endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The address cannot be had.
    #[error("cannot listen on admin address {address}; choose another, or port 0 for any free one")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The thread or its runtime could not be started.
    #[error("cannot start the admin thread")]
    Start(#[source] io::Error),
}

/// An address that is taken, not yet answered on.
#[derive(Debug)]
pub struct BoundAdmin {
    listener: TcpListener,
    address: SocketAddr,
}

/// A running admin endpoint; stops when dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

struct Shown {
    probes: Probes,
    registry: Registry,
}

impl Admin {
    /// Takes the address; port 0 takes any free one.
    pub fn bind(address: SocketAddr) -> Result<BoundAdmin, AdminError> {
        let listen = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(BoundAdmin { listener, address })
        };
        listen().map_err(|source| AdminError::Listen { address, source })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl BoundAdmin {
    /// Where it will answer.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts answering.
    pub fn serve(self, probes: Probes, registry: Registry) -> Result<Admin, AdminError> {
        let Self { listener, address } = self;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Start)?;
        let shown = Arc::new(Shown { probes, registry });
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let app = router(shown);
            // Connections kept alive by a scraper must not hold up the end of the process.
            tokio::select! {
                served = axum::serve(listener, app).into_future() => served,
                () = stopped.cancelled() => Ok(()),
            }
        };
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve) {
                    tracing::error!(%error, "admin endpoint ended");
                }
            })
            .map_err(AdminError::Start)?;
        Ok(Admin { address, stop, thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/livez", get(|State(shown): State<Arc<Shown>>| async move { verdict(&shown.probes.live) }))
        .route("/readyz", get(|State(shown): State<Arc<Shown>>| async move { verdict(&shown.probes.ready) }))
        .route("/metrics", get(metrics))
        .with_state(shown)
}

fn verdict(probe: &Probe) -> (StatusCode, String) {
    match probe() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    let mut body = String::new();
    match text::encode(&mut body, &shown.registry) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS)], body),
        Err(error) => {
            let plain = [(header::CONTENT_TYPE, "text/plain")];
            (StatusCode::INTERNAL_SERVER_ERROR, plain, format!("metrics cannot be written: {error}\n"))
        }
    }
}
