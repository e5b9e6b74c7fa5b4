//! One model trained, tried beside its predecessor and promoted while all others are there: what is written for it, and how soon
//! every server has what it is to have.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use futures::{StreamExt as _, TryStreamExt as _};
use inctrl_tests::programs::program;
use kube::api::{DynamicObject, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::operator::{Operator, Pace, get};
use crate::scale::quiet;
use crate::stage::Stage;
use crate::table::{Table, Target};
use crate::wait::{OFTEN, say, until};

const NAME: &str = "line";

/// Where servers show their metrics, as the chart has it.
const METRICS_PORT: u16 = 9464;

/// Measures, and leaves the model there.
pub(crate) async fn measure(stage: &Stage, table: &mut Table) {
    let models = table.last();
    let operator = Operator::start(stage, Pace::Chart).await;
    operator.looked_at(models).await;
    quiet(&operator).await;
    say("a first head is trained and served");
    apply(stage, &manifest(stage, 7)).await;
    let first = status_with(stage, |status| status["active"]["revision"] == 1).await.1;
    loaded(stage, &digest(&first)).await;
    quiet(&operator).await;

    say("a second one is trained, tried beside it and promoted");
    let callers = Callers::start(stage).await;
    let before = writes(stage);
    let start = Instant::now();
    let mut second = manifest(stage, 8);
    second["spec"]["rollout"] = json!({
        "steps": [{ "weight": 50, "pauseSeconds": 1 }, { "weight": 100, "pauseSeconds": 0 }],
        "analysis": { "intervalSeconds": 5, "minRequests": 4 },
    });
    apply(stage, &second).await;
    let (told, promoted) = status_with(stage, |status| status["active"]["revision"] == 2).await;
    let everywhere = loaded(stage, &digest(&promoted)).await - told;
    let whole = start.elapsed().as_secs_f64();
    quiet(&operator).await;
    let after = writes(stage);
    let (answered, failed) = callers.stop();
    let of = |kind: usize| (after[kind] - before[kind]) as f64;
    table.put(models, "status writes of a whole cycle", of(0), "", Target::AtMost(8.0));
    table.put(models, "Job writes of it", of(1), "", Target::AtMost(6.0));
    table.put(models, "events of it", of(2), "", Target::None);
    table.put(models, "applied to promoted", whole, "s", Target::None);
    table.put(models, "requests meanwhile", answered as f64, "", Target::None);
    table.put(models, "of these failed", failed as f64, "", Target::AtMost(0.0));
    let millis = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    table.put(models, "promoted to loaded on every server", millis(everywhere), "ms", Target::Below(1000.0));

    let start = Instant::now();
    let pin = json!({ "spec": { "pinnedRevision": 1 } });
    stage.models().patch(NAME, &PatchParams::default(), &Patch::Merge(pin)).await.unwrap();
    let pinned = loaded(stage, &digest(&first)).await - start;
    table.put(
        models,
        "another revision pinned to loaded on every server",
        millis(pinned),
        "ms",
        Target::None,
    );
    operator.stop().await;
}

fn manifest(stage: &Stage, seed: u64) -> Value {
    json!({
        "apiVersion": "inctrl.dev/v1alpha1",
        "kind": "InCTRLModel",
        "metadata": { "name": NAME },
        "spec": {
            "backbone": { "name": "small", "uri": "pvc://data/backbone", "sha256": stage.backbone },
            "training": {
                "dataset": { "uri": "pvc://data/auxiliary" },
                "head": "Contextual",
                "hyperparameters": {
                    "epochs": 2, "batchSize": 4, "shots": 2, "seed": seed, "learningRate": "0.01",
                },
            },
            "gate": {
                "dataset": { "uri": "pvc://data/held-out" },
                "minSamples": 16,
                "metrics": [
                    { "name": "imageAUROC", "minBasisPoints": 5000, "maxRegressionBasisPoints": 5000 },
                    { "name": "latencyP99Millis", "maxValue": 60_000 },
                ],
            },
            "serving": { "selector": { "matchLabels": { "app.kubernetes.io/name": "inctrl-server" } } },
            "artifacts": { "uri": "pvc://data/heads" },
        },
    })
}

async fn apply(stage: &Stage, model: &Value) {
    let apply = PatchParams::apply("kubectl").force();
    stage.models().patch(NAME, &apply, &Patch::Apply(model)).await.unwrap();
}

/// When a status is first as it is wanted, and the object then: it is watched, not asked.
async fn status_with(stage: &Stage, is_so: impl Fn(&Value) -> bool) -> (Instant, DynamicObject) {
    let only = WatchParams::default().fields(&format!("metadata.name={NAME}"));
    loop {
        let mut events = stage.models().watch(&only, "0").await.unwrap().boxed();
        while let Ok(Some(event)) = events.try_next().await {
            if let WatchEvent::Added(model) | WatchEvent::Modified(model) = event
                && is_so(&model.data["status"])
            {
                return (Instant::now(), model);
            }
        }
    }
}

fn digest(model: &DynamicObject) -> String {
    model.data["status"]["active"]["digest"].as_str().unwrap().to_owned()
}

/// When the last of the servers says that it answers with this head.
async fn loaded(stage: &Stage, digest: &str) -> Instant {
    for server in stage.servers().await {
        let address = SocketAddr::new(server.parse().unwrap(), METRICS_PORT);
        let answers = async || {
            let metrics = get(address, "/metrics").await.ok()?;
            let mut states = metrics.lines().filter(|line| line.starts_with("inctrl_rollout_head_state{"));
            let is_it = |line: &str| {
                [NAME, digest, "role=\"active\"", "state=\"loaded\""].iter().all(|part| line.contains(part))
            };
            states.any(|line| is_it(line) && line.ends_with(" 1")).then_some(())
        };
        until("a head on every server", OFTEN, answers).await;
    }
    Instant::now()
}

/// Writes for the model until now: of its status, of its Jobs, of events about it.
fn writes(stage: &Stage) -> [usize; 3] {
    let calls = stage.writes();
    let count = |resource: &str, prefix: &str| {
        let found = calls.iter().filter(|call| call.resource == resource);
        found
            .filter(|call| call.name == NAME || (!prefix.is_empty() && call.name.starts_with(prefix)))
            .count()
    };
    [
        count("inctrlmodels.inctrl.dev/status", ""),
        count("jobs.batch", "line-train-"),
        count("events.events.k8s.io", "line."),
    ]
}

/// Users of the two servers, who score images all the while.
struct Callers {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicUsize; 2]>,
    threads: Vec<JoinHandle<()>>,
}

impl Callers {
    async fn start(stage: &Stage) -> Self {
        let (stop, counts) =
            (Arc::new(AtomicBool::new(false)), Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]));
        let inctrl = program("inctrl-cli", "inctrl").unwrap();
        let category = stage.folder.join("held-out/bolt");
        let threads = stage.servers().await.into_iter().map(|server| {
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            let (inctrl, category) = (inctrl.clone(), category.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let answered = score(&inctrl, &server, &category);
                    counts[usize::from(!answered)].fetch_add(1, Ordering::AcqRel);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, counts, threads }
    }

    /// How many requests were answered, and how many failed.
    fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let [answered, failed] = &*self.counts;
        (answered.load(Ordering::Acquire), failed.load(Ordering::Acquire))
    }
}

/// Scores the images of a category; whether all were answered.
fn score(inctrl: &Path, server: &str, category: &Path) -> bool {
    let server = format!("http://{server}:50051");
    let mut command = Command::new(inctrl);
    command.args(["--server", &server, "--retry-for", "0s", "score"]).arg(category.join("test"));
    command.args(["--model", NAME, "--format", "json", "--class", "bolt", "--normals"]);
    command.arg(category.join("train/good")).output().unwrap().status.success()
}
