//! Exact calls against an API server of one object: what is written, how, and that nothing is written twice.

use std::path::Path;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Lookup};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;
use crate::cluster::Cluster;
use crate::controller::build::job::JobDefaults;
use crate::controller::looks::Looks;
use crate::controller::stores::Stores;
use crate::limiter::Limiter;
use crate::packed::PackedModel;
use crate::queue::Backoff;
use crate::servers::{Dialer, Fleet, Heads};

mod events;
mod faults;
mod pace;
mod refusals;
use faults::Fault;

/// One call as it was made.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    method: Method,
    path: String,
    query: String,
    content_type: String,
    body: Value,
}

/// An API server of one model.
#[derive(Default)]
struct Server {
    model: Mutex<Value>,
    jobs: Mutex<BTreeMap<String, Value>>,
    calls: Mutex<Vec<Call>>,
    conflicts: Mutex<usize>,
    /// Names of the Jobs that were made, in order.
    made: Mutex<Vec<String>>,
    /// How often each event was told.
    told: Mutex<BTreeMap<String, usize>>,
    /// How many calls there were in all.
    count: Mutex<usize>,
    /// What becomes of the call of this number.
    fault: Mutex<Option<(usize, Fault)>>,
    /// What making a Job is refused with.
    refusal: Mutex<Option<(u16, String)>>,
    /// Whether the operator was killed: nothing that it does any more arrives.
    killed: Mutex<bool>,
    /// Whether the caches are to hear nothing for a while.
    deafens: Mutex<bool>,
}

/// Counts an object's version up.
fn bump(object: &mut Value) {
    let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
}

impl Server {
    fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls since the last time.
    fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *Self::lock(&self.calls))
    }

    fn answer(&self, call: &Call) -> (StatusCode, Value) {
        let last = call.path.rsplit('/').next().unwrap_or_default().to_owned();
        let refuse = |code: u16, reason: &str| {
            let status = json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason });
            (StatusCode::from_u16(code).unwrap(), status)
        };
        if call.path.contains("/jobs/") {
            let refusal = Self::lock(&self.refusal).clone();
            if let Some((code, message)) = refusal.filter(|_| call.method == Method::PATCH) {
                let status = json!({ "kind": "Status", "status": "Failure", "code": code, "reason": "", "message": message });
                return (StatusCode::from_u16(code).unwrap(), status);
            }
            let mut jobs = Self::lock(&self.jobs);
            if call.method == Method::GET {
                return jobs
                    .get(&last)
                    .map_or_else(|| refuse(404, "NotFound"), |job| (StatusCode::OK, job.clone()));
            }
            if call.method == Method::DELETE {
                return match jobs.remove(&last) {
                    Some(job) => (StatusCode::OK, job),
                    None => refuse(404, "NotFound"),
                };
            }
            if let Some(job) = jobs.get_mut(&last) {
                for field in ["suspend", "ttlSecondsAfterFinished"] {
                    if let Some(value) = call.body["spec"].get(field) {
                        job["spec"][field] = value.clone();
                    }
                }
                bump(job);
                return (StatusCode::OK, job.clone());
            }
            if call.body["spec"]["template"].is_null() {
                return refuse(422, "Invalid");
            }
            let mut job = call.body.clone();
            job["metadata"]["uid"] = json!(format!("uid of {last}"));
            job["metadata"]["resourceVersion"] = json!("7");
            Self::lock(&self.made).push(last.clone());
            jobs.insert(last, job.clone());
            return (StatusCode::OK, job);
        }
        if call.path.contains("/inctrlmodels/") {
            let mut conflicts = Self::lock(&self.conflicts);
            if *conflicts > 0 {
                *conflicts -= 1;
                return refuse(409, "Conflict");
            }
            let mut model = Self::lock(&self.model);
            if model.is_null() {
                return refuse(404, "NotFound");
            }
            if call.body["metadata"]["resourceVersion"] != model["metadata"]["resourceVersion"] {
                return refuse(409, "Conflict");
            }
            match call.body.get("status") {
                Some(status) => model["status"] = status.clone(),
                None => model["metadata"]["finalizers"] = call.body["metadata"]["finalizers"].clone(),
            }
            bump(&mut model);
            let answer = model.clone();
            let held = model["metadata"]["finalizers"].as_array().is_some_and(|names| !names.is_empty());
            if !model["metadata"]["deletionTimestamp"].is_null() && !held {
                *model = Value::Null;
            }
            return (StatusCode::OK, answer);
        }
        if call.path.contains("/events") && call.method != Method::GET {
            let reason = call.body["reason"].as_str().unwrap_or_default().to_owned();
            *Self::lock(&self.told).entry(reason).or_default() += 1;
            return (StatusCode::CREATED, call.body.clone());
        }
        if call.path.ends_with("/events") {
            return (
                StatusCode::OK,
                json!({ "apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": [] }),
            );
        }
        refuse(404, "NotFound")
    }

    /// Answers, unless a fault is meant for this call.
    async fn meet(&self, call: &Call) -> Result<(StatusCode, Value), tower::BoxError> {
        let number = *Self::lock(&self.count);
        *Self::lock(&self.count) += 1;
        if *Self::lock(&self.killed) {
            return Err("the operator was killed".into());
        }
        let fault = Self::lock(&self.fault).filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        match fault {
            None => {}
            Some(Fault::Refused(code)) => {
                let status = json!({ "kind": "Status", "status": "Failure", "code": code, "reason": "", "message": "" });
                return Ok((StatusCode::from_u16(code)?, status));
            }
            Some(Fault::Lost) => return Err("the connection was reset".into()),
            Some(Fault::Unheard) => {
                self.answer(call);
                return Err("the connection was reset".into());
            }
            Some(Fault::Late) => {
                self.answer(call);
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            Some(Fault::Twice) => drop(self.answer(call)),
            Some(Fault::Deaf) => *Self::lock(&self.deafens) = true,
            Some(Fault::KilledBefore) => {
                *Self::lock(&self.killed) = true;
                return Err("the operator was killed".into());
            }
            Some(Fault::KilledAfter) => {
                self.answer(call);
                *Self::lock(&self.killed) = true;
                return Err("the operator was killed".into());
            }
        }
        Ok(self.answer(call))
    }

    fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await?.to_bytes();
                let content_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
                let call = Call {
                    method: parts.method,
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    content_type: content_type.unwrap_or_default().to_owned(),
                    body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                };
                let (code, answer) = server.meet(&call).await?;
                Self::lock(&server.calls).push(call);
                let body = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, tower::BoxError>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }
}

