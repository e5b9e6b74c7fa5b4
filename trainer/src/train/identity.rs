//! What makes two runs the same: they would give the same head.

use std::collections::BTreeMap;

use inctrl_model::BackboneInfo;
use inctrl_storage::{Digest, Manifest, canonical};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AuxiliaryData;
use crate::config::TrainConfig;

/// Everything that a head follows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Settings, as they stand in the manifest.
    pub hyperparameters: BTreeMap<String, Value>,
    /// The backbone.
    pub backbone: Digest,
    /// Content of the data sets.
    pub data: Digest,
    /// What is said of their images: category, split and label. Lists may change and the images stay.
    pub labels: Digest,
}

impl Identity {
    /// Of a run of `config` on a backbone and its data.
    pub fn new(config: &TrainConfig, backbone: &BackboneInfo, auxiliary: &AuxiliaryData) -> Self {
        let TrainConfig {
            backbone: _,
            device: _,
            data: _,
            out: _,
            cache: _,
            head,
            recipe,
            seed,
            threads: _,
            training,
            log: _,
        } = config;
        let settings = (serde_json::json!({ "head": head, "recipe": recipe, "seed": seed }), training);
        // Through text: what is read back from a file must be equal.
        let [own, training] = [canonical::to_vec(&settings.0), canonical::to_vec(&settings.1)].map(|json| {
            let json = json.expect("settings are maps of words and finite numbers");
            serde_json::from_slice::<BTreeMap<String, Value>>(&json).expect("canonical JSON is JSON")
        });
        let hyperparameters = own.into_iter().chain(training).collect();
        let backbone = backbone.digest.parse().expect("a backbone names itself by the digest of its weights");
        let data = auxiliary.fingerprint.fingerprint;
        Self { hyperparameters, backbone, data, labels: auxiliary.labels }
    }

    /// Of the run that wrote a manifest.
    pub fn of_manifest(manifest: &Manifest) -> Self {
        let record = &manifest.record;
        let nothing = || Digest::of("");
        Self {
            hyperparameters: record.hyperparameters.clone(),
            backbone: record.backbone.digest,
            data: record.dataset.fingerprint.fingerprint,
            labels: record.dataset.labels.unwrap_or_else(nothing),
        }
    }

    /// Names of what differs; empty for the same run.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let Self { hyperparameters, backbone, data, labels } = self;
        let names = hyperparameters.keys().chain(other.hyperparameters.keys());
        let differs = |name: &&String| hyperparameters.get(*name) != other.hyperparameters.get(*name);
        let mut differences: Vec<String> = names.filter(differs).cloned().collect();
        differences.sort_unstable();
        differences.dedup();
        if *backbone != other.backbone {
            differences.push("backbone".to_owned());
        }
        if *data != other.data {
            differences.push("data set content".to_owned());
        }
        if *labels != other.labels {
            differences.push("labelling of the data set".to_owned());
        }
        differences
    }
}
