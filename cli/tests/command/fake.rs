//! A scoring server whose answers are known: an image's bytes say what it does with them.
//!
//! | bytes | answer |
//! |---|---|
//! | a number | that score |
//! | `bad` | INVALID_ARGUMENT with details |
//! | `busy` | once RESOURCE_EXHAUSTED with RetryInfo, then 0.5 |
//! | `draining` | twice UNAVAILABLE, then 0.5 |
//! | `starting` | UNAVAILABLE with details, always |
//! | `late` | DEADLINE_EXCEEDED, with the server's reason |
//! | `hang` | none, ever |
//! | `held` | 0.5 when the test releases it |
//! | `together N` | 0.5 when N such requests are in flight |
//! | anything else | 0.5 |

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use inctrl_proto::v1::anomaly_detection_service_server::AnomalyDetectionServiceServer;
use inctrl_proto::v1::prompt_set_service_server::PromptSetServiceServer;
use inctrl_proto::v1::server_info_service_server::ServerInfoServiceServer;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Server, ServerTlsConfig};

mod detection;
mod info;
mod prompt_sets;

/// A running fake; dropping it cuts its connections, as a crash does.
pub(crate) struct Fake {
    pub(crate) state: Arc<State>,
    address: SocketAddr,
    scheme: &'static str,
    runtime: Option<Runtime>,
}

/// What a fake remembers and how it is steered.
#[derive(Debug)]
pub(crate) struct State {
    /// Told by `info` and by each answer.
    pub(crate) provenance: &'static str,
    /// What callers must bring as `authorization`.
    pub(crate) token: Option<&'static str>,
    /// Requests for scores that came in.
    pub(crate) asked: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) most_in_flight: AtomicUsize,
    /// A permit a `held` request that may be answered.
    pub(crate) release: Semaphore,
    pub(crate) arrived: Notify,
    pub(crate) together: Mutex<Option<Arc<tokio::sync::Barrier>>>,
    pub(crate) attempts: Mutex<std::collections::HashMap<Vec<u8>, u32>>,
    pub(crate) prompt_sets: Mutex<Vec<inctrl_proto::v1::PromptSet>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            provenance: "clip",
            token: None,
            asked: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            release: Semaphore::new(0),
            arrived: Notify::new(),
            together: Mutex::default(),
            attempts: Mutex::default(),
            prompt_sets: Mutex::default(),
        }
    }
}

/// The three services over one state.
#[derive(Clone)]
struct Services(Arc<State>);

impl Fake {
    pub(crate) fn start() -> Self {
        Self::with(State::default())
    }

    pub(crate) fn with(state: State) -> Self {
        Self::serve(state, "127.0.0.1:0".parse().unwrap(), None)
    }

    pub(crate) fn with_tls(tls: ServerTlsConfig) -> Self {
        Self::serve(State::default(), "127.0.0.1:0".parse().unwrap(), Some(tls))
    }

    /// A new server where another was.
    pub(crate) fn again_at(address: SocketAddr) -> Self {
        Self::serve(State::default(), address, None)
    }

    fn serve(state: State, address: SocketAddr, tls: Option<ServerTlsConfig>) -> Self {
        let state = Arc::new(state);
        let services = Services(Arc::clone(&state));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(bind(address));
        let address = listener.local_addr().unwrap();
        let (mut server, scheme) = match tls {
            Some(tls) => (Server::builder().tls_config(tls).unwrap(), "https"),
            None => (Server::builder(), "http"),
        };
        let server = server
            .add_service(AnomalyDetectionServiceServer::new(services.clone()))
            .add_service(PromptSetServiceServer::new(services.clone()))
            .add_service(ServerInfoServiceServer::new(services));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { state, address, scheme, runtime: Some(runtime) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Waits until so many requests for scores have come in.
    pub(crate) fn wait_for_asked(&self, count: usize) {
        let runtime = self.runtime.as_ref().unwrap();
        runtime.block_on(async {
            loop {
                let arrival = self.state.arrived.notified();
                if count <= self.asked() {
                    return;
                }
                arrival.await;
            }
        });
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits until the port is free again; nothing of the fake blocks.
            runtime.shutdown_timeout(Duration::from_secs(30));
        }
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Binds; where the port is for a moment a client's own, that knocked while nobody listened, tries again.
async fn bind(address: SocketAddr) -> TcpListener {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..1_000 {
        looks.tick().await;
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound.unwrap(),
        }
    }
    panic!("{address} must become free")
}
