//! InCTRLModels as a user has them, and the volumes that they name.

use std::path::Path;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// A volume of this machine's, and the claim that is bound to it.
pub(crate) async fn claim(client: &Client, namespace: &str, name: &str, folder: &Path) {
    let volume = json!({
        "metadata": { "name": format!("{namespace}-{name}") },
        "spec": {
            "capacity": { "storage": "1Gi" },
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "hostPath": { "path": folder },
            "claimRef": { "namespace": namespace, "name": name },
        },
    });
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
    let claim = json!({
        "metadata": { "name": name },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": format!("{namespace}-{name}"),
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
}

/// The models of a namespace.
pub(crate) fn models(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("inctrl.dev", "v1alpha1", "InCTRLModel");
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk_with_plural(&kind, "inctrlmodels"))
}

/// Status and reason of a condition.
pub(crate) fn condition(model: &DynamicObject, kind: &str) -> Option<(String, String)> {
    let conditions = model.data["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
}
