//! Pods on the node of these tests: what they see, how they end, why they wait.

use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::stage::{SHELL, client, eventually, namespace, with_plane};

async fn create(pods: &Api<Pod>, spec: serde_json::Value) -> Pod {
    let pod = serde_json::from_value(json!({
        "metadata": { "name": "p", "labels": { "app": "probe" } }, "spec": spec,
    }));
    pods.create(&PostParams::default(), &pod.unwrap()).await.expect("the pod must be accepted")
}

/// The status of the pod's only container, once it is `wanted`.
async fn status(pods: &Api<Pod>, what: &str, wanted: impl Fn(&ContainerStatus) -> bool) -> ContainerStatus {
    eventually(what, async || {
        let status = pods.get("p").await.unwrap().status?.container_statuses?.into_iter().next()?;
        wanted(&status).then_some(status)
    })
    .await
}

fn has_ended(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

pub(crate) async fn a_pod_sees_its_volumes_environment_and_account() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let map =
        json!({ "metadata": { "name": "job" }, "data": { "job.yaml": "data: /mnt/data/x", "EPOCHS": "10" } });
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secret = json!({ "metadata": { "name": "store" }, "stringData": { "key": "very secret" } });
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("x"), "from the host").unwrap();

    let script = "set -e
        data=$(sed 's/data: //' /etc/job/job.yaml)
        printf '%s|' \"$(cat $data)\" \"$(cat /etc/store/key)\" \"$(cat /scratch/note)\" \\
          \"$POD\" \"$KEY\" \"$EPOCHS\" \"$GREETING\" \"$(cat /etc/pod/app)\" > /dev/termination-log
        token=/var/run/secrets/kubernetes.io/serviceaccount/token
        test -s $token && test -s $KUBECONFIG && printf account >> /dev/termination-log";
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let mounts = json!([
        { "name": "job", "mountPath": "/etc/job" },
        { "name": "store", "mountPath": "/etc/store" },
        { "name": "data", "mountPath": "/mnt/data" },
        { "name": "scratch", "mountPath": "/scratch" },
        { "name": "pod", "mountPath": "/etc/pod" },
    ]);
    create(&pods, json!({
        "restartPolicy": "Never",
        "initContainers": [{
            "name": "first", "image": SHELL, "args": ["printf hello > /scratch/note"], "volumeMounts": mounts,
        }],
        "containers": [{
            "name": "main", "image": SHELL, "args": [script], "volumeMounts": mounts,
            "envFrom": [{ "configMapRef": { "name": "job" } }],
            "env": [
                { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                { "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "store", "key": "key" } } },
                { "name": "GREETING", "value": "$(POD) of $(EPOCHS)" },
            ],
        }],
        "volumes": [
            { "name": "job", "configMap": { "name": "job" } },
            { "name": "store", "secret": { "secretName": "store" } },
            { "name": "data", "hostPath": { "path": host.path() } },
            { "name": "scratch", "emptyDir": {} },
            { "name": "pod", "downwardAPI": { "items": [
                { "path": "app", "fieldRef": { "fieldPath": "metadata.labels['app']" } },
            ]}},
        ],
    }))
    .await;
    let ended = status(&pods, "the container's end", has_ended).await.state.unwrap().terminated.unwrap();
    let log = with_plane({
        let pod = pods.get("p").await.unwrap();
        move |_, node| node.log(&pod, "main")
    })
    .await;
    assert_eq!(
        ended.message.as_deref(),
        Some("from the host|very secret|hello|p|very secret|10|p of 10|probe|account"),
        "{log}"
    );
    assert_eq!(ended.exit_code, 0, "{log}");
}

pub(crate) async fn a_deleted_pod_is_asked_to_end_before_it_is_killed() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let host = tempfile::tempdir().unwrap();
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    // The stubborn one does not end when asked; its child must go too.
    let asked = "trap 'echo asked > /out/asked; exit 0' TERM; touch /out/up; while :; do sleep 0.05; done";
    // `$$` is one `$` to Kubernetes.
    let stubborn = "trap '' TERM; echo $$$$ > /out/stubborn; while :; do sleep 0.05; done";
    let mounts = json!([{ "name": "out", "mountPath": "/out" }]);
    create(
        &pods,
        json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [
                { "name": "asked", "image": SHELL, "args": [asked], "volumeMounts": mounts },
                { "name": "stubborn", "image": SHELL, "args": [stubborn], "volumeMounts": mounts },
            ],
            "volumes": [{ "name": "out", "hostPath": { "path": host.path() } }],
        }),
    )
    .await;
    let process = eventually("both containers", async || {
        let is_up = host.path().join("up").exists();
        let process =
            std::fs::read_to_string(host.path().join("stubborn")).ok()?.trim().parse::<u32>().ok()?;
        is_up.then_some(process)
    })
    .await;
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    eventually("the pod's end", async || pods.get_opt("p").await.unwrap().is_none().then_some(())).await;
    assert_eq!(std::fs::read_to_string(host.path().join("asked")).unwrap(), "asked\n");
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists(), "the stubborn one must be killed");
}

