//! Jobs and their pods, reduced to what the planner needs.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use serde_json::Value;

use crate::controller::build::job::{CONTAINER, RUN_LABEL};
use crate::controller::observation::{FailureClass, JobState, JobView, Trouble};

/// A Job, with the pods that it made and what its controller complained of (`FailedCreate`), if it has no pod.
pub(super) fn view(job: &Job, pods: &[Arc<Pod>], complaint: Option<&str>) -> JobView {
    let labels = job.metadata.labels.as_ref();
    let spec = job.spec.as_ref();
    JobView {
        name: job.metadata.name.clone().unwrap_or_default(),
        run_key: labels.and_then(|labels| labels.get(RUN_LABEL)).cloned().unwrap_or_default(),
        deleting: job.metadata.deletion_timestamp.is_some(),
        suspended: spec.and_then(|spec| spec.suspend).unwrap_or(false),
        has_ttl: spec.is_some_and(|spec| spec.ttl_seconds_after_finished.is_some()),
        state: state(job, pods, complaint),
    }
}

/// The words of [`job_state`].
pub const JOB_STATES: [&str; 4] = ["active", "suspended", "complete", "failed"];

/// One word for how far a Job is.
pub fn job_state(job: &Job) -> &'static str {
    let [active, suspended, complete, failed] = JOB_STATES;
    if condition(job, "Complete").is_some() {
        complete
    } else if condition(job, "Failed").is_some() {
        failed
    } else if job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false) {
        suspended
    } else {
        active
    }
}

/// Whether a Job has no pod that could say what is wrong, so that its events have to be asked.
pub(super) fn is_without_pods(job: &Job, pods: &[Arc<Pod>]) -> bool {
    let ended = ["Complete", "Failed"].into_iter().any(|type_| condition(job, type_).is_some());
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false);
    !ended && !suspended && pods.is_empty()
}

/// Whether a pod's container is still to be made: the kubelet waits for what it mounts, and says in the pod's status no more.
pub(super) fn is_being_made(pods: &[Arc<Pod>]) -> bool {
    pods.iter().any(|pod| waiting(pod) == Some("ContainerCreating"))
}

fn waiting(pod: &Pod) -> Option<&str> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == CONTAINER)?;
    status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

fn condition<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

fn state(job: &Job, pods: &[Arc<Pod>], complaint: Option<&str>) -> JobState {
    let status = job.status.as_ref();
    let time = |condition: &JobCondition| condition.last_transition_time.as_ref().map(|time| time.0);
    if let Some(complete) = condition(job, "Complete") {
        let at = status.and_then(|status| status.completion_time.as_ref()).map(|time| time.0);
        return JobState::Complete { at: whole(at.or_else(|| time(complete))) };
    }
    let ends = pods.iter().filter_map(|pod| terminated(pod)).collect::<Vec<_>>();
    let last = ends.iter().max_by_key(|end| end.finished_at.as_ref().map(|time| time.0));
    if let Some(failed) = condition(job, "Failed") {
        return JobState::Failed {
            at: whole(time(failed)),
            class: class(failed, last.copied()),
            message: said(last.copied()).unwrap_or_default(),
        };
    }
    JobState::Active {
        started_at: whole(status.and_then(|status| status.start_time.as_ref()).map(|time| time.0)),
        // One that ended well is done: the Job says so in a moment.
        progress: last
            .filter(|end| end.exit_code != 0)
            .and_then(|end| termination(end)?.get("progressPercent")?.as_i64()),
        blocked: pods.iter().find_map(|pod| blocked(pod)).or_else(|| complaint.map(of_complaint)),
    }
}

/// What is written is read back in whole seconds.
fn whole(time: Option<Timestamp>) -> Option<Timestamp> {
    time.and_then(|time| Timestamp::from_second(time.as_second()).ok())
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER)?.state.as_ref()?.terminated.as_ref()
}

/// The trainer's last words, where they are its JSON.
fn termination(end: &ContainerStateTerminated) -> Option<Value> {
    serde_json::from_str(end.message.as_deref()?).ok()
}

fn said(end: Option<&ContainerStateTerminated>) -> Option<String> {
    let end = end?;
    let message = termination(end).and_then(|said| said.get("message")?.as_str().map(str::to_owned));
    message.or_else(|| end.message.clone().filter(|message| !message.trim_start().starts_with('{')))
}

