//! Faults of every call: whatever the API server does with one of them, and wherever the operator is killed, the end is the same
//! as without, and no run is made twice.

use std::collections::BTreeSet;

use inctrl_storage::manifest::{
    BackboneRecord, DatasetRecord, GateReport, HEAD_NAME, HeadRecord, Metric, RunRecord,
};
use inctrl_storage::publish::PartSource;
use inctrl_storage::{Digest, Fingerprint, FingerprintMode, Part, Store, StoreOptions, publish};

use super::*;
use crate::controller::build::job::JOB_ANNOTATION;

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Refused with this status.
    Refused(u16),
    /// Never arrives.
    Lost,
    /// Done; the answer never arrives.
    Unheard,
    /// Done; the answer comes when nobody waits for it any more.
    Late,
    /// Done twice; the second answer arrives.
    Twice,
    /// Done; the caches hear of it, and of everything else, only some rounds later.
    Deaf,
    /// The operator is killed before it makes the call.
    KilledBefore,
    /// The operator is killed before it hears the answer.
    KilledAfter,
}

const FAULTS: [Fault; 12] = [
    Fault::Refused(409),
    Fault::Refused(410),
    Fault::Refused(429),
    Fault::Refused(500),
    Fault::Refused(504),
    Fault::Lost,
    Fault::Unheard,
    Fault::Late,
    Fault::Twice,
    Fault::Deaf,
    Fault::KilledBefore,
    Fault::KilledAfter,
];

/// Rounds for which caches hear nothing.
const DEAF_ROUNDS: usize = 4;

/// What is left when everything is over.
#[derive(Debug, PartialEq)]
struct End {
    /// The status before the model was deleted, without times and versions.
    status: Value,
    /// Jobs that were made, each as often as it was.
    made: Vec<String>,
}

/// Without fault: the end, how many calls it took, and how often each event was told.
struct Played {
    end: End,
    calls: usize,
    told: BTreeMap<String, usize>,
}

/// Plays a model's life: its first head passes the gate and waits for servers, one of another spec supersedes it and is refused,
/// the model is deleted with its artifacts.
async fn play(fault: Option<(usize, Fault)>) -> Played {
    let root = data();
    let mut stage = Stage::new(root.path());
    *Server::lock(&stage.server.fault) = fault;
    change(&stage, |model| {
        model["metadata"]["finalizers"] = json!([]);
        model["spec"]["deletionPolicy"] = json!("Delete");
        // Names of runs follow from the data: from its bytes, not from when they were written.
        model["spec"]["training"]["dataset"]["fingerprint"] = json!("Content");
    });
    live(&mut stage, root.path()).await;
    let passed = Server::lock(&stage.server.model).clone();
    assert_eq!(passed["status"]["candidate"]["revision"], 1, "{fault:?}: {passed:#}");

    change(&stage, |model| {
        model["metadata"]["generation"] = json!(2);
        model["spec"]["training"]["hyperparameters"] = json!({ "epochs": 5 });
    });
    live(&mut stage, root.path()).await;
    let status = timeless(Server::lock(&stage.server.model)["status"].clone());

    change(&stage, |model| model["metadata"]["deletionTimestamp"] = json!(Timestamp::now().to_string()));
    live(&mut stage, root.path()).await;
    assert!(Server::lock(&stage.server.model).is_null(), "{fault:?}: the model must be let go");
    assert!(Server::lock(&stage.server.jobs).is_empty(), "{fault:?}: no job may be left");
    let left = files(&root.path().join("data/a"));
    assert!(left.is_empty(), "{fault:?}: artifacts must be deleted, not {left:?}");
    let made = Server::lock(&stage.server.made).clone();
    let calls = *Server::lock(&stage.server.count);
    let told = Server::lock(&stage.server.told).clone();
    Played { end: End { status, made }, calls, told }
}

/// Changes the object as a user does.
fn change(stage: &Stage, change: impl FnOnce(&mut Value)) {
    let mut model = Server::lock(&stage.server.model);
    change(&mut model);
    bump(&mut model);
}

/// Rounds until nothing happens any more. Jobs are run between them, and the operator is started anew where it was killed.
async fn live(stage: &mut Stage, root: &Path) {
    stage.cache();
    let (mut quiet, mut deaf) = (0, 0);
    for _ in 0..100 {
        let ended = stage.controller.round(&key()).await;
        let calls = stage.server.calls();
        if std::mem::take(&mut *Server::lock(&stage.server.killed)) {
            *stage = Stage::of(Arc::clone(&stage.server), root);
            quiet = 0;
            continue;
        }
        if std::mem::take(&mut *Server::lock(&stage.server.deafens)) {
            deaf = DEAF_ROUNDS;
        }
        let ran = run_jobs(&stage.server, root).await;
        if deaf > 0 {
            deaf -= 1;
        } else {
            stage.cache();
        }
        let rests = calls.iter().all(|call| call.method == Method::GET);
        quiet = if ended.is_ok() && rests && !ran && deaf == 0 { quiet + 1 } else { 0 };
        if quiet == 3 {
            return;
        }
    }
    panic!("must come to rest: {:#}", Server::lock(&stage.server.model));
}

