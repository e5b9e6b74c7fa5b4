//! A small world for the planner: Jobs, stores and servers that do what they are told, and what a test makes happen to them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use inctrl_proto::v1::{HeadProblem, HeadState};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Action, Desired, HeadRef, Plan, plan, plan_invalid};
use crate::controller::observation::{
    ArtifactView, DatasetView, FailureClass, GateView, HeadView, JobState, JobView, Latency, Look,
    Observation, PairedView, Role, ServerReport, ServerView, Trouble,
};
use crate::controller::validate::{Allowed, validate};
use crate::crd::{InCTRLModelSpec, RevisionMetric};

/// What the API server holds a status against.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let definition = serde_json::to_value(crate::crd::definition().unwrap()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"].clone()
});

/// Fails where the API server would refuse a value for its size.
fn fits(schema: &Value, value: &Value, path: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                fits(&schema["properties"][name], field, &format!("{path}.{name}"));
            }
        }
        Value::Array(items) => {
            assert!(items.len() as u64 <= schema["maxItems"].as_u64().unwrap(), "{path} is too long");
            for item in items {
                fits(&schema["items"], item, &format!("{path}[]"));
            }
            for key in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
                let mut keys: Vec<String> =
                    items.iter().map(|item| item[key.as_str().unwrap()].to_string()).collect();
                keys.sort();
                assert!(keys.is_sorted_by(|a, b| a < b), "{path} has a {key} twice: {keys:?}");
            }
        }
        Value::String(text) => {
            let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            assert!(text.chars().count() as u64 <= most, "{path} is too long: {text}");
        }
        Value::Number(number) => {
            let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
            assert!(number.as_f64().unwrap() >= least, "{path} is too small: {number}");
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// How a trained head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quality {
    /// Distinguishes heads.
    pub(super) id: u8,
    /// On the gate data set.
    pub(super) basis_points: i64,
    /// Errors of a thousand requests.
    pub(super) errors_per_mille: i64,
    /// Mean distance of its scores from any other head's, in basis points.
    pub(super) drift: i64,
    /// Whether servers refuse it.
    pub(super) refused: bool,
}

impl Quality {
    pub(super) const GOOD: Self =
        Self { id: 1, basis_points: 9000, errors_per_mille: 0, drift: 0, refused: false };

    pub(super) fn with_id(self, id: u8) -> Self {
        Self { id, ..self }
    }

    pub(super) fn digest(self) -> String {
        format!("sha256:{:064x}", self.id)
    }
}

/// The world as the planner sees it, and what it does not see.
pub(super) struct World {
    pub(super) spec: InCTRLModelSpec,
    pub(super) seen: Observation,
    pub(super) now: Timestamp,
    /// What the next run leaves.
    pub(super) quality: Quality,
    /// Fingerprint of the data set as it is; none when the store does not answer.
    pub(super) dataset: Option<u8>,
    /// What each run left.
    published: BTreeMap<String, ArtifactView>,
    heads: BTreeMap<String, Quality>,
    /// Every action that was done.
    pub(super) done: Vec<Action>,
    /// Every event that was told.
    pub(super) told: Vec<super::EventReason>,
    /// How many times the status was written.
    pub(super) writes: usize,
}

pub(super) const EPOCH: i64 = 1_800_000_000;

impl World {
    pub(super) fn new(change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let mut spec = json!({
            "backbone": { "uri": "s3://b/clip", "sha256": "a".repeat(64) },
            "training": { "dataset": { "uri": "s3://b/d" }, "retrainOn": ["SpecChange", "DatasetChange"] },
            "gate": {
                "dataset": { "uri": "s3://b/g" },
                "metrics": [{ "name": "imageAUROC", "minBasisPoints": 8500, "maxRegressionBasisPoints": 100 }],
            },
            "rollout": {
                "steps": [{ "weight": 10, "pauseSeconds": 60 }, { "weight": 50, "pauseSeconds": 60 }, { "weight": 100, "pauseSeconds": 60 }],
                "analysis": { "maxScoreDriftBasisPoints": 500 },
            },
            "serving": { "selector": { "matchLabels": { "app": "inctrl-server" } } },
            "artifacts": { "uri": "s3://b/a" },
        });
        change(&mut spec);
        Self {
            spec: serde_json::from_value(spec).unwrap(),
            seen: Observation {
                name: "visa".to_owned(),
                namespace: "default".to_owned(),
                uid: "u-1".to_owned(),
                generation: 1,
                has_finalizer: true,
                servers: Some(Vec::new()),
                ..Observation::default()
            },
            now: Timestamp::from_second(EPOCH).unwrap(),
            quality: Quality::GOOD,
            dataset: Some(1),
            published: BTreeMap::new(),
            heads: BTreeMap::new(),
            done: Vec::new(),
            told: Vec::new(),
            writes: 0,
        }
    }

    /// A world with two servers and an active head.
    pub(super) fn serving(change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let mut world = Self::new(change);
        world.add_server("a");
        world.add_server("b");
        world.settle();
        world.end_job(Ok(()));
        world.settle();
        assert_eq!(world.active(), Some(1), "the first head must be active: {:#?}", world.seen.status);
        world
    }

