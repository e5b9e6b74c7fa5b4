//! A model as the cache keeps it. Of ten thousand models a few are worked on at a time; as typed objects all of them, most of it
//! history, would take the memory that the operator is to have.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::runtime::reflector::Lookup;

use crate::crd::{InCTRLModel, RETRAIN_AT};

/// A model, compressed, and what is asked of it without opening it.
#[derive(Debug, Clone)]
pub struct PackedModel {
    name: Box<str>,
    namespace: Option<Box<str>>,
    uid: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    phase: Option<Box<str>>,
    packed: Box<[u8]>,
}

impl PackedModel {
    /// Packs what is read of a model.
    pub fn new(mut model: InCTRLModel) -> Self {
        strip(&mut model);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        serde_json::to_writer(&mut encoder, &model).expect("a model is JSON, and memory takes it");
        let packed = encoder.finish().expect("memory takes the end");
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        let ObjectMeta { name, namespace, uid, resource_version, .. } = model.metadata;
        Self {
            name: name.unwrap_or_default().into_boxed_str(),
            namespace: boxed(namespace),
            uid: boxed(uid),
            resource_version: boxed(resource_version),
            phase: boxed(model.status.and_then(|status| status.phase)),
            packed: packed.into_boxed_slice(),
        }
    }

    /// The model as it was packed.
    pub fn open(&self) -> InCTRLModel {
        let mut text = Vec::new();
        DeflateDecoder::new(&*self.packed).read_to_end(&mut text).expect("it was compressed here");
        serde_json::from_slice(&text).expect("it was a model when it was packed")
    }

    /// Its phase as the status says.
    pub fn phase(&self) -> Option<&str> {
        self.phase.as_deref()
    }

    /// Its UID.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// Its resource version.
    pub fn version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }
}

impl Lookup for PackedModel {
    type DynamicType = ();

    fn kind((): &()) -> Cow<'_, str> {
        <InCTRLModel as Resource>::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        <InCTRLModel as Resource>::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        <InCTRLModel as Resource>::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        <InCTRLModel as Resource>::plural(&())
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.name))
    }

    fn namespace(&self) -> Option<Cow<'_, str>> {
        self.namespace.as_deref().map(Cow::Borrowed)
    }

    fn resource_version(&self) -> Option<Cow<'_, str>> {
        self.resource_version.as_deref().map(Cow::Borrowed)
    }

    fn uid(&self) -> Option<Cow<'_, str>> {
        self.uid.as_deref().map(Cow::Borrowed)
    }
}

/// Leaves out of a model what nobody here reads.
pub fn strip(model: &mut InCTRLModel) {
    model.metadata.managed_fields = None;
    if let Some(annotations) = &mut model.metadata.annotations {
        annotations.retain(|name, _| name == RETRAIN_AT);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_packed_model_is_opened_as_it_was_but_for_what_nobody_reads() {
        let row = json!({ "revision": 3, "digest": format!("sha256:{:064x}", 7), "phase": "Superseded" });
        let text = json!({
            "apiVersion": "inctrl.dev/v1alpha1",
            "kind": "InCTRLModel",
            "metadata": {
                "name": "visa", "namespace": "lines", "uid": "u-1", "resourceVersion": "17",
                "annotations": { RETRAIN_AT: "now", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
                "managedFields": [{ "manager": "kubectl" }],
            },
            "spec": {
                "backbone": { "uri": "pvc://data/backbone", "sha256": "a".repeat(64) },
                "training": { "dataset": { "uri": "pvc://data/auxiliary" } },
                "gate": {
                    "dataset": { "uri": "pvc://data/held-out" },
                    "metrics": [{ "name": "imageAUROC", "minBasisPoints": 8000 }],
                },
                "serving": { "selector": { "matchLabels": { "app": "server" } } },
                "artifacts": { "uri": "pvc://data/heads" },
            },
            "status": { "phase": "Serving", "history": vec![row; 10] },
        });
        let mut model: InCTRLModel = serde_json::from_value(text).unwrap();
        let packed = PackedModel::new(model.clone());
        assert_eq!(packed.phase(), Some("Serving"));
        assert_eq!(packed.to_object_ref(()).to_string(), "InCTRLModel.v1alpha1.inctrl.dev/visa.lines");
        assert_eq!((packed.uid(), packed.version()), (Some("u-1"), Some("17")));
        strip(&mut model);
        let [one, other] = [&model, &packed.open()].map(|model| serde_json::to_value(model).unwrap());
        assert_eq!(one, other);
        assert_eq!(one["metadata"]["annotations"], json!({ RETRAIN_AT: "now" }));
        assert!(packed.packed.len() * 2 < one.to_string().len(), "{} bytes", packed.packed.len());
    }
}