struct Stage {
    server: Arc<Server>,
    controller: Controller,
    models: Writer<PackedModel>,
    jobs: Writer<k8s_openapi::api::batch::v1::Job>,
    _pods: Writer<k8s_openapi::api::core::v1::Pod>,
    leadership: watch::Sender<Leadership>,
}

fn key() -> ModelKey {
    ModelKey { namespace: "default".to_owned(), name: "visa".to_owned() }
}

impl Stage {
    /// An operator, and an API server with a model.
    fn new(pvc_root: &Path) -> Self {
        let server = Arc::new(Server::default());
        *Server::lock(&server.model) = json!({
            "apiVersion": "inctrl.dev/v1alpha1",
            "kind": "InCTRLModel",
            "metadata": {
                "name": "visa", "namespace": "default", "uid": "u-1", "resourceVersion": "1", "generation": 1,
                "finalizers": ["inctrl.dev/cleanup"],
            },
            "spec": {
                "backbone": { "uri": "pvc://data/b", "sha256": "a".repeat(64) },
                "training": { "dataset": { "uri": "pvc://data/d" } },
                "gate": {
                    "dataset": { "uri": "pvc://data/g" },
                    "metrics": [{ "name": "imageAUROC", "minBasisPoints": 8000 }],
                },
                "serving": { "selector": { "matchLabels": { "app": "inctrl-server" } } },
                "artifacts": { "uri": "pvc://data/a" },
            },
        });
        Self::of(server, pvc_root)
    }

    /// An operator that has just started, its caches filled.
    fn of(server: Arc<Server>, pvc_root: &Path) -> Self {
        let client = server.client();
        Self::with(server, client, pvc_root)
    }

