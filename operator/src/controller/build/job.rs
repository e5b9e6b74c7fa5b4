//! The training Job: restricted, without an API token, its failures sorted by exit code.

use serde_json::{Value, json};

use super::job_config::JobConfig;
use super::volumes::{self, Volumes};
use crate::controller::plan::JobIntent;
use crate::controller::validate::ValidModel;

/// Label with the model's name on everything that is made for it.
pub const MODEL_LABEL: &str = "inctrl.dev/model";

/// Label with the run's key on its Job and pods.
pub const RUN_LABEL: &str = "inctrl.dev/run";

/// Annotation of the pod with its `job.yaml`.
pub const JOB_ANNOTATION: &str = "inctrl.dev/job";

/// Name of the container.
pub const CONTAINER: &str = "trainer";

/// Where `job.yaml` is mounted.
const JOB_FOLDER: &str = "/etc/inctrl/job";

/// User and group of the container: nobody in particular, and not root.
const USER: i64 = 65_532;

/// Exit codes that no repetition helps: usage, data, configuration. 137 is none of them: so ends what ran out of memory, but also
/// what was killed for other reasons, and the policy does not see which.
const FINAL_EXITS: [i32; 3] = [64, 65, 78];

/// Seconds from SIGTERM to SIGKILL: for the step or the batch that is under way, and for the upload of the checkpoint.
const GRACE: i64 = 120;

/// Whose Job it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner<'a> {
    /// Namespace of the model.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// What the operator decides for all Jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobDefaults {
    /// Image where a spec names none.
    pub image: String,
    /// Account that training pods run as; the namespace's default where absent.
    pub service_account: Option<String>,
}

/// Why a Job cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The artifact's folder has no URI.
    #[error("the folder of the run's artifact has no URI")]
    Uri(#[from] inctrl_storage::UriError),
    /// `job.yaml` cannot be written.
    #[error("job.yaml cannot be written")]
    Yaml(#[from] serde_yaml::Error),
}

/// The Job of a run.
pub fn build(
    model: &ValidModel,
    owner: &Owner<'_>,
    intent: &JobIntent,
    defaults: &JobDefaults,
) -> Result<Value, BuildError> {
    let Owner { namespace, name, uid } = owner;
    let training = &model.spec.training;
    let config = serde_yaml::to_string(&JobConfig::new(model, uid, intent)?)?;
    // Label values hold 63 characters, as names of models do.
    let labels = json!({
        "app.kubernetes.io/name": "inctrl-trainer",
        "app.kubernetes.io/managed-by": "inctrl-operator",
        MODEL_LABEL: name,
        RUN_LABEL: intent.key,
    });
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": intent.name,
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "inctrl.dev/v1alpha1",
                "kind": "InCTRLModel",
                "name": name,
                "uid": uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "backoffLimit": training.backoff_limit,
            "activeDeadlineSeconds": training.active_deadline_seconds,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": { "rules": [
                { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
                {
                    "action": "FailJob",
                    "onExitCodes": { "containerName": CONTAINER, "operator": "In", "values": FINAL_EXITS },
                },
            ]},
            "template": {
                "metadata": { "labels": labels, "annotations": { JOB_ANNOTATION: config } },
                "spec": pod(model, defaults),
            },
        },
    }))
}

fn pod(model: &ValidModel, defaults: &JobDefaults) -> Value {
    let Volumes { volumes, mounts } = volumes::of(model, JOB_ANNOTATION, JOB_FOLDER);
    let training = &model.spec.training;
    let mut container = json!({
        "name": CONTAINER,
        "image": training.image.as_deref().unwrap_or(&defaults.image),
        "command": ["inctrl-trainer"],
        "args": ["run", "--config", format!("{JOB_FOLDER}/job.yaml")],
        "terminationMessagePath": "/dev/termination-log",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts,
    });
    if let Some(resources) = &training.resources {
        container["resources"] = Value::Object(resources.clone());
    }
    let mut pod = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "automountServiceAccountToken": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container],
        "volumes": volumes,
    });
    if let Some(account) = &defaults.service_account {
        pod["serviceAccountName"] = json!(account);
    }
    pod
}