fn class(failed: &JobCondition, end: Option<&ContainerStateTerminated>) -> FailureClass {
    if failed.reason.as_deref() == Some("DeadlineExceeded") {
        return FailureClass::Deadline;
    }
    if end.is_some_and(|end| end.reason.as_deref() == Some("OOMKilled")) {
        return FailureClass::OutOfMemory;
    }
    // The pod may be gone already; the Job's own words then name the exit code.
    let code = end.map(|end| end.exit_code).or_else(|| exit_code(failed.message.as_deref()?));
    match code {
        Some(64 | 78) => FailureClass::BadConfig,
        Some(65) => FailureClass::BadData,
        Some(_) | None => FailureClass::Infrastructure,
    }
}

/// The number after "exit code" in what the Job controller says of a `podFailurePolicy`.
fn exit_code(message: &str) -> Option<i32> {
    let (_, rest) = message.split_once("exit code ")?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// What keeps a pod from running. Names no pod and no count: the text must not change while the reason is the same.
fn blocked(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let trouble = |reason, message: &str| Some(Trouble { reason, message: message.to_owned() });
    match waiting(pod) {
        Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull") => {
            return trouble(
                "ImagePullFailed",
                "the training image cannot be pulled; see spec.training.image and the pull secrets",
            );
        }
        Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
            return trouble(
                "ContainerFailed",
                "the training container cannot be made; kubectl describe its pod",
            );
        }
        Some(_) | None => {}
    }
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled")?;
    if scheduled.status != "False" {
        return None;
    }
    let message = scheduled.message.as_deref().unwrap_or_default();
    if message.contains("persistentvolumeclaim") {
        return trouble(
            "VolumeClaimNotFound",
            "a volume claim that the spec names is not there or not bound; see the pvc:// URIs",
        );
    }
    trouble("Unschedulable", "no node can take the training pod; see spec.training.resources")
}