    pub(super) fn plan(&self) -> Plan {
        self.plan_from(&self.seen)
    }

    /// The plan of the same world where something else was seen.
    pub(super) fn plan_from(&self, seen: &Observation) -> Plan {
        let planned = match validate(&seen.name, &self.spec, Allowed::default()) {
            Ok(model) => plan(&model, seen, self.now),
            Err(problem) => plan_invalid(&self.spec, seen, &problem, self.now),
        };
        planned.unwrap()
    }

    /// Makes the spec one that cannot be acted on, or mends it.
    pub(super) fn break_spec(&mut self, broken: bool) {
        self.spec.training.time_zone = broken.then(|| "Mars/Olympus".to_owned());
        self.spec.training.schedule = broken.then(|| "every monday".to_owned());
        self.seen.generation += 1;
    }

    /// Plans and acts until there is nothing to do, and says how often.
    pub(super) fn settle(&mut self) -> usize {
        for round in 0..24 {
            let plan = self.plan();
            if plan.actions.is_empty() && plan.status == self.seen.status {
                assert!(plan.events.is_empty(), "nothing changed, and yet was told: {:?}", plan.events);
                return round;
            }
            self.apply(&plan);
        }
        panic!("the plan must come to rest: {:#?}", self.plan());
    }

    pub(super) fn apply(&mut self, plan: &Plan) {
        if plan.status != self.seen.status {
            self.writes += 1;
            fits(&SCHEMA, &serde_json::to_value(&plan.status).unwrap(), "status");
            self.seen.status = plan.status.clone();
        }
        self.told.extend(plan.events.iter().map(|event| event.reason));
        for action in &plan.actions {
            self.act(action);
            self.done.push(action.clone());
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::AddFinalizer => self.seen.has_finalizer = true,
            Action::RemoveFinalizer => self.seen.has_finalizer = false,
            Action::ResolveDataset => {
                let failures = self.seen.dataset.as_ref().map_or(0, |look| look.failures);
                self.seen.dataset = Some(self.look_at_dataset(failures));
            }
            Action::ReadArtifact { key } => {
                let found = self
                    .published
                    .get(key)
                    .cloned()
                    .ok_or_else(|| Trouble { reason: "ArtifactMissing", message: "no manifest".to_owned() });
                self.seen.artifacts.insert(key.clone(), Look { at: self.now, failures: 0, found });
            }
            Action::CreateJob(intent) => {
                if !self.seen.jobs.iter().any(|job| job.name == intent.name) {
                    self.seen.jobs.push(JobView {
                        name: intent.name.clone(),
                        run_key: intent.key.clone(),
                        deleting: false,
                        suspended: false,
                        has_ttl: false,
                        state: JobState::Active { started_at: Some(self.now), progress: None, blocked: None },
                    });
                }
            }
            Action::SetJob { name, suspend, ttl } => {
                if let Some(job) = self.seen.jobs.iter_mut().find(|job| &job.name == name) {
                    job.suspended = *suspend;
                    job.has_ttl = ttl.is_some();
                }
            }
            Action::DeleteJob { name } => self.seen.jobs.retain(|job| &job.name != name),
            Action::Push(desired) => self.push(desired),
            Action::CleanUp { artifacts } => {
                self.seen.cleanup.servers_done = true;
                self.seen.cleanup.artifacts = artifacts.as_ref().map(|_| Ok(1));
            }
        }
    }

    fn look_at_dataset(&self, failures: u32) -> Look<DatasetView> {
        let found = match self.dataset {
            Some(id) => Ok(DatasetView {
                fingerprint: format!("sha256:{id:064x}"),
                objects: Some(i64::from(id)),
                bytes: Some(1),
            }),
            None => Err(Trouble { reason: "Unreachable", message: "the store does not answer".to_owned() }),
        };
        let failures = if found.is_ok() { 0 } else { failures + 1 };
        Look { at: self.now, failures, found }
    }

    fn push(&mut self, desired: &Desired) {
        let heads = self.heads.clone();
        for server in self.seen.servers.iter_mut().flatten() {
            let Some(report) = &mut server.report else { continue };
            let mine = desired.clone().for_server(&server.name, report);
            let former = std::mem::take(report);
            let view = |role, head: &HeadRef| {
                let known = former.heads.iter().find(|known| known.digest == head.digest);
                let refused = heads.get(&head.digest).is_some_and(|quality| quality.refused);
                HeadView {
                    digest: head.digest.clone(),
                    role,
                    state: if refused { HeadState::Refused } else { HeadState::Loaded },
                    problem: if refused { HeadProblem::SelfTest } else { HeadProblem::Unspecified },
                    message: String::new(),
                    requests: known.map_or(0, |known| known.requests),
                    errors: known.map_or(0, |known| known.errors),
                    latency: Latency::default(),
                }
            };
            report.heads.extend(mine.active.iter().map(|head| view(Role::Active, head)));
            report.heads.extend(mine.candidate.iter().map(|head| view(Role::Candidate, head)));
            report.heads.extend(mine.standby.iter().map(|head| view(Role::Standby, head)));
            report.knows_model = !report.heads.is_empty();
            let tried =
                mine.candidate.as_ref().is_some_and(|head| report.has_loaded(Role::Candidate, &head.digest));
            report.weight = if tried { mine.weight } else { 0 };
            let same = former
                .paired
                .filter(|paired| mine.candidate.as_ref().is_some_and(|head| head.digest == paired.candidate));
            report.paired = same;
        }
    }