/// Does what Job controller, trainer and collector do; whether there was anything to do.
async fn run_jobs(server: &Server, root: &Path) -> bool {
    let jobs = Server::lock(&server.jobs).clone();
    let mut ran = false;
    for (name, mut job) in jobs {
        if job["status"]["conditions"].is_null() {
            let config = &job["spec"]["template"]["metadata"]["annotations"][JOB_ANNOTATION];
            train(&serde_yaml::from_str(config.as_str().unwrap()).unwrap(), root).await;
            let now = Timestamp::now().to_string();
            job["status"] = json!({
                "completionTime": now,
                "conditions": [{ "type": "Complete", "status": "True", "lastTransitionTime": now }],
            });
            Server::lock(&server.jobs).insert(name, job);
            ran = true;
        } else if !job["spec"]["ttlSecondsAfterFinished"].is_null() {
            // At once: whoever needs it after its outcome was recorded has lost.
            Server::lock(&server.jobs).remove(&name);
            ran = true;
        }
    }
    ran
}

/// Leaves an artifact as the trainer does. Ten epochs make a good head, fewer do not.
async fn train(config: &Value, root: &Path) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let key = text(&config["runKey"]);
    let good = config["hyperparameters"]["epochs"] == 10;
    let fingerprint = |digest: Digest| Fingerprint {
        fingerprint: digest,
        mode: FingerprintMode::Manifest,
        objects: 1,
        bytes: 1,
    };
    let dataset = |part: &Value, digest| DatasetRecord {
        uri: text(&part["uri"]).parse().unwrap(),
        fingerprint: fingerprint(digest),
        labels: None,
    };
    let read = text(&config["dataset"]["fingerprint"]).parse().unwrap();
    let auroc = Metric { name: "imageAUROC".to_owned(), split: None, value: if good { 0.9 } else { 0.5 } };
    let record = RunRecord {
        created_at: Timestamp::UNIX_EPOCH,
        trainer: "test".to_owned(),
        run_key: Some(key.clone()),
        spec_hash: Some(text(&config["specHash"]).parse().unwrap()),
        head: HeadRecord { kind: "paper".to_owned(), part: HEAD_NAME.to_owned() },
        backbone: BackboneRecord {
            name: "b".to_owned(),
            digest: Digest::of("b"),
            sha256: Digest::from_hex(&text(&config["backbone"]["sha256"])).ok(),
        },
        dataset: dataset(&config["dataset"], read),
        hyperparameters: BTreeMap::new(),
        gate: Some(GateReport {
            dataset: dataset(&config["gate"]["dataset"], Digest::of("gate")),
            samples: 500,
            candidate: vec![auroc],
            active: None,
        }),
        self_test: None,
    };
    let head = Part { name: HEAD_NAME.to_owned(), source: PartSource::Bytes(key.into_bytes().into()) };
    let options = StoreOptions { pvc_root: root.to_owned(), ..StoreOptions::anonymous() };
    let store = Store::open(&text(&config["output"]["uri"]).parse().unwrap(), &options).unwrap();
    publish(&store, record, vec![head], None).await.unwrap();
}

/// The status without what depends on when it was written.
fn timeless(mut status: Value) -> Value {
    match &mut status {
        Value::Object(fields) => {
            fields.retain(|name, _| !(name.ends_with("At") || name.ends_with("Time")));
            for field in fields.values_mut() {
                *field = timeless(field.take());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = timeless(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    status
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Regressions 1 and 16.
#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_one_call_the_end_is_the_same_and_no_run_is_made_twice() {
    let Played { end: expected, calls, told } = play(None).await;
    assert_eq!(expected.made.len(), 2, "two specs are two runs");
    assert_eq!(expected.status["history"][0]["phase"], "Rejected", "{:#}", expected.status);
    assert_eq!(expected.status["history"][1]["phase"], "Superseded", "{:#}", expected.status);
    for event in ["TrainingStarted", "TrainingSucceeded", "GatePassed", "GateFailed", "ArtifactsDeleted"] {
        assert!(told.contains_key(event), "{event} must be told: {told:?}");
    }
    let mut cuts = BTreeSet::new();
    for at in 0..calls {
        for fault in FAULTS {
            let played = play(Some((at, fault))).await;
            assert_eq!(played.end, expected, "call {at}, {fault:?}");
            for (event, count) in played.told {
                // That a model goes is told before it is let go, and again where that failed.
                let again = fault == Fault::Twice || event == "ArtifactsDeleted";
                let most = told.get(&event).copied().unwrap_or_default() + usize::from(again);
                assert!(count <= most, "call {at}, {fault:?}: {event} was told {count} times");
            }
            cuts.insert((at, format!("{fault:?}")));
        }
    }
    assert_eq!(cuts.len(), calls * FAULTS.len());
}
