//! Last words: one JSON document where Kubernetes looks for it, so that the operator need not ask the store first.

use std::path::{Path, PathBuf};

use inctrl_storage::{Manifest, Uri};
use serde::{Deserialize, Serialize};

use super::JobError;

/// Kubernetes keeps this much of a termination message.
const MOST_BYTES: usize = 4096;

/// Longest explanation; the rest of the document is far smaller than what is left.
const MOST_REASON_BYTES: usize = 2048;

/// Last words of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// How it ended.
    pub outcome: Outcome,
    /// How far it came.
    pub progress_percent: u8,
    /// The revision: digest of the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<Uri>,
    /// Metrics of the new head on the whole gate data set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Figure>,
    /// `BadData`, `BadConfig` or `TryAgain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people: what went wrong, or was missing, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The artifact is there.
    Published,
    /// Told to stop.
    Stopped,
    /// Without an artifact.
    Failed,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Such as `imageAUROC`.
    pub name: String,
    /// In 0..=1, or milliseconds.
    pub value: f64,
}

/// Knows how far the run has come, and says in the end how it ended.
#[derive(Debug)]
pub(super) struct Reporter {
    path: PathBuf,
    percent: u8,
    note: Option<String>,
}

impl Reporter {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), percent: 0, note: None }
    }

    /// The run has come so far; `percent` never falls.
    pub(super) fn advanced(&mut self, percent: u64) {
        self.percent = self.percent.max(percent.min(100) as u8);
        tracing::info!(percent = self.percent, "progress");
    }

    /// Something to tell of a run that goes well.
    pub(super) fn note(&mut self, note: String) {
        self.note = Some(note);
    }

    pub(super) fn published(&mut self, uri: &Uri, manifest: &Manifest) {
        self.percent = 100;
        let gate = manifest.record.gate.iter().flat_map(|gate| &gate.candidate);
        let whole = gate.filter(|metric| metric.split.is_none());
        let metrics = whole.map(|metric| Figure { name: metric.name.clone(), value: metric.value }).collect();
        let digest = Some(manifest.revision.to_string());
        let message = self.note.clone();
        let uri = Some(uri.clone());
        self.write(&Message { digest, uri, metrics, message, ..self.message(Outcome::Published) });
    }

    pub(super) fn failed(&self, error: &JobError) {
        let outcome = if matches!(error, JobError::Stopped) { Outcome::Stopped } else { Outcome::Failed };
        let mut said = inctrl_telemetry::Chain(error).to_string();
        said.truncate(said.floor_char_boundary(MOST_REASON_BYTES));
        let reason = Some(error.reason().to_owned());
        self.write(&Message { reason, message: Some(said), ..self.message(outcome) });
    }

    fn message(&self, outcome: Outcome) -> Message {
        Message {
            outcome,
            progress_percent: self.percent,
            digest: None,
            uri: None,
            metrics: Vec::new(),
            reason: None,
            message: None,
        }
    }

    /// The file is Kubernetes' own: written in place, and nothing to be done where it cannot be.
    fn write(&self, message: &Message) {
        let mut json = serde_json::to_vec(message).expect("words and finite numbers are JSON");
        if json.len() > MOST_BYTES {
            json = serde_json::to_vec(&Message { metrics: Vec::new(), message: None, ..message.clone() })
                .expect("words and finite numbers are JSON");
        }
        if let Err(error) = std::fs::write(&self.path, json) {
            tracing::warn!(path = ?self.path, %error, "last words could not be left");
        }
    }
}