    // What happens to the world.

    pub(super) fn wait(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    pub(super) fn add_server(&mut self, name: &str) {
        let server = ServerView { name: name.to_owned(), report: Some(ServerReport::default()) };
        let servers = self.seen.servers.as_mut().unwrap();
        if !servers.iter().any(|known| known.name == name) {
            servers.push(server);
        }
    }

    /// Ends the open Job.
    pub(super) fn end_job(&mut self, how: Result<(), FailureClass>) {
        let Some(run) = self.seen.status.run.clone() else { return };
        let key = run.key.clone().unwrap_or_default();
        let Some(job) = self.seen.jobs.iter_mut().find(|job| job.run_key == key) else { return };
        if !matches!(job.state, JobState::Active { .. }) || job.suspended {
            return;
        }
        let at = Some(self.now);
        match how {
            Ok(()) => {
                job.state = JobState::Complete { at };
                let quality = self.quality;
                self.heads.insert(quality.digest(), quality);
                let metric = |basis_points| RevisionMetric {
                    name: "imageAUROC".to_owned(),
                    basis_points: Some(basis_points),
                    value: None,
                };
                let active = self.seen.status.active.as_ref().and_then(|active| active.digest.clone());
                let beside = active.map(|digest| {
                    let former = self.heads.get(&digest).copied().unwrap_or(Quality::GOOD);
                    (digest, vec![metric(former.basis_points)])
                });
                let artifact = ArtifactView {
                    digest: quality.digest(),
                    uri: format!("s3://b/a/u-1/{key}"),
                    run_key: run.key.clone(),
                    spec_hash: run.spec_hash.clone(),
                    dataset_fingerprint: run.dataset_fingerprint.unwrap_or_default(),
                    backbone_sha256: Some("a".repeat(64)),
                    backbone_digest: "sha256:backbone".to_owned(),
                    created_at: self.now,
                    gate: Some(GateView {
                        fingerprint: "sha256:gate".to_owned(),
                        samples: 500,
                        candidate: vec![metric(quality.basis_points)],
                        active: beside,
                    }),
                };
                self.published.insert(key, artifact);
            }
            Err(class) => job.state = JobState::Failed { at, class, message: String::new() },
        }
    }

    /// Sends requests to every server that answers: each head sees them (shadow), and fails as it does.
    pub(super) fn serve(&mut self, requests: i64) {
        for report in self.seen.servers.iter_mut().flatten().filter_map(|server| server.report.as_mut()) {
            let loaded = |head: &&mut HeadView| head.state == HeadState::Loaded;
            for head in report.heads.iter_mut().filter(loaded) {
                let quality = self.heads.get(&head.digest).copied().unwrap_or(Quality::GOOD);
                head.requests += requests;
                head.errors += (requests * quality.errors_per_mille + 999) / 1000;
                if head.role == Role::Candidate {
                    let count = report.paired.as_ref().map_or(0, |paired| paired.count) + requests;
                    report.paired = Some(PairedView {
                        candidate: head.digest.clone(),
                        count,
                        mean_absolute_difference: quality.drift as f64 / 10_000.0,
                    });
                }
            }
        }
    }

    /// Time passes, requests come, until the candidate is decided.
    pub(super) fn roll_out(&mut self) {
        for _ in 0..40 {
            if self.seen.status.candidate.is_none() {
                return;
            }
            self.wait(61);
            self.serve(200);
            self.settle();
        }
        panic!("the candidate must be decided: {:#?}", self.seen.status);
    }

    /// Trains another head with a changed spec, and settles.
    pub(super) fn retrain(&mut self, quality: Quality) {
        self.train(quality);
        self.settle();
    }

    /// The same until its Job has ended.
    pub(super) fn train(&mut self, quality: Quality) {
        self.quality = quality;
        self.spec.training.hyperparameters.seed += 1;
        self.seen.generation += 1;
        self.settle();
        self.end_job(Ok(()));
    }

    /// How many times a Job was made.
    pub(super) fn creations(&self) -> usize {
        self.done.iter().filter(|action| matches!(action, Action::CreateJob(_))).count()
    }

    pub(super) fn quality_of(&self, digest: &str) -> Quality {
        self.heads.get(digest).copied().unwrap_or(Quality::GOOD)
    }

    pub(super) fn active(&self) -> Option<i64> {
        self.seen.status.active.as_ref().map(|active| active.revision)
    }

    pub(super) fn condition(&self, type_: crate::crd::conditions::ConditionType) -> (bool, &str) {
        let found = crate::crd::conditions::find(&self.seen.status.conditions, type_).unwrap();
        (found.status == crate::crd::conditions::ConditionStatus::True, found.reason.as_str())
    }
}
