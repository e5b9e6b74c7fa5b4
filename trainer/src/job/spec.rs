//! `job.yaml` as the operator writes it: what one run is told, unknown keys refused.

use std::path::{Path, PathBuf};

use inctrl_model::HeadKind;
use inctrl_storage::{Digest, Uri};
use inctrl_telemetry::LogFormat;
use serde::Deserialize;

use super::inputs::Inputs;
use super::{Args, JobError};
use crate::config::{LogSettings, Recipe, Settings, TrainConfig, TrainingSettings, ValidationSettings};

/// The schema that this version reads.
pub(super) const SCHEMA: &str = "inctrl.dev/job/v1";

/// What one run is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the run; the artifact echoes it.
    pub run_key: String,
    /// Hash of the training inputs; the artifact echoes it.
    pub spec_hash: Digest,
    /// The frozen backbone.
    pub backbone: BackboneSpec,
    /// Which head.
    pub head: HeadName,
    /// How it is trained.
    pub hyperparameters: Hyperparameters,
    /// What it is trained on.
    pub dataset: DataSpec,
    /// What it is judged on.
    pub gate: GateSpec,
    /// Where it goes.
    pub output: OutputSpec,
}

/// The frozen backbone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackboneSpec {
    /// Its name, for people; its weights name it for programs.
    pub name: String,
    /// Folder of the Hub's layout.
    pub uri: Uri,
    /// Content digest of the folder, 64 hexadecimal digits.
    pub sha256: String,
}

/// Which head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum HeadName {
    /// The published adapter with its two score heads.
    Paper,
    /// The head over a prompt set's own spread.
    Contextual,
}

/// How a head is trained; the recipe decides the rest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hyperparameters {
    /// Epochs.
    pub epochs: u64,
    /// Queries in a step; half of them normal.
    pub batch_size: usize,
    /// Largest prompt set.
    pub shots: usize,
    /// Every random draw follows from it.
    pub seed: u64,
    /// Of AdamW; a decimal, as text.
    pub learning_rate: String,
}

/// A data set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataSpec {
    /// Where it is.
    pub uri: Uri,
    /// What of it its fingerprint sees.
    #[serde(default)]
    pub fingerprint_mode: FingerprintKind,
    /// What it was when the run was decided on; a run over something else is in vain.
    pub fingerprint: Option<Digest>,
    /// Content digest that is pinned, 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// Folder of a mounted Secret with the store's settings.
    pub secret_folder: Option<PathBuf>,
}

/// What of a data set its fingerprint sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum FingerprintKind {
    /// Paths, sizes and the store's versions.
    #[default]
    Manifest,
    /// Paths and bytes.
    Content,
}

/// What the head is judged on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateSpec {
    /// The held-out data set.
    pub dataset: DataSpec,
    /// Fewer images decide nothing; the operator judges, this only warns.
    pub min_samples: u64,
    /// The head to evaluate beside the new one.
    pub active: Option<ActiveSpec>,
}

/// The head that serves now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActiveSpec {
    /// Its revision.
    pub digest: Digest,
    /// Its artifact.
    pub uri: Uri,
}

/// Where the artifact goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputSpec {
    /// Folder of the artifact, this run's own.
    pub uri: Uri,
    /// Folder of a mounted Secret with the store's settings.
    pub secret_folder: Option<PathBuf>,
    /// Ed25519 key (PEM) to sign the manifest with.
    pub signing_key_file: Option<PathBuf>,
}

impl JobSpec {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, JobError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| JobError::ReadSpec { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// The same from memory; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, JobError> {
        let spec: Self = serde_yaml::from_str(text)
            .map_err(|source| JobError::ParseSpec { path: path.to_owned(), source })?;
        if spec.schema != SCHEMA {
            return Err(JobError::Schema { schema: spec.schema });
        }
        // It becomes part of a file's name.
        let is_plain = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if spec.run_key.is_empty() || !is_plain(&spec.run_key) {
            return Err(JobError::RunKey { key: spec.run_key });
        }
        Ok(spec)
    }