fn of_complaint(complaint: &str) -> Trouble {
    let (reason, message) = if complaint.contains("exceeded quota") {
        (
            "QuotaExceeded",
            "the namespace's quota has no room for the training pod; see spec.training.resources",
        )
    } else if complaint.contains("serviceaccount") {
        ("ServiceAccountNotFound", "the service account of training pods is not in this namespace; make it")
    } else if complaint.contains("PodSecurity") {
        ("PodRefused", "the namespace's pod security level refuses the training pod")
    } else {
        ("PodRefused", "the API server refuses the training pod; kubectl describe its Job")
    };
    Trouble { reason, message: message.to_owned() }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values written in place read best handed over")]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(status: Value) -> Job {
        serde_json::from_value(json!({
            "metadata": { "name": "visa-train-abc", "labels": { RUN_LABEL: "abc" } },
            "spec": { "template": {} },
            "status": status,
        }))
        .unwrap()
    }

    fn failed(reason: &str, message: &str) -> Job {
        job(json!({ "conditions": [
            { "type": "FailureTarget", "status": "True" },
            { "type": "Failed", "status": "True", "reason": reason, "message": message },
        ]}))
    }

    fn pod(state: Value) -> Arc<Pod> {
        let pod = serde_json::from_value(json!({ "status": { "containerStatuses": [{
            "name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]}}));
        Arc::new(pod.unwrap())
    }

    fn class_of(job: &Job, pods: &[Arc<Pod>]) -> FailureClass {
        match view(job, pods, None).state {
            JobState::Failed { class, .. } => class,
            other => panic!("must have failed: {other:?}"),
        }
    }

    #[test]
    fn a_failure_is_sorted_by_its_last_exit_code() {
        let policy = failed(
            "PodFailurePolicy",
            "Container trainer for pod default/x failed with exit code 65 matching FailJob rule at index 1",
        );
        assert_eq!(class_of(&policy, &[]), FailureClass::BadData);
        let usage = pod(json!({ "terminated": { "exitCode": 64 } }));
        assert_eq!(class_of(&failed("PodFailurePolicy", ""), &[Arc::clone(&usage)]), FailureClass::BadConfig);
        let memory = pod(json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }));
        assert_eq!(
            class_of(&failed("PodFailurePolicy", ""), &[Arc::clone(&memory)]),
            FailureClass::OutOfMemory
        );
        let killed = pod(json!({ "terminated": { "exitCode": 137, "reason": "Error" } }));
        assert_eq!(
            class_of(&failed("BackoffLimitExceeded", ""), &[killed]),
            FailureClass::Infrastructure,
            "a pod that was deleted did not run out of memory"
        );
        assert_eq!(class_of(&failed("DeadlineExceeded", ""), &[]), FailureClass::Deadline);
        let early = pod(json!({ "terminated": { "exitCode": 65, "finishedAt": "2026-01-01T00:00:00Z" } }));
        let late = pod(json!({ "terminated": { "exitCode": 75, "finishedAt": "2026-01-02T00:00:00Z" } }));
        assert_eq!(
            class_of(&failed("BackoffLimitExceeded", ""), &[late, early]),
            FailureClass::Infrastructure
        );
    }

    #[test]
    fn the_trainers_own_words_are_passed_on() {
        let spoken = pod(
            json!({ "terminated": { "exitCode": 65, "message": "{\"message\":\"no anomalies\",\"progressPercent\":40}" } }),
        );
        let JobState::Failed { message, .. } =
            view(&failed("PodFailurePolicy", ""), &[Arc::clone(&spoken)], None).state
        else {
            panic!("must have failed");
        };
        assert_eq!(message, "no anomalies");
        let JobState::Active { progress, .. } = view(&job(json!({})), &[Arc::clone(&spoken)], None).state
        else {
            panic!("must be active");
        };
        assert_eq!(progress, Some(40));
        let done = pod(json!({ "terminated": { "exitCode": 0, "message": "{\"progressPercent\":100}" } }));
        let JobState::Active { progress, .. } = view(&job(json!({})), &[done], None).state else {
            panic!("must be active");
        };
        assert_eq!(progress, None, "a status write for the last percent is one too many");
    }

    /// Regression 2.
    #[test]
    fn what_keeps_a_pod_from_starting_is_named_without_naming_the_pod() {
        let reason =
            |pods: &[Arc<Pod>], complaint: Option<&str>| match view(&job(json!({})), pods, complaint).state {
                JobState::Active { blocked, .. } => blocked.unwrap().reason,
                other => panic!("must be active: {other:?}"),
            };
        let unpullable = pod(json!({ "waiting": { "reason": "ImagePullBackOff" } }));
        assert_eq!(reason(&[Arc::clone(&unpullable)], None), "ImagePullFailed");
        let status = serde_json::from_value(json!({ "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: persistentvolumeclaim \"clip\" not found.",
        }]}))
        .unwrap();
        let unscheduled = Arc::new(Pod { status, ..Pod::default() });
        assert_eq!(reason(&[unscheduled], None), "VolumeClaimNotFound");
        assert_eq!(reason(&[], Some("pods \"x\" is forbidden: exceeded quota: q")), "QuotaExceeded");
        assert_eq!(
            reason(&[], Some("error looking up service account d/t: serviceaccount \"t\" not found")),
            "ServiceAccountNotFound"
        );
    }

    /// Regression 6.
    #[test]
    fn pods_of_other_names_that_fail_alike_look_alike() {
        let failing = |name: &str| {
            let pod = serde_json::from_value(json!({
                "metadata": { "name": name, "uid": name },
                "status": { "containerStatuses": [{
                    "name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "waiting": {
                        "reason": "ErrImagePull", "message": format!("Back-off pulling image for pod {name}"),
                    }},
                }]},
            }));
            view(&job(json!({ "failed": name.len() })), &[Arc::new(pod.unwrap())], None)
        };
        assert_eq!(failing("visa-train-abc-x1"), failing("visa-train-abc-yy22"));
        let forbidden = |name: &str| {
            let complaint = format!("pods {name:?} is forbidden: exceeded quota: q, requested: pods=1");
            view(&job(json!({})), &[], Some(&complaint))
        };
        assert_eq!(forbidden("visa-train-abc-x1"), forbidden("visa-train-abc-yy22"));
    }

    #[test]
    fn completion_is_read_in_whole_seconds() {
        let done = job(json!({
            "completionTime": "2026-01-01T00:00:00Z",
            "conditions": [{ "type": "Complete", "status": "True" }],
        }));
        assert_eq!(
            view(&done, &[], None).state,
            JobState::Complete { at: Some("2026-01-01T00:00:00Z".parse().unwrap()) }
        );
        assert!(!is_without_pods(&done, &[]));
        assert_eq!(job_state(&done), "complete");
        assert_eq!(job_state(&failed("DeadlineExceeded", "")), "failed");
        assert_eq!(job_state(&job(json!({}))), "active");
        assert!(is_without_pods(&job(json!({})), &[]));
    }
}
