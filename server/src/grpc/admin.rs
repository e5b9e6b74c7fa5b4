//! The rollout listener: commands of the operator, let in by the name in its certificate.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use inctrl_proto::v1::rollout_service_server::RolloutServiceServer;
use rustls_pki_types::ServerName;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming, TlsConnectInfo};
use tonic::transport::{Server, ServerTlsConfig};
use tonic_health::pb::health_server::HealthServer;
use tower::{Layer, Service, ServiceExt as _};

use super::rollouts::Rollouts;
use super::status::status;
use super::{Grpc, GrpcError, KEEP_ALIVE, MAX_HEADER_BYTES, Services, health, reflection, tls_config};
use crate::config::RolloutAccess;
use crate::failure::Failure;

/// Services of this port.
const SERVED: [&str; 4] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inctrl.v1.RolloutService",
];
/// Largest command, as the API says: some heads with all that may come along.
const MOST_COMMAND_BYTES: usize = 64 << 20;
/// Where its files stand in the configuration.
const SETTINGS: [&str; 3] = ["rollout.tls.certificate", "rollout.tls.key", "rollout.tls.client_ca"];

/// A rollout listener that is ready to serve.
#[derive(Debug)]
pub(crate) struct AdminGrpc {
    services: Services,
    tls: Option<ServerTlsConfig>,
    known: Known,
}

impl AdminGrpc {
    /// Beside a data port; reads certificates.
    pub(crate) fn new(grpc: &Grpc, access: &RolloutAccess) -> Result<Self, GrpcError> {
        let (tls, known) = match access {
            RolloutAccess::Mutual { tls, client_name } => {
                let named = ServerName::try_from(client_name.clone())
                    .map_err(|_| GrpcError::ClientName { name: client_name.clone() })?;
                (Some(tls_config(tls, SETTINGS)?), Known(Some(Arc::new(named))))
            }
            RolloutAccess::Plaintext => (None, Known(None)),
        };
        Ok(Self { services: grpc.services.clone(), tls, known })
    }

    /// Serves until `stop`, then until every connection has ended.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) -> Result<(), GrpcError> {
        let Self { services, tls, known } = self;
        let health = HealthServer::new(health::Answers(Arc::clone(&services.0.health)));
        let rollouts = RolloutServiceServer::new(Rollouts { services, stop: stop.clone() })
            .max_decoding_message_size(MOST_COMMAND_BYTES);
        let mut server = Server::builder()
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_keepalive_interval(Some(KEEP_ALIVE.0))
            .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
            .layer(known);
        if let Some(tls) = tls {
            server = server.tls_config(tls).map_err(GrpcError::Serve)?;
        }
        server
            .add_service(rollouts)
            .add_service(health)
            .add_service(reflection(&SERVED).build_v1()?)
            .add_service(reflection(&SERVED).build_v1alpha()?)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop.cancelled_owned(),
            )
            .await
            .map_err(GrpcError::Serve)
    }
}

/// The layer that lets in who is known: anyone where no name is asked for, since that listens on loopback alone.
#[derive(Debug, Clone)]
struct Known(Option<Arc<ServerName<'static>>>);

/// A service behind it.
#[derive(Debug, Clone)]
struct Guarded<S> {
    inner: S,
    known: Known,
}

impl Known {
    fn admit(&self, request: &Request<Body>) -> Result<(), Failure> {
        let Some(name) = &self.0 else { return Ok(()) };
        let certificates = request
            .extensions()
            .get::<TlsConnectInfo<TcpConnectInfo>>()
            .and_then(TlsConnectInfo::peer_certs)
            .unwrap_or_default();
        // The chain was verified by the handshake; whom it names is asked here.
        let is_known = certificates.first().is_some_and(|certificate| {
            webpki::EndEntityCert::try_from(certificate)
                .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(name).is_ok())
        });
        if is_known { Ok(()) } else { Err(Failure::Stranger { expected: name.to_str().into_owned() }) }
    }
}

impl<S> Layer<S> for Known {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, known: self.clone() }
    }
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let admitted = self.known.admit(&request);
        let inner = self.inner.clone();
        Box::pin(async move {
            match admitted {
                Ok(()) => inner.oneshot(request).await,
                Err(failure) => {
                    tracing::warn!(path = request.uri().path(), error = %failure, "a command is refused");
                    Ok(status(&failure).into_http())
                }
            }
        })
    }
}
