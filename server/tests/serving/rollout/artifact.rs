//! Artifacts as the trainer leaves them.

use std::path::Path;

use inctrl_proto::v1::Head;
use inctrl_server::scorer::fake::BACKBONE_DIGEST;
use inctrl_storage::{Manifest, PartRecord, RunRecord, SigningKey};
use serde_json::{Value, json};

/// Name of the self-test's part.
const SELF_TEST: &str = "self-test.safetensors";

/// What a trainer would publish.
#[derive(Clone)]
pub(super) struct Artifact {
    pub(super) weights: Vec<u8>,
    pub(super) self_test: Vec<u8>,
    /// Fields of the run's record.
    pub(super) record: Value,
}

impl Artifact {
    /// A head of the fake scorer that adds `offset` to every score, with a self-test that it passes.
    pub(super) fn fake(name: &str, offset: f32) -> Self {
        let expected = [0.25 + f64::from(offset), 0.5 + f64::from(offset)];
        let weights = format!("{name} {offset}").into_bytes();
        Self::new(weights, "contextual", BACKBONE_DIGEST, (b"0.25 0.5".to_vec(), &expected))
    }

    /// Of a head's file, its kind, its backbone, and a self-test with its scores.
    pub(super) fn new(weights: Vec<u8>, kind: &str, backbone: &str, test: (Vec<u8>, &[f64])) -> Self {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let record = json!({
            "createdAt": "2026-01-01T00:00:00Z",
            "trainer": "0",
            "head": { "kind": kind, "part": "head.safetensors" },
            "backbone": { "name": "tiny", "digest": backbone },
            "dataset": {
                "uri": "pvc://data/d", "fingerprint": digest("d"), "mode": "Manifest", "objects": 1, "bytes": 1,
            },
            "hyperparameters": {},
            "selfTest": { "part": SELF_TEST, "expected": test.1, "tolerance": 1e-4 },
        });
        Self { weights, self_test: test.0, record }
    }

    pub(super) fn manifest(&self, key: Option<&SigningKey>) -> Vec<u8> {
        let record: RunRecord = serde_json::from_value(self.record.clone()).unwrap();
        let mut parts = vec![PartRecord::of("head.safetensors", &self.weights)];
        if record.self_test.is_some() {
            parts.push(PartRecord::of(SELF_TEST, &self.self_test));
        }
        Manifest::new(record, parts, key).unwrap().to_json().unwrap()
    }

    pub(super) fn digest(&self) -> String {
        inctrl_storage::Digest::of(&self.weights).to_string()
    }

    /// The head with all its parts.
    pub(super) fn inline(&self, revision: i64) -> Head {
        Head {
            revision,
            digest: self.digest(),
            uri: String::new(),
            manifest: self.manifest(None).into(),
            weights: self.weights.clone().into(),
            self_test: self.self_test.clone().into(),
        }
    }

    /// The head by its digest alone.
    pub(super) fn known(&self, revision: i64) -> Head {
        Head { revision, digest: self.digest(), ..Head::default() }
    }

    /// Publishes it, manifest last; the head names the folder.
    pub(super) fn publish(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("head.safetensors"), &self.weights).unwrap();
        std::fs::write(folder.join(SELF_TEST), &self.self_test).unwrap();
        std::fs::write(folder.join("manifest.json"), self.manifest(None)).unwrap();
    }

    /// The head by its folder.
    pub(super) fn at(&self, folder: &Path, revision: i64) -> Head {
        Head { uri: format!("file://{}", folder.display()), ..self.known(revision) }
    }
}
