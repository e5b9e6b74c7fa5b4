//! What the operator shows of itself. No label holds an object's name: ten thousand models are ten thousand series.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use inctrl_telemetry::prometheus_client::encoding::EncodeLabelSet;
use inctrl_telemetry::prometheus_client::metrics::counter::Counter;
use inctrl_telemetry::prometheus_client::metrics::family::Family;
use inctrl_telemetry::prometheus_client::metrics::gauge::Gauge;
use inctrl_telemetry::prometheus_client::metrics::histogram::Histogram;
use inctrl_telemetry::prometheus_client::registry::{Registry, Unit};

use crate::controller::plan::EventReason;

/// Buckets of times: a round without a change takes microseconds, one with a data-set listing minutes.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// Handles; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    reconcile: Histogram,
    errors: Family<Reason, Counter>,
    status: Family<Outcome, Counter>,
    transitions: Family<Reason, Counter>,
    gate_results: Family<Outcome, Counter>,
    rollbacks: Family<Cause, Counter>,
    training_jobs: Family<State, Gauge>,
    calls: Family<Call, Histogram, fn() -> Histogram>,
    pushes: Family<Outcome, Counter>,
    leader: Gauge,
    epoch: Gauge,
    queue_depth: Gauge,
    queue_overdue: Gauge<f64, AtomicU64>,
    watch_age: Family<Kind, Gauge<f64, AtomicU64>>,
    models: Family<Phase, Gauge>,
    servers: Family<Outcome, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    call: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: String,
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    /// Registers everything.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconcile: seconds(),
            errors: Family::default(),
            status: Family::default(),
            transitions: Family::default(),
            gate_results: Family::default(),
            rollbacks: Family::default(),
            training_jobs: Family::default(),
            calls: Family::new_with_constructor(seconds),
            pushes: Family::default(),
            leader: Gauge::default(),
            epoch: Gauge::default(),
            queue_depth: Gauge::default(),
            queue_overdue: Gauge::default(),
            watch_age: Family::default(),
            models: Family::default(),
            servers: Family::default(),
        };
        let ours = registry.sub_registry_with_prefix("inctrl_operator");
        let duration = "Time of one round over an object";
        ours.register_with_unit("reconcile_duration", duration, Unit::Seconds, metrics.reconcile.clone());
        ours.register("reconcile_errors", "Rounds that failed, by step", metrics.errors.clone());
        ours.register(
            "status_patches",
            "Status drafts by what became of them: applied, skipped, conflict, failed",
            metrics.status.clone(),
        );
        ours.register(
            "transitions",
            "Transitions of models, by the reason of their event",
            metrics.transitions.clone(),
        );
        ours.register("gate_results", "Heads that met the gate or did not", metrics.gate_results.clone());
        ours.register(
            "rollbacks",
            "Heads that were taken back, by the reason in the history",
            metrics.rollbacks.clone(),
        );
        ours.register("training_jobs", "Training Jobs by state", metrics.training_jobs.clone());
        let calls = "Time of calls to the API server, by call and result";
        ours.register_with_unit("api_call_duration", calls, Unit::Seconds, metrics.calls.clone());
        ours.register(
            "rollout_pushes",
            "Desired states sent to servers, by what became of them",
            metrics.pushes.clone(),
        );
        ours.register("leader", "1 while this process acts", metrics.leader.clone());
        ours.register("leader_epoch", "Epoch of this process's leadership; 0 without", metrics.epoch.clone());
        ours.register(
            "queue_depth",
            "Objects that wait for a round, now or later",
            metrics.queue_depth.clone(),
        );
        let overdue = "How long the longest overdue object waits";
        ours.register_with_unit("queue_overdue", overdue, Unit::Seconds, metrics.queue_overdue.clone());
        let age = "Time since a watch was last known to be alive";
        ours.register_with_unit("watch_last_event_age", age, Unit::Seconds, metrics.watch_age.clone());
        ours.register("models", "Models by phase", metrics.models.clone());
        ours.register("servers", "Scoring servers that answer and that do not", metrics.servers.clone());
        metrics
    }

    /// A round ended.
    pub fn round(&self, took: Duration) {
        self.reconcile.observe(took.as_secs_f64());
    }

    /// A round failed in a step.
    pub fn failed(&self, step: &'static str) {
        self.errors.get_or_create(&Reason { reason: step }).inc();
    }

    /// What became of a status draft: `applied`, `skipped`, `conflict`, `failed`.
    pub fn status(&self, result: &'static str) {
        self.status.get_or_create(&Outcome { result }).inc();
    }

    /// A transition was told of.
    pub fn transition(&self, reason: EventReason) {
        self.transitions.get_or_create(&Reason { reason: reason.as_str() }).inc();
        let result = match reason {
            EventReason::GatePassed => "passed",
            EventReason::GateFailed => "failed",
            _ => return,
        };
        self.gate_results.get_or_create(&Outcome { result }).inc();
    }

    /// A head was taken back for this reason.
    pub fn rollback(&self, reason: &str) {
        self.rollbacks.get_or_create(&Cause { reason: reason.to_owned() }).inc();
    }

    /// How many training Jobs are in each state.
    pub fn training_jobs(&self, states: impl IntoIterator<Item = (&'static str, i64)>) {
        for (state, count) in states {
            self.training_jobs.get_or_create(&State { state }).set(count);
        }
    }

    /// A call to the API server ended.
    pub fn call(&self, call: &'static str, result: &'static str, took: Duration) {
        self.calls.get_or_create(&Call { call, result }).observe(took.as_secs_f64());
    }

    /// What became of a push: `applied`, `refused`, `failed`.
    pub fn push(&self, result: &'static str) {
        self.pushes.get_or_create(&Outcome { result }).inc();
    }

    /// Whether we act.
    pub fn leader(&self, epoch: Option<i64>) {
        self.leader.set(i64::from(epoch.is_some()));
        self.epoch.set(epoch.unwrap_or(0));
    }

    /// How long the queue is.
    pub fn queue(&self, depth: usize, overdue: Duration) {
        self.queue_depth.set(depth as i64);
        self.queue_overdue.set(overdue.as_secs_f64());
    }

    /// How old the newest sign of life of a watch is.
    pub fn watch(&self, kind: &'static str, age: Duration) {
        self.watch_age.get_or_create(&Kind { kind }).set(age.as_secs_f64());
    }

    /// How many models are in each phase.
    pub fn models(&self, phases: impl IntoIterator<Item = (String, i64)>) {
        self.models.clear();
        for (phase, count) in phases {
            self.models.get_or_create(&Phase { phase }).set(count);
        }
    }

    /// How many servers answer, and how many do not.
    pub fn servers(&self, answering: usize, silent: usize) {
        self.servers.get_or_create(&Outcome { result: "answering" }).set(answering as i64);
        self.servers.get_or_create(&Outcome { result: "silent" }).set(silent as i64);
    }
}
