//! The line to one server: its reports come in by themselves, what it is to have goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inctrl_proto::v1::rollout_service_client::RolloutServiceClient;
use inctrl_proto::v1::{
    ApplyRolloutRequest, ModelRollout, ModelRolloutStatus, RolloutStatus, WatchRolloutStatusRequest,
};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use super::discovery::Found;
use super::report;
use crate::cluster::ClusterError;
use crate::controller::observation::ServerReport;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for a server to load what it was told.
const APPLY: Duration = Duration::from_secs(30);
/// How often a server tells its counts at least; a silence of three times that is a dead line.
const PERIOD: Duration = Duration::from_secs(5);
/// First and longest wait before a server is dialled again.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// Largest message, as the API says; what may travel along has its own, smaller limit.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Why a server was not told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// Another operator leads.
    #[error("another operator leads; it tells the servers")]
    NotLeading,
    /// There is no connection.
    #[error("server {server} does not answer")]
    Unreachable {
        /// Name of its pod.
        server: String,
    },
    /// The server knows a newer epoch or generation.
    #[error("server {server} has heard from a newer operator: {said}")]
    Stale {
        /// Name of its pod.
        server: String,
        /// What it said.
        said: String,
    },
    /// The call failed.
    #[error("server {server} did not take what it is to have")]
    Refused {
        /// Name of its pod.
        server: String,
        /// What it said.
        #[source]
        source: Box<Status>,
    },
    /// A Secret could not be read.
    #[error("cannot read the credentials of the artifact store")]
    Cluster(#[from] ClusterError),
}

/// Certificates of the line to servers; read anew for every connection, so that rotated ones are taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities of the servers' certificates, PEM.
    pub authorities: PathBuf,
    /// Our certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Name that the servers' certificates are for; pods are dialled by address.
    pub server_name: String,
}

/// Dials servers.
#[derive(Debug, Clone)]
pub struct Dialer {
    /// Without it only servers of this machine are dialled.
    pub tls: Option<TlsFiles>,
}

impl Dialer {
    fn endpoint(&self, address: SocketAddr) -> Result<Endpoint, String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        if self.tls.is_none() && !address.ip().is_loopback() {
            return Err(format!(
                "{address} is not of this machine; servers elsewhere are dialled with mTLS only"
            ));
        }
        let endpoint =
            Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|error| error.to_string())?;
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        let Some(TlsFiles { authorities, certificate, key, server_name }) = &self.tls else {
            return Ok(endpoint);
        };
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(authorities)?))
            .identity(Identity::from_pem(read(certificate)?, read(key)?))
            .domain_name(server_name.clone());
        endpoint.tls_config(tls).map_err(|error| error.to_string())
    }
}

/// The line to one server.
pub(super) struct Link {
    namespace: String,
    /// Name of its pod.
    pub(super) pod: String,
    found: Found,
    state: Mutex<LinkState>,
    /// The next generation of our epoch; held while a message is put together and sent.
    turn: AsyncMutex<Turn>,
    closed: CancellationToken,
    asked: AtomicBool,
    /// Held while it is told to drop what nobody wants.
    pub(super) clearing: AtomicBool,
}

#[derive(Default)]
struct LinkState {
    client: Option<RolloutServiceClient<Channel>>,
    status: Option<RolloutStatus>,
}

/// Whose turn it is to send, and what was sent last.
#[derive(Debug, Default)]
pub(super) struct Turn {
    epoch: i64,
    generation: i64,
}

