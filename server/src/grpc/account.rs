//! What is told of a call when it has ended: a log line and the usual metrics, even when its caller left early.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::status::code_name;
use crate::metrics::{RpcLabels, ServerMetrics};

/// How a caller names its request, so that both sides' logs can be put together; one is made where it does not.
const REQUEST_ID: &str = "x-request-id";
const LONGEST_REQUEST_ID: usize = 128;

/// The id of a request, in its extensions.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// What a handler adds to the line of its call, in the extensions of its response.
#[derive(Debug, Clone)]
pub(super) struct Scored {
    pub(super) model: String,
    pub(super) revision: String,
    pub(super) prompt_digest: String,
    pub(super) images: usize,
    /// Of the image that waited longest.
    pub(super) batch_size: usize,
    pub(super) decode: Duration,
    pub(super) queue: Duration,
    pub(super) compute: Duration,
}

/// A call that has begun. Dropping it unclosed says that its caller left.
pub(super) struct Account {
    rpc: RpcLabels,
    metrics: ServerMetrics,
    began: Instant,
    request_id: String,
    peer: Option<SocketAddr>,
    user_agent: Option<String>,
    is_open: bool,
}

impl Account {
    /// Begins; the request is given its id.
    pub(super) fn open(rpc: RpcLabels, request: &mut Request<Body>, metrics: &ServerMetrics) -> Self {
        metrics.started(rpc);
        let request_id = request_id(request.headers());
        request.extensions_mut().insert(RequestId(request_id.clone()));
        let user_agent = request.headers().get(http::header::USER_AGENT);
        Self {
            rpc,
            metrics: metrics.clone(),
            began: Instant::now(),
            request_id,
            peer: peer(request),
            user_agent: user_agent.and_then(|value| value.to_str().ok()).map(str::to_owned),
            is_open: true,
        }
    }

    /// Tells of the call's end by its response, which is given its id.
    pub(super) fn close(mut self, mut response: Response<Body>) -> Response<Body> {
        self.is_open = false;
        let refused = Status::from_header_map(response.headers());
        let scored = response.extensions_mut().remove::<Scored>();
        match &refused {
            Some(status) if status.code() != Code::Ok => self.tell_refused(status),
            _ => self.tell_answered(scored.as_ref()),
        }
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    fn tell_answered(&self, scored: Option<&Scored>) {
        let total = self.count(Code::Ok);
        let ms = |of: fn(&Scored) -> Duration| scored.map(|scored| milliseconds(of(scored)));
        tracing::info!(
            request_id = self.request_id,
            service = self.rpc.grpc_service,
            method = self.rpc.grpc_method,
            code = code_name(Code::Ok),
            model = scored.map(|scored| scored.model.as_str()),
            revision = scored.map(|scored| scored.revision.as_str()),
            prompt_digest = scored.map(|scored| scored.prompt_digest.as_str()),
            images = scored.map(|scored| scored.images),
            batch_size = scored.map(|scored| scored.batch_size),
            decode_ms = ms(|scored| scored.decode),
            queue_ms = ms(|scored| scored.queue),
            compute_ms = ms(|scored| scored.compute),
            total_ms = milliseconds(total),
            peer = self.peer.map(tracing::field::display),
            user_agent = self.user_agent,
            "call answered"
        );
    }

    fn tell_refused(&self, status: &Status) {
        let total = self.count(status.code());
        let reason = status.get_details_error_info().map(|info| info.reason);
        let shed = match (status.code(), reason.as_deref()) {
            (Code::DeadlineExceeded, _) => Some("deadline"),
            (Code::Unavailable, _) => Some("unavailable"),
            (Code::ResourceExhausted, Some("QUEUE_FULL")) => Some("queue"),
            (Code::ResourceExhausted, Some("INFLIGHT_BYTES_EXHAUSTED")) => Some("bytes"),
            (Code::ResourceExhausted, Some("PROMPT_SETS_PENDING")) => Some("prompt_sets"),
            _ => None,
        };
        if let Some(reason) = shed {
            self.metrics.shed(reason);
        }
        tracing::info!(
            request_id = self.request_id,
            service = self.rpc.grpc_service,
            method = self.rpc.grpc_method,
            code = code_name(status.code()),
            reason,
            error = status.message(),
            total_ms = milliseconds(total),
            peer = self.peer.map(tracing::field::display),
            user_agent = self.user_agent,
            "call refused"
        );
    }

    fn count(&self, code: Code) -> Duration {
        let total = self.began.elapsed();
        self.metrics.handled(self.rpc, code_name(code), total);
        total
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.is_open {
            self.tell_refused(&Status::cancelled("the caller left before the answer"));
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

fn request_id(headers: &HeaderMap) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let brought = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match brought {
        Some(id) if !id.is_empty() && id.len() <= LONGEST_REQUEST_ID => id.to_owned(),
        _ => format!("{:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
    }
}

fn peer(request: &Request<Body>) -> Option<SocketAddr> {
    let extensions = request.extensions();
    let plain = extensions.get::<TcpConnectInfo>();
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    plain.or_else(|| tls.map(TlsConnectInfo::get_ref)).and_then(TcpConnectInfo::remote_addr)
}