/// What may change of a Job, as the object that a second field manager owns: its template may not.
pub fn lifecycle(namespace: &str, name: &str, suspend: bool, ttl: Option<i64>) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "suspend": suspend },
    });
    if let Some(ttl) = ttl {
        job["spec"]["ttlSecondsAfterFinished"] = json!(ttl);
    }
    job
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::Job;

    use super::*;
    use crate::controller::plan::HeadRef;
    use crate::controller::validate::{Allowed, validate};

    fn model(change: impl FnOnce(&mut Value)) -> ValidModel {
        let mut spec = json!({
            "backbone": { "uri": "pvc://clip/b16", "sha256": "a".repeat(64) },
            "training": {
                "dataset": { "uri": "s3://d/mvtec", "secretRef": { "name": "s3-read" } },
                "resources": { "limits": { "memory": "8Gi" } },
            },
            "gate": {
                "dataset": { "uri": "s3://d/visa", "sha256": "b".repeat(64), "secretRef": { "name": "s3-read" } },
                "metrics": [],
            },
            "serving": { "selector": { "matchLabels": { "a": "b" } } },
            "artifacts": {
                "uri": "pvc://heads/visa",
                "secretRef": { "name": "s3-read" },
                "signingKeyRef": { "name": "sign" },
            },
        });
        change(&mut spec);
        validate("visa", &serde_json::from_value(spec).unwrap(), Allowed::default()).unwrap()
    }

    fn intent() -> JobIntent {
        JobIntent {
            name: "visa-train-abc".to_owned(),
            key: "abc".to_owned(),
            spec_hash: "f".repeat(64),
            fingerprint: format!("sha256:{}", "d".repeat(64)),
            active: Some(HeadRef {
                revision: 1,
                digest: format!("sha256:{}", "c".repeat(64)),
                uri: "pvc://heads/visa/u-1/old".parse().unwrap(),
            }),
        }
    }

    const OWNER: Owner<'_> = Owner { namespace: "default", name: "visa", uid: "u-1" };

    fn job(change: impl FnOnce(&mut Value)) -> Value {
        let defaults =
            JobDefaults { image: "trainer:1".to_owned(), service_account: Some("train".to_owned()) };
        build(&model(change), &OWNER, &intent(), &defaults).unwrap()
    }

    #[test]
    fn the_job_is_one_that_kubernetes_knows_every_field_of() {
        let written = job(|_| {});
        let typed: Job = serde_json::from_value(written.clone()).unwrap();
        let back = serde_json::to_value(&typed).unwrap();
        assert_eq!(back, written, "a field that the type does not know would be dropped by the API server");
    }

    #[test]
    fn the_pod_is_restricted_and_has_no_token() {
        let job = job(|_| {});
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(pod["serviceAccountName"], "train");
    }

    #[test]
    fn each_secret_and_claim_is_mounted_once_and_only_artifacts_can_be_written() {
        let job = job(|_| {});
        let mounts =
            job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].as_array().unwrap().clone();
        let seen =
            mounts.iter().map(|mount| (mount["mountPath"].as_str().unwrap(), mount["readOnly"] == true));
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [
                ("/etc/inctrl/job", true),
                ("/tmp", false),
                ("/etc/inctrl/secrets/s3-read", true),
                ("/etc/inctrl/secrets/sign", true),
                ("/mnt/inctrl/pvc/clip", true),
                ("/mnt/inctrl/pvc/heads", false),
            ]
        );
    }

    #[test]
    fn job_yaml_is_the_document_that_the_trainer_is_tested_with() {
        let job = job(|_| {});
        let text = job["spec"]["template"]["metadata"]["annotations"][JOB_ANNOTATION].as_str().unwrap();
        assert_eq!(text, include_str!("job.yaml"));
    }

    #[test]
    fn exits_that_no_repetition_helps_fail_the_job_and_disruptions_cost_nothing() {
        let job = job(|_| {});
        let rules = &job["spec"]["podFailurePolicy"]["rules"];
        assert_eq!(rules[0]["action"], "Ignore");
        assert_eq!(rules[1]["onExitCodes"]["values"], json!([64, 65, 78]));
        assert_eq!(job["spec"]["template"]["spec"]["restartPolicy"], "Never");
        assert_eq!(job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 120);
    }

    /// Regression 3.
    #[test]
    fn what_may_change_of_a_job_is_nothing_of_its_template() {
        let held = lifecycle("default", "visa-train-abc", true, None);
        assert_eq!(held["spec"], json!({ "suspend": true }));
        let expiring = lifecycle("default", "visa-train-abc", false, Some(60));
        assert_eq!(expiring["spec"], json!({ "suspend": false, "ttlSecondsAfterFinished": 60 }));
    }
}
