//! A node that runs pods as processes of this machine: no images, no namespaces, no cgroups.
//!
//! What it does as a kubelet does: takes the pods that the scheduler binds to it; runs init containers in order, then
//! containers, restarted by the pod's policy; environment (values, `valueFrom`, `envFrom`, `$(NAME)`), arguments,
//! volumes (emptyDir, hostPath, persistentVolumeClaim, configMap, secret, downwardAPI, projected with a real
//! service-account token); readiness by HTTP, TCP and command; phase, conditions, exit codes, termination messages;
//! a pod that is deleted gets SIGTERM and its grace. What it cannot have (a missing Secret, an image that nobody has)
//! is a waiting reason, as on a node.
//!
//! What it does not: isolation of any kind, limits (no `OOMKilled`), liveness and startup probes, lifecycle hooks,
//! ephemeral containers, tokens renewed before they expire, DNS and Services. A container's file system is a folder
//! (`root`) with its mounts in it, and every mention of a mounted path in its command, arguments, environment,
//! config maps and downward API is rewritten to lie there; paths compiled into a program are not. Where a service-account token is
//! mounted, `KUBECONFIG` stands for the fixed path that clients look in.
//!
//! Each pod has a loopback address of its own: programs that listen on their pod's address do not collide.

mod container;
mod environment;
mod files;
mod pod;
mod probe;
mod rewrite;
mod status;
mod volumes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::ControlPlane;

/// What the scheduler sees of the node: pods are processes here, so this bounds nothing.
const CAPACITY: [(&str, &str); 3] = [("cpu", "64"), ("memory", "256Gi"), ("pods", "1000")];

/// As often as a kubelet says that its node lives; unheard for 50 s, it would be tainted.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// After a watch that failed.
const WATCH_AGAIN: Duration = Duration::from_millis(200);

/// An image: a program of this machine.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// What runs where the container names no command.
    pub entrypoint: Vec<String>,
    /// Files that the image would have, and where they lie here.
    pub files: Vec<(String, PathBuf)>,
    /// Environment that the image sets.
    pub environment: Vec<(String, String)>,
}

/// A running node. Dropping it kills its pods' processes.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: PathBuf,
    _tasks: JoinSet<()>,
}

/// What all parts of a node share.
struct Shared {
    name: String,
    client: Client,
    /// Address of the API server, for pods.
    server: http::Uri,
    folder: PathBuf,
    images: BTreeMap<String, Image>,
    /// Second and third part of the pods' addresses.
    network: [u8; 2],
    pods_begun: AtomicU32,
}

impl Node {
    /// Adds a node to the cluster; ready when returned. `images` are what it can run, by name.
    pub async fn join(
        plane: &ControlPlane,
        name: &str,
        images: impl IntoIterator<Item = (String, Image)>,
    ) -> Result<Self, kube::Error> {
        let client = plane.client().await.map_err(|error| kube::Error::Service(error.into()))?;
        let nodes: Api<NodeObject> = Api::all(client.clone());
        let capacity: serde_json::Value =
            CAPACITY.iter().map(|(name, amount)| ((*name).to_owned(), json!(amount))).collect();
        let node = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
        }));
        let node: NodeObject = node.map_err(kube::Error::SerdeError)?;
        let uid = nodes.create(&PostParams::default(), &node).await?.metadata.uid.unwrap_or_default();
        let folder = plane.folder().join("nodes").join(name);
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            client,
            server: plane.server().clone(),
            folder: folder.clone(),
            images: images.into_iter().collect(),
            network: network(&uid),
            pods_begun: AtomicU32::new(0),
        });
        let ready = json!({ "status": { "capacity": capacity, "allocatable": capacity, "conditions": [
            { "type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": status::now(),
              "lastTransitionTime": status::now() },
        ]}});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(ready)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeat(Arc::clone(&shared)));
        tasks.spawn(run_pods(shared));
        Ok(Self { name: name.to_owned(), folder, _tasks: tasks })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a pod's container printed, all its runs together.
    pub fn log(&self, pod: &Pod, container: &str) -> String {
        let folder = pod_folder(&self.folder, pod).join(container).join(container::LOG);
        std::fs::read_to_string(folder).unwrap_or_default()
    }
}