pub(crate) async fn what_a_pod_lacks_is_a_reason_to_wait() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let waits = |reason: &'static str| {
        move |status: &ContainerStatus| {
            let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
            waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
        }
    };
    create(&pods, json!({ "containers": [{ "name": "main", "image": "nobody/has:this" }] })).await;
    let status_of_image = status(&pods, "an image to wait for", waits("ErrImagePull")).await;
    let message = status_of_image.state.unwrap().waiting.unwrap().message.unwrap();
    assert!(message.contains("nobody/has:this"), "{message}");
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    eventually("the pod's end", async || pods.get_opt("p").await.unwrap().is_none().then_some(())).await;

    let secret = json!({ "secretKeyRef": { "name": "late", "key": "key" } });
    create(
        &pods,
        json!({
            "restartPolicy": "Never",
            "containers": [{
                "name": "main", "image": SHELL, "args": ["test $KEY = come"],
                "env": [{ "name": "KEY", "valueFrom": secret }],
            }],
        }),
    )
    .await;
    status(&pods, "a secret to wait for", waits("CreateContainerConfigError")).await;
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let secret = json!({ "metadata": { "name": "late" }, "stringData": { "key": "come" } });
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let ended = status(&pods, "the container's end", has_ended).await;
    assert_eq!(ended.state.unwrap().terminated.unwrap().exit_code, 0, "what was missing has come");
}

pub(crate) async fn a_failing_container_is_restarted_by_its_policy() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    create(
        &pods,
        json!({
            "restartPolicy": "OnFailure",
            "containers": [{
                "name": "main", "image": SHELL,
                "args": ["test -e /scratch/been && exit 0; touch /scratch/been; echo broken; exit 9"],
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [{ "name": "scratch", "mountPath": "/scratch" }],
            }],
            "volumes": [{ "name": "scratch", "emptyDir": {} }],
        }),
    )
    .await;
    let ended = status(&pods, "the second run's end", has_ended).await;
    assert_eq!((ended.restart_count, ended.state.unwrap().terminated.unwrap().exit_code), (1, 0));
    let first = ended.last_state.unwrap().terminated.unwrap();
    assert_eq!((first.exit_code, first.message.as_deref()), (9, Some("broken\n")));
    assert_eq!(pods.get("p").await.unwrap().status.unwrap().phase.as_deref(), Some("Succeeded"));
}

pub(crate) async fn a_pod_is_ready_when_its_probe_says_so() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let host = tempfile::tempdir().unwrap();
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let gate = host.path().join("ready");
    create(
        &pods,
        json!({ "containers": [{
            "name": "main", "image": SHELL, "args": ["while :; do sleep 0.05; done"],
            "readinessProbe": { "exec": { "command": ["test", "-e", gate] }, "periodSeconds": 1 },
        }]}),
    )
    .await;
    let running = status(&pods, "a running container", is_running).await;
    assert!(!running.ready, "a container whose probe fails is not ready");
    std::fs::write(&gate, "").unwrap();
    status(&pods, "a ready container", |status| status.ready).await;
    std::fs::remove_file(&gate).unwrap();
    status(&pods, "a container that is ready no more", |status| !status.ready).await;
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
}
