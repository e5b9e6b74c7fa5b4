//! Sees every version of a model as the API server has it, so that what happened twice is not overlooked.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::watcher::{Config, watcher};
use kube::runtime::{WatchStreamExt as _, watcher::Error};
use serde_json::Value;
use tokio::task::JoinSet;

/// What was seen of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Revisions that became active, in order.
    pub(crate) active: Vec<i64>,
    /// Weights of the canary, in order, without repetitions.
    pub(crate) weights: Vec<i64>,
    /// Digests that a revision's number stood for.
    pub(crate) digests: BTreeMap<i64, Vec<String>>,
    /// Keys of runs, in order.
    pub(crate) runs: Vec<String>,
}

/// Watches a model until it is dropped.
#[derive(Debug)]
pub(crate) struct Witness {
    seen: Arc<Mutex<Seen>>,
    _task: JoinSet<()>,
}

impl Witness {
    /// Begins.
    pub(crate) fn of(models: Api<DynamicObject>, name: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (seeing, only) = (Arc::clone(&seen), format!("metadata.name={name}"));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let versions = watcher(models, Config::default().fields(&only)).default_backoff();
            let mut versions = pin!(versions.applied_objects());
            while let Some(version) = versions.next().await {
                take_in(&seeing, version);
            }
        });
        Self { seen, _task: task }
    }

    /// What was seen until now.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn take_in(seen: &Mutex<Seen>, version: Result<DynamicObject, Error>) {
    // A watch that failed begins anew.
    let Ok(version) = version else { return };
    let status = &version.data["status"];
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let Seen { active, weights, digests, runs } = &mut *seen;
    if let Some(revision) = status["active"]["revision"].as_i64() {
        push(active, revision);
    }
    push(weights, status["canary"]["weight"].as_i64().unwrap_or_default());
    if let Some(key) = status["run"]["key"].as_str() {
        push(runs, key.to_owned());
    }
    let rows = status["history"].as_array().into_iter().flatten();
    for row in rows.chain([&status["active"], &status["candidate"]]) {
        if let (Some(revision), Some(digest)) = (row["revision"].as_i64(), row["digest"].as_str()) {
            let known: &mut Vec<String> = digests.entry(revision).or_default();
            if !known.iter().any(|known| known == digest) {
                known.push(digest.to_owned());
            }
        }
    }
}

fn push<T: PartialEq>(all: &mut Vec<T>, next: T) {
    if all.last() != Some(&next) {
        all.push(next);
    }
}

/// A status without what differs from one life to the next: times, and names that follow from the object's identity.
pub(crate) fn timeless(value: &Value) -> Value {
    const OF_ONE_LIFE: [&str; 13] = [
        "lastTransitionTime",
        "startedAt",
        "finishedAt",
        "checkedAt",
        "trainedAt",
        "promotedAt",
        "stepStartedAt",
        "failedAt",
        "key",
        "jobName",
        "uri",
        "metrics",
        "retryNotBefore",
    ];
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !OF_ONE_LIFE.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name.clone(), timeless(value))).collect())
        }
        Value::Array(all) => {
            let mut all: Vec<Value> = all.iter().map(timeless).collect();
            // Conditions come in the order of their first writing.
            all.sort_by_key(|one| one["type"].to_string());
            Value::Array(all)
        }
        other => other.clone(),
    }
}