    /// The same, whose calls go elsewhere.
    fn with(server: Arc<Server>, client: Client, pvc_root: &Path) -> Self {
        let metrics =
            Metrics::register(&mut inctrl_telemetry::prometheus_client::registry::Registry::default());
        let limiter = Limiter::new(1000.0, 1000);
        let cluster =
            Cluster::new(client, limiter, Duration::from_secs(5), "test".to_owned(), metrics.clone());
        let stores = Stores { settings: BTreeMap::new(), pvc_root: pvc_root.to_owned() };
        let heads = Heads::new(stores.clone(), cluster.clone());
        let fleet = Arc::new(Fleet::new(Dialer { tls: None }, heads, Arc::new(|_| {}), metrics.clone()));
        fleet.adopt(1, std::iter::empty());
        let (models, models_writer) = reflector::store();
        let (jobs, jobs_writer) = reflector::store();
        let (pods, pods_writer) = reflector::store();
        let (leadership, following) = watch::channel(Leadership { epoch: Some(1) });
        let defaults = JobDefaults { image: "trainer:1".to_owned(), service_account: None };
        let mut stage = Self {
            server,
            controller: Controller {
                caches: Caches { models, jobs, pods },
                actor: Actor { cluster, stores, looks: Looks::default(), fleet, defaults },
                queue: Arc::new(Queue::new(Backoff {
                    first: Duration::from_secs(1),
                    longest: Duration::from_secs(9),
                })),
                leadership: following,
                allowed: Allowed::default(),
                resync: Duration::from_mins(10),
                metrics,
                written: Mutex::default(),
            },
            models: models_writer,
            jobs: jobs_writer,
            _pods: pods_writer,
            leadership,
        };
        stage.cache();
        stage
    }

    /// Lets the caches hear of everything.
    fn cache(&mut self) {
        let model = Server::lock(&self.server.model).clone();
        fill(&mut self.models, (!model.is_null()).then(|| packed(model)));
        let jobs = Server::lock(&self.server.jobs).clone().into_values();
        fill(&mut self.jobs, jobs.map(|job| serde_json::from_value(job).unwrap()));
    }

    async fn round(&self) -> Vec<Call> {
        self.controller.round(&key()).await.unwrap();
        self.server.calls()
    }

    /// Rounds, each heard of, until one makes no call.
    async fn settle(&mut self) -> Vec<Call> {
        let mut all = Vec::new();
        for _ in 0..12 {
            let calls = self.round().await;
            self.cache();
            if calls.iter().all(|call| call.method == Method::GET) {
                return all;
            }
            all.extend(calls);
        }
        panic!("must come to rest: {all:#?}");
    }
}

/// Fills a cache as a list does.
fn fill<P>(cache: &mut Writer<P>, objects: impl IntoIterator<Item = P>)
where
    P: Lookup<DynamicType = ()> + Clone + 'static,
{
    cache.apply_watcher_event(&Event::Init);
    for object in objects {
        cache.apply_watcher_event(&Event::InitApply(object));
    }
    cache.apply_watcher_event(&Event::InitDone);
}

/// A model as the cache has it.
fn packed(model: Value) -> PackedModel {
    PackedModel::new(serde_json::from_value(model).unwrap())
}

fn data() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("data/d/good")).unwrap();
    std::fs::write(root.path().join("data/d/good/0.png"), b"0").unwrap();
    root
}

#[tokio::test]
async fn the_finalizer_is_the_first_call_and_the_only_one_of_its_round() {
    let root = data();
    let mut stage = Stage::new(root.path());
    Server::lock(&stage.server.model)["metadata"]["finalizers"] = json!(["other/one"]);
    stage.cache();
    let calls = stage.round().await;
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].method.clone(), calls[0].path.as_str()),
        (Method::PATCH, "/apis/inctrl.dev/v1alpha1/namespaces/default/inctrlmodels/visa")
    );
    assert_eq!(calls[0].content_type, "application/merge-patch+json");
    assert_eq!(calls[0].body["metadata"]["finalizers"], json!(["other/one", "inctrl.dev/cleanup"]));
    assert_eq!(calls[0].body["metadata"]["resourceVersion"], "1");
}

