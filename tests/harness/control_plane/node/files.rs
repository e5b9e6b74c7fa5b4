//! Config maps, secrets and fields of a pod, as its containers see them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, ResourceExt};

use super::Shared;

/// Why a container waits: what its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Waiting {
    /// Its configuration cannot be had.
    pub(super) fn config(message: impl Into<String>) -> Self {
        Self { reason: "CreateContainerConfigError", message: message.into() }
    }

    /// Its volumes cannot be had.
    pub(super) fn mount(message: impl Into<String>) -> Self {
        Self { reason: "ContainerCreating", message: message.into() }
    }
}

/// Contents by key.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// What keeps data under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

/// The data of a config map or secret; `None` where there is none of that name.
pub(super) async fn data(
    node: &Shared,
    namespace: &str,
    kind: Kind,
    name: &str,
) -> Result<Option<Data>, Waiting> {
    let failed = |error: kube::Error| Waiting::config(format!("reading {kind:?} {name:?}: {error}"));
    match kind {
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(node.client.clone(), namespace);
            let found = api.get_opt(name).await.map_err(failed)?;
            Ok(found.map(|ConfigMap { data, binary_data, .. }| {
                let texts = data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
                let bytes = binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
                texts.chain(bytes).collect()
            }))
        }
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(node.client.clone(), namespace);
            let found = api.get_opt(name).await.map_err(failed)?;
            let bytes = |secret: Secret| secret.data.unwrap_or_default().into_iter();
            Ok(found.map(|secret| bytes(secret).map(|(key, bytes)| (key, bytes.0)).collect()))
        }
    }
}

/// Like [`data`]: one that is missing is empty where that is allowed, else what the container waits for.
pub(super) async fn needed(
    node: &Shared,
    namespace: &str,
    kind: Kind,
    name: &str,
    is_optional: Option<bool>,
) -> Result<Data, Waiting> {
    match data(node, namespace, kind, name).await? {
        Some(data) => Ok(data),
        None if is_optional == Some(true) => Ok(Data::new()),
        None => Err(Waiting::config(format!("{} {name:?} not found", format!("{kind:?}").to_lowercase()))),
    }
}

/// A field of the pod, by its downward-API path.
pub(super) fn field(node: &Shared, pod: &Pod, address: &str, path: &str) -> Result<String, Waiting> {
    let keyed = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = keyed("metadata.labels") {
        return Ok(pod.labels().get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = keyed("metadata.annotations") {
        return Ok(pod.annotations().get(key).cloned().unwrap_or_default());
    }
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    match path {
        "metadata.name" => Ok(pod.name_any()),
        "metadata.namespace" => Ok(pod.namespace().unwrap_or_default()),
        "metadata.uid" => Ok(pod.uid().unwrap_or_default()),
        "spec.nodeName" => Ok(node.name.clone()),
        "spec.serviceAccountName" => Ok(account.unwrap_or_default()),
        "status.podIP" | "status.podIPs" => Ok(address.to_owned()),
        "status.hostIP" | "status.hostIPs" => Ok("127.0.0.1".to_owned()),
        _ => Err(Waiting::config(format!("field {path:?} is none that this node knows"))),
    }
}