    /// The configuration of the training run proper.
    pub(super) fn train_config(&self, args: &Args, inputs: &Inputs) -> Result<TrainConfig, JobError> {
        let Hyperparameters { epochs, batch_size, shots, seed, learning_rate } = &self.hyperparameters;
        let learning_rate =
            learning_rate.parse().map_err(|_| JobError::LearningRate { text: learning_rate.clone() })?;
        let work = args.work_folder();
        let settings = Settings {
            backbone: Some(inputs.backbone.clone()),
            data: vec![inputs.data.spec.clone()],
            out: Some(work.join(format!("head-{}", self.run_key))),
            cache: work.join("features"),
            head: match self.head {
                HeadName::Paper => HeadKind::Paper,
                HeadName::Contextual => HeadKind::Contextual,
            },
            recipe: Recipe::Corrected,
            seed: *seed,
            device: args.device,
            threads: args.threads,
            training: TrainingSettings {
                epochs: Some(*epochs),
                batch: Some(*batch_size),
                shots: Some(sizes_up_to(*shots)),
                learning_rate: Some(learning_rate),
                ..TrainingSettings::default()
            },
            validation: ValidationSettings::default(),
            log: LogSettings { format: LogFormat::Auto, filter: args.log.clone() },
        };
        Ok(TrainConfig::new(settings)?)
    }
}

/// Sizes of prompt sets that a head is trained with so that it serves all up to the largest: powers of two, and it.
fn sizes_up_to(largest: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(1), |size| Some(size * 2)).take_while(|&size| size < largest);
    powers.chain([largest]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_trained_with_every_size_it_may_meet() {
        assert_eq!(sizes_up_to(8), [1, 2, 4, 8]);
        assert_eq!(sizes_up_to(6), [1, 2, 4, 6]);
        assert_eq!(sizes_up_to(1), [1]);
    }

    #[test]
    fn a_document_that_the_operator_writes_is_read_to_its_last_key() {
        let written = include_str!("../../../operator/src/controller/build/job.yaml");
        let spec = JobSpec::parse(written, Path::new("job.yaml")).unwrap();
        let hex = |letter: &str| Digest::from_hex(&letter.repeat(64)).unwrap();
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let secret_folder = Some(PathBuf::from("/etc/inctrl/secrets/s3-read"));
        let expected = JobSpec {
            schema: SCHEMA.to_owned(),
            run_key: "abc".to_owned(),
            spec_hash: hex("f"),
            backbone: BackboneSpec {
                name: "ViT-B-16-plus-240".to_owned(),
                uri: uri("pvc://clip/b16"),
                sha256: "a".repeat(64),
            },
            head: HeadName::Paper,
            hyperparameters: Hyperparameters {
                epochs: 10,
                batch_size: 48,
                shots: 8,
                seed: 0,
                learning_rate: "0.001".to_owned(),
            },
            dataset: DataSpec {
                uri: uri("s3://d/mvtec"),
                fingerprint_mode: FingerprintKind::Manifest,
                fingerprint: Some(hex("d")),
                sha256: None,
                secret_folder: secret_folder.clone(),
            },
            gate: GateSpec {
                dataset: DataSpec {
                    uri: uri("s3://d/visa"),
                    fingerprint_mode: FingerprintKind::Manifest,
                    fingerprint: None,
                    sha256: Some("b".repeat(64)),
                    secret_folder: secret_folder.clone(),
                },
                min_samples: 100,
                active: Some(ActiveSpec { digest: hex("c"), uri: uri("pvc://heads/visa/u-1/old") }),
            },
            output: OutputSpec {
                uri: uri("pvc://heads/visa/u-1/abc"),
                secret_folder,
                signing_key_file: Some("/etc/inctrl/secrets/sign/key.pem".into()),
            },
        };
        assert_eq!(spec, expected);
    }

    #[test]
    fn a_key_that_means_nothing_is_refused_by_name() {
        let refused = JobSpec::parse("schema: inctrl.dev/job/v1\nrunkey: x\n", Path::new("job.yaml"));
        let said = inctrl_telemetry::Chain(&refused.unwrap_err()).to_string();
        assert!(said.contains("job.yaml") && said.contains("runkey"), "{said}");
    }
}