/// Regression 6.
#[tokio::test]
async fn status_and_job_are_applied_whole_and_what_is_equal_is_not_written_again() {
    let root = data();
    let mut stage = Stage::new(root.path());
    let calls = stage.settle().await;
    let statuses: Vec<_> = calls.iter().filter(|call| call.path.ends_with("/status")).collect();
    assert_eq!(statuses.len(), 3, "pending, data set and run, running: {statuses:#?}");
    for status in statuses {
        assert!(
            status.query.contains("fieldManager=inctrl-operator") && status.query.contains("force=true"),
            "{}",
            status.query
        );
        assert_eq!(status.content_type, "application/apply-patch+yaml");
        assert!(
            status.body["metadata"]["resourceVersion"].is_string(),
            "a status must be for what was looked at"
        );
    }
    let jobs: Vec<_> = calls.iter().filter(|call| call.path.contains("/jobs/")).collect();
    assert_eq!(jobs.len(), 1);
    assert!(jobs[0].path.contains("/jobs/visa-train-"), "{}", jobs[0].path);
    assert_eq!(jobs[0].body["spec"]["template"]["spec"]["containers"][0]["image"], "trainer:1");
    assert!(
        jobs[0].body["spec"].get("suspend").is_none()
            && jobs[0].body["spec"].get("ttlSecondsAfterFinished").is_none()
    );
    let told: Vec<_> = calls.iter().filter(|call| call.method == Method::POST).collect();
    assert_eq!(told.len(), 1, "each transition once: {told:#?}");
    assert_eq!(told[0].body["reason"], "TrainingStarted");
    assert_eq!(told[0].body["regarding"]["name"], "visa");

    for _ in 0..5 {
        let calls = stage.round().await;
        assert!(calls.iter().all(|call| call.method == Method::GET), "{calls:#?}");
    }
}

#[tokio::test]
async fn a_lost_race_for_the_status_does_nothing_and_tells_nothing() {
    let root = data();
    let mut stage = Stage::new(root.path());
    stage.round().await;
    stage.cache();
    *Server::lock(&stage.server.conflicts) = 1;
    let error = stage.controller.round(&key()).await.unwrap_err();
    assert!(error.is_conflict());
    let calls = stage.server.calls();
    assert_eq!(calls.len(), 1, "no job and no event after a status that was not written: {calls:#?}");
}

#[tokio::test]
async fn a_cache_that_lags_behind_our_own_writes_repeats_nothing() {
    let root = data();
    let stage = Stage::new(root.path());
    let mut all = Vec::new();
    for _ in 0..6 {
        all.extend(stage.round().await);
    }
    let count =
        |part: &str| all.iter().filter(|call| call.path.contains(part) && call.method != Method::GET).count();
    assert_eq!(count("/status"), 2, "{all:#?}");
    assert_eq!(count("/events"), 1);
}

#[tokio::test]
async fn a_standby_makes_no_call() {
    let root = data();
    let stage = Stage::new(root.path());
    stage.leadership.send_replace(Leadership { epoch: None });
    assert!(stage.round().await.is_empty());
}

#[tokio::test]
async fn a_missing_data_set_is_a_condition_and_no_job() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("data/d")).unwrap();
    let mut stage = Stage::new(root.path());
    let calls = stage.settle().await;
    assert!(!calls.iter().any(|call| call.path.contains("/jobs/")));
    let model = Server::lock(&stage.server.model).clone();
    let conditions = model["status"]["conditions"].as_array().unwrap();
    let resolved = conditions.iter().find(|condition| condition["type"] == "DatasetResolved").unwrap();
    assert_eq!((resolved["status"].as_str(), resolved["reason"].as_str()), (Some("False"), Some("Empty")));
}

/// Regression 17.
#[tokio::test]
async fn a_deleted_model_lets_go_of_its_finalizer_alone() {
    let root = data();
    let mut stage = Stage::new(root.path());
    let now = Timestamp::now();
    {
        let mut model = Server::lock(&stage.server.model);
        model["metadata"]["deletionTimestamp"] = json!(now.to_string());
        model["metadata"]["finalizers"] = json!(["other/one", "inctrl.dev/cleanup"]);
    }
    stage.cache();
    let mut all = stage.round().await;
    all.extend(stage.round().await);
    let last = all.last().unwrap();
    assert_eq!(last.body["metadata"]["finalizers"], json!(["other/one"]));
}