impl Shared {
    /// An address of the loopback network that no other pod of this node has.
    fn next_address(&self) -> String {
        let number = self.pods_begun.fetch_add(1, Ordering::Relaxed);
        let [second, third] = self.network;
        // 250 addresses: more pods than a test has at once.
        format!("127.{second}.{third}.{}", 2 + number % 250)
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Two parts of a network address that nodes of other tests hardly share; 127.0 is left to them that ask for it.
fn network(uid: &str) -> [u8; 2] {
    let digits: String = uid.chars().filter(char::is_ascii_hexdigit).take(4).collect();
    let [second, third] = u16::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes();
    [second.max(1), third]
}

fn pod_folder(node: &Path, pod: &Pod) -> PathBuf {
    node.join(pod.uid().unwrap_or_default())
}

async fn heartbeat(node: Arc<Shared>) {
    let leases: Api<Lease> = Api::namespaced(node.client.clone(), "kube-node-lease");
    let mut beats = interval(HEARTBEAT);
    loop {
        beats.tick().await;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": node.name },
            "spec": { "holderIdentity": node.name, "leaseDurationSeconds": 40, "renewTime": status::now_micro() },
        });
        // A server that is away hears the next one.
        let _ = leases.patch(&node.name, &PatchParams::apply("node").force(), &Patch::Apply(lease)).await;
    }
}

/// Watches the node's pods and gives each a task of its own, for as long as the node lives.
async fn run_pods(node: Arc<Shared>) {
    let mut known = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        // A server that is away is asked again.
        let _ = watch_pods(&node, &mut known, &mut tasks).await;
        tokio::time::sleep(WATCH_AGAIN).await;
    }
}

/// By uid, where a pod's task hears that it must end, and within what grace.
type Known = BTreeMap<String, watch::Sender<Option<Duration>>>;

async fn watch_pods(
    node: &Arc<Shared>,
    known: &mut Known,
    tasks: &mut JoinSet<()>,
) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::all(node.client.clone());
    let ours = format!("spec.nodeName={}", node.name);
    let list = pods.list(&ListParams::default().fields(&ours)).await?;
    let version = list.metadata.resource_version.unwrap_or_default();
    let there: Vec<_> = list.items.iter().filter_map(ResourceExt::uid).collect();
    known.retain(|uid, end| {
        let is_there = there.contains(uid);
        if !is_there {
            end.send_replace(Some(Duration::ZERO));
        }
        is_there
    });
    for pod in list.items {
        look_at(node, pod, known, tasks);
    }
    let mut events = pods.watch(&WatchParams::default().fields(&ours), &version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        while tasks.try_join_next().is_some() {}
        match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => look_at(node, pod, known, tasks),
            WatchEvent::Deleted(pod) => {
                if let Some(end) = pod.uid().and_then(|uid| known.remove(&uid)) {
                    end.send_replace(Some(Duration::ZERO));
                }
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(_) => return Ok(()),
        }
    }
    Ok(())
}

fn look_at(node: &Arc<Shared>, pod: Pod, known: &mut Known, tasks: &mut JoinSet<()>) {
    let Some(uid) = pod.uid() else { return };
    let grace = pod.metadata.deletion_timestamp.as_ref().map(|_| {
        let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
        Duration::from_secs(seconds.try_into().unwrap_or(0))
    });
    let end = known.entry(uid).or_insert_with(|| {
        let (end, ended) = watch::channel(None);
        tasks.spawn(pod::run(Arc::clone(node), pod, ended));
        end
    });
    if grace.is_some() {
        end.send_replace(grace);
    }
}
