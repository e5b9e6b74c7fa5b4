//! What every call passes first: who calls, until when, with how many bytes; and what is told of it afterwards.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt as _};

use super::account::Account;
use super::body::{LimitedBody, Taken};
use super::deadline::Deadline;
use super::methods::{self, Kind};
use super::status::status;
use super::tokens::Tokens;
use crate::admission::ByteBudget;
use crate::failure::Failure;
use crate::metrics::ServerMetrics;

/// What calls share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) budget: ByteBudget,
    pub(super) max_message_bytes: usize,
    pub(super) metrics: ServerMetrics,
    /// None lets everyone in.
    pub(super) tokens: Option<Tokens>,
    /// Ends all calls in work.
    pub(super) abort: CancellationToken,
    /// Counts calls in work.
    pub(super) calls: TaskTracker,
}

/// The layer around all services.
#[derive(Debug, Clone)]
pub(super) struct Entrance(pub(super) Arc<Shared>);

/// A service behind the entrance.
#[derive(Debug, Clone)]
pub(super) struct Guarded<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Layer<S> for Entrance {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, shared: Arc::clone(&self.0) }
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        Box::pin(async move {
            let (kind, rpc) = methods::of(request.uri().path());
            match kind {
                // Probes are asked often, by those who have no token.
                Kind::Health => inner.oneshot(request).await,
                Kind::Reflection => match shared.identify(request.headers()) {
                    Ok(()) => inner.oneshot(request).await,
                    Err(failure) => Ok(status(&failure).into_http()),
                },
                Kind::Unary => {
                    let _counted = shared.calls.token();
                    let account = Account::open(rpc, &mut request, &shared.metrics);
                    let response = shared.pass(inner, request).await?;
                    Ok(account.close(response))
                }
            }
        })
    }
}

impl Shared {
    fn identify(&self, headers: &HeaderMap) -> Result<(), Failure> {
        match &self.tokens {
            Some(tokens) if !tokens.admit(headers) => Err(Failure::Unauthenticated),
            _ => Ok(()),
        }
    }

    /// A call with its deadline and its bytes; whoever is late or aborted is told.
    async fn pass<S>(&self, inner: S, mut request: Request<Body>) -> Result<Response<Body>, Infallible>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        if let Err(failure) = self.identify(request.headers()) {
            return Ok(status(&failure).into_http());
        }
        let deadline = Deadline::of(request.headers(), Instant::now());
        request.extensions_mut().insert(deadline);
        // Held until the answer is ready: the message lives as long.
        let taken = Taken::default();
        let limit = |body| {
            let taken = Arc::clone(&taken);
            Body::new(LimitedBody::new(body, self.budget.clone(), self.max_message_bytes, taken))
        };
        let late = async {
            match deadline.0 {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            response = inner.oneshot(request.map(limit)) => response,
            () = late => Ok(status(&Failure::Deadline { predicted_wait: None }).into_http()),
            () = self.abort.cancelled() => Ok(status(&Failure::Draining).into_http()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::registry::Registry;
    use tokio::sync::oneshot;
    use tonic::{Code, Status};
    use tower::service_fn;

    use super::*;

    const PATH: &str = "/inctrl.v1.AnomalyDetectionService/DetectAnomaly";

    fn entrance() -> Entrance {
        Entrance(Arc::new(Shared {
            budget: ByteBudget::new(1 << 20),
            max_message_bytes: 1 << 10,
            metrics: ServerMetrics::register(&mut Registry::default()),
            tokens: None,
            abort: CancellationToken::new(),
            calls: TaskTracker::new(),
        }))
    }

    /// Calls a service that never answers; what its caller is told, and a sign that its work was dropped.
    async fn call_in_vain(entrance: &Entrance, timeout: Option<&str>) -> (Status, oneshot::Receiver<()>) {
        let (working, dropped) = oneshot::channel::<()>();
        let working = Arc::new(std::sync::Mutex::new(Some(working)));
        let service = service_fn(move |_: Request<Body>| {
            let working = working.lock().unwrap().take();
            async move {
                let _working = working;
                std::future::pending::<Result<Response<Body>, Infallible>>().await
            }
        });
        let mut request = Request::builder().uri(PATH);
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = entrance.layer(service).oneshot(request).await.unwrap();
        (Status::from_header_map(response.headers()).unwrap(), dropped)
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_call_is_told_in_time_and_its_work_is_dropped() {
        let (entrance, began) = (entrance(), Instant::now());
        let (told, dropped) = call_in_vain(&entrance, Some("100m")).await;
        assert_eq!(told.code(), Code::DeadlineExceeded);
        assert_eq!(began.elapsed(), Duration::from_millis(95), "a little before the caller leaves");
        assert!(dropped.await.is_err(), "the work must be dropped with the call");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_work_are_counted_and_told_when_they_are_aborted() {
        let entrance = entrance();
        let waiting = entrance.clone();
        let call = tokio::spawn(async move { call_in_vain(&waiting, None).await });
        tokio::task::yield_now().await;
        assert_eq!(entrance.0.calls.len(), 1);
        entrance.0.abort.cancel();
        let (told, _dropped) = call.await.unwrap();
        assert_eq!(told.code(), Code::Unavailable);
        assert!(entrance.0.calls.is_empty());
    }
}
