//! Between an operator and the API server.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Answer, Fault, Interposer, Kind, Severed, whole};

/// Serves whoever a kubeconfig is of in place of its API server, for as long as `tasks` lives. Answers the path of a kubeconfig
/// that names this place, beside the given one under the name `name`.
pub async fn serve_api(
    interposer: Arc<Interposer>,
    kubeconfig: &Path,
    name: &str,
    tasks: &mut JoinSet<()>,
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let mut config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default())
            .await?;
    // What the operator does about a failure is its own affair.
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut here: Value = serde_json::from_slice(&std::fs::read(kubeconfig)?)?;
    here["clusters"][0]["cluster"] = json!({ "server": format!("http://{}", listener.local_addr()?) });
    let path = kubeconfig.with_file_name(format!("{name}.kubeconfig"));
    std::fs::write(&path, here.to_string())?;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (client, interposer) = (client.clone(), Arc::clone(&interposer));
            connections.spawn(async move {
                let service = service_fn(|request| serve(client.clone(), Arc::clone(&interposer), request));
                // One that is cut is what this is for.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(path)
}

async fn serve(
    client: Client,
    interposer: Arc<Interposer>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Severed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Severed)?.to_bytes();
    let kind = kind(&head.method, head.uri.path());
    let (what, name) = describe(&head.method, head.uri.path(), &body);
    let (place, fault) = interposer.arrive(kind, what, name)?;
    let forward = || {
        let request = Request::from_parts(head.clone(), Body::from(body.clone()));
        let (client, interposer) = (client.clone(), Arc::clone(&interposer));
        async move {
            let mut response = client.send(request).await.map_err(|_| Severed)?;
            response.headers_mut().remove(TRANSFER_ENCODING);
            if kind == Kind::Read {
                // A watch has no end.
                return Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()));
            }
            let (status, response, _) = whole(response).await?;
            interposer.answered(place, status);
            Ok(response)
        }
    };
    interposer.apply(fault.filter(|fault| kind != Kind::Read || fits_reads(*fault)), forward, refusal).await
}

/// Nothing is gained by doing a read twice.
fn fits_reads(fault: Fault) -> bool {
    match fault {
        Fault::KilledBefore | Fault::Refused(_) | Fault::Late(_) => true,
        Fault::KilledAfter | Fault::Unheard | Fault::Twice => false,
    }
}

/// What the API server says where it refuses.
fn refusal(code: u16) -> Response<Answer> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("refused with {code} by the test"), "reason": reason, "code": code,
    });
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn kind(method: &Method, path: &str) -> Kind {
    if *method == Method::GET {
        Kind::Read
    } else if path.contains("/leases") {
        Kind::Lease
    } else if path.contains("/events") {
        Kind::Event
    } else {
        Kind::Work
    }
}

/// A call in words, and the name of its object.
fn describe(method: &Method, path: &str, body: &Bytes) -> (String, String) {
    let parts: Vec<&str> = path.split('/').skip_while(|part| *part != "namespaces").skip(2).collect();
    let [resource, rest @ ..] = parts.as_slice() else { return (format!("{method} {path}"), String::new()) };
    let name = rest.first().copied().unwrap_or_default().to_owned();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let what = match (*resource, rest.get(1)) {
        ("inctrlmodels", Some(_)) => {
            format!("status {}", body["status"]["phase"].as_str().unwrap_or("without phase"))
        }
        ("inctrlmodels", None) => {
            let on = body["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
            format!("finalizer {}", if on { "on" } else { "off" })
        }
        ("jobs", _) if *method == Method::DELETE => "end of a Job".to_owned(),
        ("jobs", _) if body["spec"]["template"].is_null() => "lifetime of a Job".to_owned(),
        ("jobs", _) => "Job".to_owned(),
        (resource, _) => format!("{method} {resource}"),
    };
    (what, name)
}