impl Link {
    pub(super) fn new(namespace: String, pod: String, found: Found) -> Self {
        Self {
            namespace,
            pod,
            found,
            state: Mutex::default(),
            turn: AsyncMutex::default(),
            closed: CancellationToken::new(),
            asked: AtomicBool::new(false),
            clearing: AtomicBool::new(false),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut LinkState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_to(&self, found: &Found) -> bool {
        self.found == *found
    }

    pub(super) fn is_selected(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.namespace == namespace && super::selects(labels, &self.found.labels)
    }

    /// Whether it was never yet heard of, well or ill.
    pub(super) fn is_fresh(&self) -> bool {
        !self.asked.load(Ordering::Acquire)
    }

    pub(super) fn answers(&self) -> bool {
        self.with(|state| state.status.is_some())
    }

    /// Epoch of whoever it last heard.
    pub(super) fn epoch(&self) -> Option<i64> {
        self.with(|state| state.status.as_ref().map(|status| status.epoch))
    }

    /// Whether it has heard from nobody newer than `epoch`, and has a model that is not among these.
    pub(super) fn has_others(&self, epoch: i64, models: &BTreeSet<String>) -> bool {
        let is_other = |model: &ModelRolloutStatus| {
            let name = model.model.strip_prefix("models/");
            name.is_some_and(|name| !models.contains(name))
        };
        self.with(|state| {
            let mut status = state.status.iter().filter(|status| status.epoch <= epoch);
            status.any(|status| status.models.iter().any(is_other))
        })
    }

    pub(super) fn report(&self, model: &str) -> Option<ServerReport> {
        self.with(|state| state.status.as_ref().map(|status| report::of_model(status, model)))
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(super) async fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().await
    }

    /// Sends all that the server is to have, and takes in what became of it.
    pub(super) async fn send(
        &self,
        turn: &mut Turn,
        epoch: i64,
        models: Vec<ModelRollout>,
    ) -> Result<(), PushError> {
        let server = || self.pod.clone();
        let client = self.with(|state| state.client.clone());
        let mut client = client.ok_or_else(|| PushError::Unreachable { server: server() })?;
        if turn.epoch != epoch {
            // A leader that comes back to its own epoch goes on where the server stands.
            let stands = self.with(|state| {
                state.status.as_ref().filter(|status| status.epoch == epoch).map(|status| status.generation)
            });
            *turn = Turn { epoch, generation: stands.unwrap_or(0) };
        }
        turn.generation += 1;
        let request = ApplyRolloutRequest { epoch, generation: turn.generation, models };
        let answer = timeout(APPLY, client.apply_rollout(request)).await;
        match answer.map_err(|_| PushError::Unreachable { server: server() })? {
            Ok(answer) => {
                if let Some(status) = answer.into_inner().status {
                    self.with(|state| state.status = Some(status));
                }
                Ok(())
            }
            Err(status) if status.code() == Code::FailedPrecondition => {
                Err(PushError::Stale { server: server(), said: status.message().to_owned() })
            }
            Err(status) => Err(PushError::Refused { server: server(), source: Box::new(status) }),
        }
    }

    /// Takes in a report, or that there is none; whether that is news.
    fn saw(&self, status: Option<RolloutStatus>) -> bool {
        let first = !self.asked.swap(true, Ordering::AcqRel);
        self.with(|state| {
            let former = state.status.take();
            let overtaken = match (&status, &former) {
                (Some(new), Some(known)) => is_overtaken(new, known),
                (None, _) | (_, None) => false,
            };
            if status.is_none() {
                state.client = None;
            }
            let former_gist = former.as_ref().map(report::gist);
            let next = if overtaken { former } else { status };
            let gist = next.as_ref().map(report::gist);
            state.status = next;
            first || gist != former_gist
        })
    }
}

/// Whether a report was written before the answer to our last message: of the same process, but an older fence.
fn is_overtaken(new: &RolloutStatus, known: &RolloutStatus) -> bool {
    new.start_time == known.start_time && (new.epoch, new.generation) < (known.epoch, known.generation)
}

/// Keeps the line open until it is closed, and tells of each report and each silence whether it is news. `port` is for pods
/// that name none.
pub(super) fn follow(
    link: &Arc<Link>,
    dialer: Dialer,
    port: u16,
    tell: impl Fn(bool) + Send + Sync + 'static,
) {
    let link = Arc::clone(link);
    let closed = link.closed.clone();
    tokio::spawn(async move {
        let work = async {
            let mut wait = FIRST_RETRY;
            loop {
                match listen(&link, &dialer, port, &tell).await {
                    // It answered: the next interruption is a new one.
                    Ok(()) => wait = FIRST_RETRY,
                    Err(error) => tracing::debug!(server = link.pod, error, "server does not answer"),
                }
                tell(link.saw(None));
                sleep(wait).await;
                wait = (wait * 2).min(LONGEST_RETRY);
            }
        };
        tokio::select! {
            () = closed.cancelled() => {}
            () = work => {}
        }
    });
}

/// Listens until the line breaks. An error says why there was no first report.
async fn listen(
    link: &Link,
    dialer: &Dialer,
    port: u16,
    tell: &(impl Fn(bool) + Sync),
) -> Result<(), String> {
    let address = SocketAddr::new(link.found.address.ip, link.found.address.port.unwrap_or(port));
    let endpoint = dialer.endpoint(address)?;
    // The endpoint's own limit ends with the TCP connection; a peer that then says nothing is silent too.
    let connected = timeout(CONNECT, endpoint.connect()).await.map_err(|_| "no handshake".to_owned())?;
    let channel = connected.map_err(|error| inctrl_telemetry::Chain(&error).to_string())?;
    let mut client = RolloutServiceClient::new(channel)
        .max_decoding_message_size(MOST_BYTES)
        .max_encoding_message_size(MOST_BYTES);
    let period = prost_types::Duration { seconds: PERIOD.as_secs() as i64, nanos: 0 };
    let request = WatchRolloutStatusRequest { period: Some(period) };
    let said = timeout(CONNECT, client.watch_rollout_status(request)).await;
    let mut reports =
        said.map_err(|_| "no answer".to_owned())?.map_err(|status| status.to_string())?.into_inner();
    let mut heard = false;
    loop {
        match timeout(PERIOD * 3, reports.message()).await {
            Ok(Ok(Some(report))) => {
                heard = true;
                link.with(|state| state.client = Some(client.clone()));
                tell(link.saw(Some(report.status.unwrap_or_default())));
            }
            Ok(Ok(None) | Err(_)) | Err(_) if heard => return Ok(()),
            Ok(Ok(None)) | Err(_) => return Err("no report".to_owned()),
            Ok(Err(status)) => return Err(status.to_string()),
        }
    }
}
