//! The fleet against real servers of the protocol on loopback.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use inctrl_proto::v1::rollout_service_server::{RolloutService, RolloutServiceServer};
use inctrl_proto::v1::{
    ApplyRolloutRequest, ApplyRolloutResponse, GetRolloutStatusRequest, GetRolloutStatusResponse, HeadRole,
    HeadState, HeadStatus, ModelRolloutStatus, RolloutStatus, WatchRolloutStatusRequest,
    WatchRolloutStatusResponse,
};
use kube::Client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status};

use super::*;
use crate::cluster::Cluster;
use crate::controller::observation::Role;
use crate::controller::plan::HeadRef;
use crate::controller::stores::Stores;
use crate::limiter::Limiter;

mod names;
mod silence;

/// A server that loads whatever it is told, and refuses what is older than what it knows.
#[derive(Clone)]
struct Scripted {
    status: Arc<watch::Sender<RolloutStatus>>,
    told: Arc<Mutex<VecDeque<ApplyRolloutRequest>>>,
}

type Watched = Pin<Box<dyn futures::Stream<Item = Result<WatchRolloutStatusResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RolloutService for Scripted {
    async fn apply_rollout(
        &self,
        request: Request<ApplyRolloutRequest>,
    ) -> Result<Response<ApplyRolloutResponse>, Status> {
        let request = request.into_inner();
        let fence = (request.epoch, request.generation);
        let known = self.status.borrow().clone();
        if fence < (known.epoch, known.generation) {
            return Err(Status::failed_precondition("STALE_EPOCH"));
        }
        let head = |head: &Option<inctrl_proto::v1::Head>, role: HeadRole| {
            head.as_ref().map(|head| HeadStatus {
                digest: head.digest.clone(),
                role: role.into(),
                state: HeadState::Loaded.into(),
                ..HeadStatus::default()
            })
        };
        let models = request.models.iter().map(|model| ModelRolloutStatus {
            model: model.model.clone(),
            heads: head(&model.active, HeadRole::Active)
                .into_iter()
                .chain(head(&model.candidate, HeadRole::Candidate))
                .collect(),
            candidate_weight_percent: model.candidate_weight_percent,
            paired: None,
        });
        let status = RolloutStatus {
            epoch: fence.0,
            generation: fence.1,
            models: models.collect(),
            ..RolloutStatus::default()
        };
        self.told.lock().unwrap().push_back(request);
        self.status.send_replace(status.clone());
        Ok(Response::new(ApplyRolloutResponse { status: Some(status) }))
    }

    async fn get_rollout_status(
        &self,
        _: Request<GetRolloutStatusRequest>,
    ) -> Result<Response<GetRolloutStatusResponse>, Status> {
        Ok(Response::new(GetRolloutStatusResponse { status: Some(self.status.borrow().clone()) }))
    }

    type WatchRolloutStatusStream = Watched;

    async fn watch_rollout_status(
        &self,
        _: Request<WatchRolloutStatusRequest>,
    ) -> Result<Response<Watched>, Status> {
        let statuses = WatchStream::new(self.status.subscribe());
        let answers = statuses.map(|status| Ok(WatchRolloutStatusResponse { status: Some(status) }));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// A server and the pod that it runs in.
struct Running {
    scripted: Scripted,
    pod: Arc<Pod>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(name: &str) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pod = pod(name, listener.local_addr().unwrap().port());
    let scripted =
        Scripted { status: Arc::new(watch::channel(RolloutStatus::default()).0), told: Arc::default() };
    let service = RolloutServiceServer::new(scripted.clone()).max_decoding_message_size(64 << 20);
    let serve = tonic::transport::Server::builder().add_service(service);
    let task = tokio::spawn(async move {
        serve.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    });
    Running { scripted, pod, task }
}

/// The pod of a server on this port.
fn pod(name: &str, port: u16) -> Arc<Pod> {
    let pod = json!({
        "metadata": { "name": name, "namespace": "default", "uid": name, "labels": { "app": "inctrl-server" } },
        "spec": { "containers": [{ "name": "server", "ports": [{ "name": "admin-grpc", "containerPort": port }] }] },
        "status": { "phase": "Running", "podIP": "127.0.0.1" },
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn model(name: &str) -> InCTRLModel {
    serde_json::from_value(json!({
        "apiVersion": "inctrl.dev/v1alpha1",
        "kind": "InCTRLModel",
        "metadata": { "name": name, "namespace": "default", "uid": name },
        "spec": {
            "backbone": { "uri": "pvc://data/b", "sha256": "" },
            "training": { "dataset": { "uri": "pvc://data/d" } },
            "gate": { "dataset": { "uri": "pvc://data/g" }, "metrics": [] },
            "serving": { "selector": { "matchLabels": { "app": "inctrl-server" } } },
            "artifacts": { "uri": "pvc://data/a" },
        },
    }))
    .unwrap()
}

fn head(digest: &str) -> HeadRef {
    HeadRef { revision: 1, digest: digest.to_owned(), uri: "pvc://data/a/u/k".parse().unwrap() }
}

struct Stage {
    fleet: Arc<Fleet>,
    news: tokio::sync::mpsc::UnboundedReceiver<ModelKey>,
}

fn stage(root: &std::path::Path) -> Stage {
    let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, tower::BoxError>("no API server here".into())
    });
    stage_with(root, Client::new(nobody, "default"), None)
}

fn stage_with(root: &std::path::Path, client: Client, tls: Option<TlsFiles>) -> Stage {
    let metrics = Metrics::register(&mut inctrl_telemetry::prometheus_client::registry::Registry::default());
    let cluster = Cluster::new(
        client,
        Limiter::new(9.0, 9),
        Duration::from_secs(5),
        "test".to_owned(),
        metrics.clone(),
    );
    let heads = Heads::new(Stores { settings: BTreeMap::new(), pvc_root: root.to_owned() }, cluster);
    let (tell, news) = tokio::sync::mpsc::unbounded_channel();
    let notify: Notify = Arc::new(move |key| drop(tell.send(key.clone())));
    Stage { fleet: Arc::new(Fleet::new(Dialer { tls }, heads, notify, metrics)), news }
}

impl Stage {
    /// Waits for news until something holds.
    async fn until(&mut self, holds: impl Fn(&[ServerView]) -> bool) -> Vec<ServerView> {
        let wait = async {
            loop {
                if let Some(views) = self.views().filter(|views| holds(views)) {
                    return views;
                }
                self.news.recv().await.expect("the fleet must tell");
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("must come to hold")
    }

    fn views(&self) -> Option<Vec<ServerView>> {
        self.fleet.views(&model("visa")).map(|(views, _)| views)
    }
}

#[tokio::test]
async fn a_server_is_told_all_its_models_at_once_and_reports_them() {
    let root = tempfile::tempdir().unwrap();
    let mut stage = stage(root.path());
    let server = start("a").await;
    let (visa, mvtec) = (model("visa"), model("mvtec"));
    stage.fleet.adopt(3, [visa.clone(), mvtec.clone()].into_iter());
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    let views =
        stage.until(|views| views.iter().all(|view| view.report.is_some()) && !views.is_empty()).await;
    assert!(!views[0].report.as_ref().unwrap().knows_model);

    let first = Desired { active: Some(head("sha256:1")), ..Desired::default() };
    stage.fleet.push(&ModelKey::of(&visa), &visa, first).await.unwrap();
    let second = Desired {
        active: Some(head("sha256:2")),
        candidate: Some(head("sha256:3")),
        weight: 10,
        ..Desired::default()
    };
    stage.fleet.push(&ModelKey::of(&mvtec), &mvtec, second).await.unwrap();

    let told: Vec<_> = server.scripted.told.lock().unwrap().drain(..).collect();
    let fences: Vec<_> = told.iter().map(|request| (request.epoch, request.generation)).collect();
    assert_eq!(fences, [(3, 1), (3, 2)]);
    let names: Vec<_> = told[1].models.iter().map(|model| model.model.as_str()).collect();
    assert_eq!(names, ["models/mvtec", "models/visa"], "what is not named would be dropped");
    assert!(told[1].models[0].shadow);
    let report = stage.views().unwrap().remove(0).report.unwrap();
    assert!(report.has_loaded(Role::Active, "sha256:1"));

    assert!(
        stage.fleet.withdraw(&ModelKey::of(&visa), &visa).await,
        "every server that answers has dropped it"
    );
    let last = server.scripted.told.lock().unwrap().pop_back().unwrap();
    assert_eq!(last.models.len(), 1, "the other model must stay");
}

#[tokio::test]
async fn the_files_of_a_head_travel_only_to_servers_that_lack_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("data/a/u/k");
    std::fs::create_dir_all(&folder).unwrap();
    let (part, digest) = published(&folder);
    let mut stage = stage(root.path());
    let server = start("a").await;
    let visa = model("visa");
    stage.fleet.adopt(1, std::iter::once(visa.clone()));
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    let desired = Desired { active: Some(head(&digest)), ..Desired::default() };
    for _ in 0..2 {
        stage.fleet.push(&ModelKey::of(&visa), &visa, desired.clone()).await.unwrap();
    }
    let told = server.scripted.told.lock().unwrap().clone();
    let sent: Vec<_> = told.iter().map(|request| request.models[0].active.clone().unwrap()).collect();
    assert_eq!(sent[0].weights.as_ref(), part.as_slice());
    assert!(!sent[0].manifest.is_empty());
    assert!(sent[1].weights.is_empty() && sent[1].manifest.is_empty());
}

/// Publishes a head of a few bytes.
fn published(folder: &std::path::Path) -> (Vec<u8>, String) {
    let bytes = b"head".to_vec();
    let record: inctrl_storage::RunRecord = serde_json::from_value(json!({
        "createdAt": "2026-01-01T00:00:00Z",
        "trainer": "0",
        "head": { "kind": "paper", "part": "head.safetensors" },
        "backbone": { "name": "b", "digest": format!("sha256:{}", "b".repeat(64)) },
        "dataset": {
            "uri": "pvc://data/d", "fingerprint": format!("sha256:{}", "d".repeat(64)), "mode": "Manifest",
            "objects": 1, "bytes": 1,
        },
        "hyperparameters": {},
    }))
    .unwrap();
    let part = inctrl_storage::PartRecord::of("head.safetensors", &bytes);
    let manifest = inctrl_storage::Manifest::new(record, vec![part], None).unwrap();
    std::fs::write(folder.join("head.safetensors"), &bytes).unwrap();
    std::fs::write(folder.join("manifest.json"), manifest.to_json().unwrap()).unwrap();
    (bytes, manifest.revision.to_string())
}

/// Regression 9.
#[tokio::test]
async fn a_server_that_heard_from_a_newer_operator_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let mut stage = stage(root.path());
    let server = start("a").await;
    server.scripted.status.send_replace(RolloutStatus {
        epoch: 5,
        generation: 1,
        ..RolloutStatus::default()
    });
    let visa = model("visa");
    stage.fleet.adopt(4, std::iter::once(visa.clone()));
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    let desired = Desired { active: Some(head("sha256:1")), ..Desired::default() };
    let error = stage.fleet.push(&ModelKey::of(&visa), &visa, desired).await.unwrap_err();
    assert!(matches!(error, PushError::Stale { .. }), "{error:?}");
    assert!(server.scripted.told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_ends_is_told_of_as_silent_and_one_without_pod_as_gone() {
    let root = tempfile::tempdir().unwrap();
    let mut stage = stage(root.path());
    let server = start("a").await;
    let visa = model("visa");
    stage.fleet.adopt(1, std::iter::once(visa.clone()));
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    stage.fleet.saw_pods(&[]);
    assert_eq!(stage.views(), Some(Vec::new()));
    server.task.abort();
    let gone = start("b").await;
    gone.task.abort();
    stage.fleet.saw_pods(&[gone.pod]);
    let views = stage.until(|views| !views.is_empty()).await;
    assert_eq!(views[0].report, None);
}

#[tokio::test]
async fn nobody_is_dialled_by_an_operator_that_does_not_lead() {
    let root = tempfile::tempdir().unwrap();
    let stage = stage(root.path());
    let server = start("a").await;
    stage.fleet.saw_pods(&[server.pod]);
    assert_eq!(stage.views(), None);
    let visa = model("visa");
    assert!(!stage.fleet.note(&ModelKey::of(&visa), &visa));
}
