//! A pod's status as the node reports it.

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::files::Waiting;

/// How one container is.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// Not running, for this reason.
    Waiting(Waiting),
    /// Running since.
    Running { since: String },
    /// Ended.
    Terminated(End),
}

/// How a container ended.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) code: i32,
    pub(super) message: String,
    pub(super) began: String,
    pub(super) ended: String,
}

/// What is known of one container.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) state: State,
    pub(super) last: Option<End>,
    pub(super) restarts: u32,
    pub(super) is_ready: bool,
}

impl Report {
    pub(super) fn new() -> Self {
        let waiting = Waiting::mount("");
        Self { state: State::Waiting(waiting), last: None, restarts: 0, is_ready: false }
    }

    /// The exit code, where it has ended.
    pub(super) fn code(&self) -> Option<i32> {
        match &self.state {
            State::Terminated(End { code, .. }) => Some(*code),
            State::Waiting(_) | State::Running { .. } => None,
        }
    }

    fn json(&self, container: &Container) -> Value {
        let state = match &self.state {
            State::Waiting(Waiting { reason, message }) => {
                json!({ "waiting": { "reason": reason, "message": message } })
            }
            State::Running { since } => json!({ "running": { "startedAt": since } }),
            State::Terminated(end) => json!({ "terminated": end.json() }),
        };
        json!({
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "ready": self.is_ready,
            "started": matches!(self.state, State::Running { .. }),
            "restartCount": self.restarts,
            "state": state,
            "lastState": self.last.as_ref().map_or(json!({}), |end| json!({ "terminated": end.json() })),
        })
    }
}

impl End {
    fn json(&self) -> Value {
        let Self { code, message, began, ended } = self;
        let reason = if *code == 0 { "Completed" } else { "Error" };
        json!({
            "exitCode": code, "reason": reason, "message": message, "startedAt": began, "finishedAt": ended,
        })
    }
}

/// What a node knows of a pod.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) address: &'a str,
    pub(super) began: &'a str,
    /// In the order of the pod's init containers.
    pub(super) init: &'a [Report],
    /// In the order of its containers.
    pub(super) main: &'a [Report],
}

/// The status of a pod from that of its containers; `is_over` when none will run again.
pub(super) fn of_pod(pod: &Pod, known: &Known<'_>, is_over: bool) -> Value {
    let &Known { address, began: since, init, main } = known;
    let spec = pod.spec.clone().unwrap_or_default();
    let initialized = init.iter().all(|report| report.code() == Some(0));
    let began = main.iter().any(|report| !matches!(report.state, State::Waiting(_)) || 0 < report.restarts);
    let ready = main.iter().all(|report| report.is_ready);
    let failed = init.iter().chain(main).any(|report| report.code().is_some_and(|code| code != 0));
    let phase = match (is_over, failed || !initialized, began) {
        (true, true, _) => "Failed",
        (true, false, _) => "Succeeded",
        (false, _, true) => "Running",
        (false, _, false) => "Pending",
    };
    let condition = |name: &str, holds: bool| {
        let holds = if holds { "True" } else { "False" };
        json!({ "type": name, "status": holds, "lastTransitionTime": now() })
    };
    let containers = |reports: &[Report], containers: &[Container]| -> Vec<Value> {
        reports.iter().zip(containers).map(|(report, container)| report.json(container)).collect()
    };
    json!({ "status": {
        "phase": phase,
        "hostIP": "127.0.0.1",
        "podIP": address,
        "podIPs": [{ "ip": address }],
        "startTime": since,
        "conditions": [
            condition("PodReadyToStartContainers", began),
            condition("Initialized", initialized),
            condition("Ready", ready && !is_over),
            condition("ContainersReady", ready && !is_over),
        ],
        "initContainerStatuses": containers(init, spec.init_containers.as_deref().unwrap_or_default()),
        "containerStatuses": containers(main, &spec.containers),
    }})
}

/// Now, as the API writes times.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Now, as the API writes times of leases.
pub(super) fn now_micro() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
