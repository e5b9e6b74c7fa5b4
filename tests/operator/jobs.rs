//! Jobs, as the operator's training runs are Jobs: the real controllers over pods that really run.

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::stage::{SHELL, client, eventually, namespace, pods_of};

/// A Job whose container runs `script`; `spec` are further fields of the Job.
async fn create(client: &Client, namespace: &str, script: &str, spec: serde_json::Value) -> Api<Job> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let mut job = json!({
        "metadata": { "name": "train" },
        "spec": { "template": { "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "containers": [{ "name": "train", "image": SHELL, "args": [script] }],
        }}},
    });
    job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let job: Job = serde_json::from_value(job).unwrap();
    jobs.create(&PostParams::default(), &job).await.expect("the job must be accepted");
    jobs
}

/// The condition of this type, once it holds.
async fn condition(jobs: &Api<Job>, kind: &str) -> JobCondition {
    eventually(kind, async || {
        let conditions = jobs.get("train").await.unwrap().status?.conditions?;
        conditions.into_iter().find(|condition| condition.type_ == kind && condition.status == "True")
    })
    .await
}

pub(crate) async fn a_job_completes_and_its_ttl_collects_it() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let script = "printf '{\"digest\":\"sha256:0\"}' > /dev/termination-log";
    let jobs = create(&client, &namespace, script, json!({})).await;
    condition(&jobs, "Complete").await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let [pod] = &pods_of(&pods, "train").await[..] else { panic!("a job that succeeds has one pod") };
    let status = pod.status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
    let ended = status.container_statuses.unwrap().remove(0).state.unwrap().terminated.unwrap();
    assert_eq!(
        ended.message.as_deref(),
        Some("{\"digest\":\"sha256:0\"}"),
        "last words must be in the status"
    );

    // As the operator does it: the outcome is recorded before the evidence may be collected.
    let ttl = json!({ "spec": { "ttlSecondsAfterFinished": 0 } });
    jobs.patch("train", &PatchParams::default(), &Patch::Merge(ttl)).await.unwrap();
    eventually("the end of the job and its pod", async || {
        let is_gone = jobs.get_opt("train").await.unwrap().is_none();
        (is_gone && pods_of(&pods, "train").await.is_empty()).then_some(())
    })
    .await;
}

pub(crate) async fn an_exit_code_of_the_failure_policy_fails_the_job_at_once() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let on_exit_codes = json!({ "containerName": "train", "operator": "In", "values": [64, 65, 78] });
    let spec = json!({
        "backoffLimit": 3,
        "podFailurePolicy": { "rules": [{ "action": "FailJob", "onExitCodes": on_exit_codes }] },
    });
    let jobs = create(&client, &namespace, "exit 65", spec).await;
    let failed = condition(&jobs, "Failed").await;
    assert_eq!(failed.reason.as_deref(), Some("PodFailurePolicy"));
    let pods = pods_of(&Api::namespaced(client, &namespace), "train").await;
    assert_eq!(pods.len(), 1, "a job that cannot succeed must not be tried again");
}

pub(crate) async fn other_exit_codes_use_up_the_back_off() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let jobs = create(&client, &namespace, "exit 75", json!({ "backoffLimit": 0 })).await;
    let failed = condition(&jobs, "Failed").await;
    assert_eq!(failed.reason.as_deref(), Some("BackoffLimitExceeded"));
    let pods = pods_of(&Api::namespaced(client, &namespace), "train").await;
    let codes: Vec<_> = pods.into_iter().map(|pod| exit_code(&pod)).collect();
    assert_eq!(codes, [Some(75)]);
}

pub(crate) async fn what_an_owner_owned_goes_with_it() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let owner: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "owner" } })).unwrap();
    let uid = maps.create(&PostParams::default(), &owner).await.unwrap().uid().unwrap();
    let references = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid }]);
    let jobs = create(&client, &namespace, "sleep 600", json!({})).await;
    let owned = json!({ "metadata": { "ownerReferences": references } });
    jobs.patch("train", &PatchParams::default(), &Patch::Merge(owned)).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    eventually("a running pod", async || {
        let pods = pods_of(&pods, "train").await;
        let phase = pods.first()?.status.as_ref()?.phase.clone()?;
        (phase == "Running").then_some(())
    })
    .await;
    maps.delete("owner", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the end of the job and its running pod", async || {
        let is_gone = jobs.get_opt("train").await.unwrap().is_none();
        (is_gone && pods_of(&pods, "train").await.is_empty()).then_some(())
    })
    .await;
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    Some(statuses.first()?.state.as_ref()?.terminated.as_ref()?.exit_code)
}
