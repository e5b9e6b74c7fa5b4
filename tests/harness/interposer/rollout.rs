//! Between an operator and the rollout ports of scoring servers, where both speak without TLS on this machine.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{Answer, Held, Interposer, Kind, Severed, whole};

/// The one call that changes something.
const APPLY: &str = "/inctrl.v1.RolloutService/ApplyRollout";

/// gRPC's UNAVAILABLE.
const UNAVAILABLE: &str = "14";

/// Serves on a port of every address of this machine in place of the server that has the same address and listens on `port`, for
/// as long as `tasks` lives. Answers the port.
pub async fn serve_rollouts(
    interposer: Arc<Interposer>,
    port: u16,
    tasks: &mut JoinSet<()>,
) -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let here = listener.local_addr()?.port();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let interposer = Arc::clone(&interposer);
            connections.spawn(async move {
                // A server that is away is a connection that ends.
                let _ = connect(stream, port, interposer).await;
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(here)
}

async fn connect(
    stream: TcpStream,
    port: u16,
    interposer: Arc<Interposer>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let server = stream.local_addr()?.ip();
    let upstream = TokioIo::new(TcpStream::connect((server, port)).await?);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), upstream).await?;
    let service = service_fn(move |request| serve(server, sender.clone(), Arc::clone(&interposer), request));
    let downstream = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => ended?,
        ended = downstream => ended?,
    }
    Ok(())
}

async fn serve(
    server: IpAddr,
    sender: SendRequest<Answer>,
    interposer: Arc<Interposer>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Severed> {
    let (head, body) = request.into_parts();
    if head.uri.path() != APPLY {
        let request = Request::from_parts(head, body.map_err(Into::into).boxed_unsync());
        return Ok(send(sender, request).await?.map(|body| body.map_err(Into::into).boxed_unsync()));
    }
    let body = body.collect().await.map_err(|_| Severed)?.to_bytes();
    let mut told = None;
    if let Some(holder) = interposer.held() {
        let (release, released) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        // Whoever does not wait for it lets it pass.
        if holder.send(Held { release, answer: answered }).is_ok() {
            let _ = released.await;
        }
        told = Some(answer);
    }
    let (place, fault) = interposer.arrive(Kind::Work, "rollout".to_owned(), server.to_string())?;
    let told = Arc::new(Mutex::new(told));
    let forward = || {
        let body = Full::new(body.clone()).map_err(|never| match never {}).boxed_unsync();
        let request = Request::from_parts(head.clone(), body);
        let (sender, interposer, told) = (sender.clone(), Arc::clone(&interposer), Arc::clone(&told));
        async move {
            let (_, response, code) = whole(send(sender, request).await?).await?;
            let code = code.unwrap_or_default();
            interposer.answered(place, code);
            if let Some(told) = told.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // Whoever released it may have left.
                let _ = told.send(code);
            }
            Ok(response)
        }
    };
    interposer.apply(fault, forward, |_| unavailable()).await
}

async fn send(
    mut sender: SendRequest<Answer>,
    request: Request<Answer>,
) -> Result<Response<Incoming>, Severed> {
    sender.ready().await.map_err(|_| Severed)?;
    sender.send_request(request).await.map_err(|_| Severed)
}

fn unavailable() -> Response<Answer> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(UNAVAILABLE));
    response
}
