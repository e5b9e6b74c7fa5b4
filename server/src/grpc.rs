//! The data port: services, what every call passes before them, and the transport's limits. Beside it, the rollout
//! listener.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use inctrl_proto::v1::anomaly_detection_service_server::AnomalyDetectionServiceServer;
use inctrl_proto::v1::prompt_set_service_server::PromptSetServiceServer;
use inctrl_proto::v1::server_info_service_server::ServerInfoServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder as ReflectionBuilder;

use crate::admission::ByteBudget;
use crate::config::{Limits, Tls};
use crate::failure::Failure;
use crate::health::Health;
use crate::metrics::ServerMetrics;
use crate::scoring::Engine;

mod account;
mod admin;
mod body;
mod convert;
mod deadline;
mod detection;
mod entrance;
mod health;
mod methods;
mod prompt_sets;
mod rollouts;
mod server_info;
mod status;
mod tokens;

pub(crate) use admin::AdminGrpc;
use entrance::{Entrance, Shared};
use tokens::Tokens;
pub(crate) use tokens::TokensError;

/// Services of this port.
const SERVED: [&str; 6] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inctrl.v1.AnomalyDetectionService",
    "inctrl.v1.PromptSetService",
    "inctrl.v1.ServerInfoService",
];
/// Where the certificates of the data port stand in the configuration.
const TLS_SETTINGS: [&str; 3] = ["tls.certificate", "tls.key", "tls.client_ca"];
/// Flow-control windows: several images of usual size in flight on one connection.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Calls at a time on one connection.
const MAX_STREAMS: u32 = 256;
/// Metadata of one call.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// A silent connection is asked for a sign of life so often, and given up when none comes.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(20));
/// Old connections are asked to connect anew, so that load spreads over servers that came later.
const MAX_CONNECTION_AGE: Duration = Duration::from_mins(30);

/// Why there is no data port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrpcError {
    /// A certificate or key cannot be read.
    #[error("cannot read {setting} {path:?}")]
    ReadTls {
        /// Its name in the configuration file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Certificates or key are not usable.
    #[error(
        "certificate {certificate:?} and key {key:?} cannot be used; both must be PEM and belong together"
    )]
    Tls {
        /// File of the certificates.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// Nobody can be called so.
    #[error("rollout.client_name {name:?} is no DNS name; give the name in the operator's certificate")]
    ClientName {
        /// The name given.
        name: String,
    },
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The descriptors of the protocol cannot be shown.
    #[error("reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("serving failed")]
    Serve(#[source] tonic::transport::Error),
}

/// All services over one engine, which may not be there yet.
#[derive(Debug, Clone)]
struct Services(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    engine: Arc<OnceLock<Engine>>,
    limits: Limits,
    health: Arc<Health>,
}

impl Services {
    fn engine(&self) -> Result<&Engine, Failure> {
        self.0.engine.get().ok_or(Failure::Starting)
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn health(&self) -> &Health {
        &self.0.health
    }
}

/// What the data port is made of.
#[derive(Debug)]
pub(crate) struct GrpcSpec {
    pub(crate) engine: Arc<OnceLock<Engine>>,
    pub(crate) limits: Limits,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: ServerMetrics,
    pub(crate) budget: ByteBudget,
    pub(crate) tls: Option<Tls>,
    pub(crate) tokens_file: Option<PathBuf>,
}

/// A data port that is ready to serve.
#[derive(Debug)]
pub(crate) struct Grpc {
    services: Services,
    shared: Arc<Shared>,
    tls: Option<ServerTlsConfig>,
}

impl Grpc {
    /// Reads certificates and tokens.
    pub(crate) fn new(spec: GrpcSpec) -> Result<Self, GrpcError> {
        let GrpcSpec { engine, limits, health, metrics, budget, tls, tokens_file } = spec;
        let shared = Shared {
            budget,
            max_message_bytes: limits.max_message_bytes,
            metrics,
            tokens: tokens_file.as_deref().map(Tokens::read).transpose()?,
            abort: CancellationToken::new(),
            calls: TaskTracker::new(),
        };
        let services = Services(Arc::new(Parts { engine, limits, health }));
        let tls = tls.as_ref().map(|tls| tls_config(tls, TLS_SETTINGS)).transpose()?;
        Ok(Self { services, shared: Arc::new(shared), tls })
    }

    /// Ends all calls in work, when it is cancelled; their callers are told.
    pub(crate) fn abort(&self) -> CancellationToken {
        self.shared.abort.clone()
    }

    /// Counts calls in work.
    pub(crate) fn calls(&self) -> TaskTracker {
        self.shared.calls.clone()
    }

    /// Serves until `stop`, then until every connection has ended.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) -> Result<(), GrpcError> {
        let Self { services, shared, tls } = self;
        let most = services.limits().max_message_bytes;
        let (reflection, reflection_alpha) =
            (reflection(&SERVED).build_v1()?, reflection(&SERVED).build_v1alpha()?);
        let health = HealthServer::new(health::Answers(Arc::clone(&services.0.health)));
        let mut server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(MAX_STREAMS)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_keepalive_interval(Some(KEEP_ALIVE.0))
            .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
            .max_connection_age(MAX_CONNECTION_AGE)
            .layer(Entrance(shared));
        if let Some(tls) = tls {
            server = server.tls_config(tls).map_err(GrpcError::Serve)?;
        }
        server
            .add_service(AnomalyDetectionServiceServer::new(services.clone()).max_decoding_message_size(most))
            .add_service(PromptSetServiceServer::new(services.clone()).max_decoding_message_size(most))
            .add_service(ServerInfoServiceServer::new(services))
            .add_service(health)
            .add_service(reflection)
            .add_service(reflection_alpha)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop.cancelled_owned(),
            )
            .await
            .map_err(GrpcError::Serve)
    }
}

/// Shows the services of a port; the descriptors hold others too. Either version of reflection tells of both,
/// because a client resolves with the first that answers.
fn reflection(served: &[&'static str]) -> ReflectionBuilder<'static> {
    let builder = ReflectionBuilder::configure()
        .register_encoded_file_descriptor_set(inctrl_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false);
    served.iter().copied().fold(builder, ReflectionBuilder::with_service_name)
}

/// `settings` are the names of certificate, key and client authorities in the configuration file.
fn tls_config(tls: &Tls, settings: [&'static str; 3]) -> Result<ServerTlsConfig, GrpcError> {
    let Tls { certificate, key, client_ca } = tls;
    let identity = Identity::from_pem(read(settings[0], certificate)?, read(settings[1], key)?);
    let mut config = ServerTlsConfig::new().identity(identity);
    if let Some(path) = client_ca {
        config = config.client_ca_root(Certificate::from_pem(read(settings[2], path)?));
    }
    // Whether the files can be used is told before anything listens.
    let tried = Server::builder().tls_config(config.clone());
    tried.map_err(|source| GrpcError::Tls { certificate: certificate.clone(), key: key.clone(), source })?;
    Ok(config)
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, GrpcError> {
    std::fs::read(path).map_err(|source| GrpcError::ReadTls { setting, path: path.to_owned(), source })
}
