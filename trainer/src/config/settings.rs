//! `train.yaml` as it is written: every key optional, unknown keys refused by name.

use std::path::{Path, PathBuf};

use inctrl_model::HeadKind;
use inctrl_model::device::DeviceChoice;
use inctrl_storage::{SettingsError, settings};
use inctrl_telemetry::LogFormat;
use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use crate::data::{DatasetSpec, Format};
use crate::loss::Sigmoids;

/// The configuration file of a training run. Flags of the same names override it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the frozen backbone.
    pub backbone: Option<PathBuf>,
    /// The auxiliary data sets; classes of all of them are trained on together.
    pub data: Vec<DatasetSpec>,
    /// Folder that the head is written to.
    pub out: Option<PathBuf>,
    /// Folder of cached features; runs of all backbones and data sets may share one.
    pub cache: PathBuf,
    /// `contextual` or `paper`.
    pub head: HeadKind,
    /// `corrected` or `official`; decides every key of `training` that is not set.
    pub recipe: Recipe,
    /// Every random draw follows from it.
    pub seed: u64,
    /// Where the backbone computes: `auto`, `cpu` or `cuda:N`.
    pub device: DeviceChoice,
    /// Threads of one tensor operation; 0 means one a core.
    pub threads: usize,
    /// How the head is trained.
    pub training: TrainingSettings,
    /// Classes that are held out of training to watch it.
    pub validation: ValidationSettings,
    /// Logs.
    pub log: LogSettings,
}

/// `training`: what is not set comes from the recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingSettings {
    /// Epochs.
    pub epochs: Option<u64>,
    /// Optimiser steps in an epoch.
    pub steps: Option<usize>,
    /// Queries in a step; half of them normal.
    pub batch: Option<usize>,
    /// Numbers of prompt images that steps draw from.
    pub shots: Option<Vec<usize>>,
    /// Share of anomalous queries that are normal images of another class.
    pub other_class: Option<f64>,
    /// Of AdamW.
    pub learning_rate: Option<f64>,
    /// Of AdamW.
    pub weight_decay: Option<f64>,
    /// `single` or `double`.
    pub sigmoids: Option<Sigmoids>,
    /// Whether a normal query may stand in its own prompt set.
    pub query_among_prompts: Option<bool>,
}

/// `validation`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationSettings {
    /// Share of the classes held out; from the recipe where it is not set.
    pub share: Option<f64>,
}

/// `log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `auto`, `text` or `json`.
    pub format: LogFormat,
    /// Such as `info,inctrl_trainer=debug`.
    pub filter: String,
}

impl Settings {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        settings::read(path, &Self::complete())
    }

    /// The same from memory; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        settings::parse(text, path, &Self::complete())
    }

    /// Settings with every key there is.
    fn complete() -> Self {
        let data = DatasetSpec {
            format: Format::Mvtec,
            path: PathBuf::new(),
            name: Some(String::new()),
            lists: vec![PathBuf::new()],
            categories: vec![String::new()],
        };
        Self { data: vec![data], ..Self::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backbone: None,
            data: Vec::new(),
            out: None,
            cache: PathBuf::from("inctrl-features"),
            head: HeadKind::Contextual,
            recipe: Recipe::Corrected,
            seed: 0,
            device: DeviceChoice::Auto,
            threads: 0,
            training: TrainingSettings::default(),
            validation: ValidationSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, SettingsError> {
        Settings::parse(text, Path::new("train.yaml"))
    }

    #[test]
    fn a_file_sets_what_it_names_and_leaves_the_rest() {
        let text = "head: paper\ndata: [{format: mvtec, path: bolts}]\ntraining: {shots: [2, 4]}\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.head, HeadKind::Paper);
        assert_eq!(settings.data, [DatasetSpec::new(Format::Mvtec, "bolts")]);
        assert_eq!(settings.training.shots, Some(vec![2, 4]));
        assert_eq!(settings.training.epochs, None);
        assert_eq!(parse("").unwrap(), Settings::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        let text = "bakbone: x\ntraining: {learning_rte: 1}\ndata: [{format: mvtec, path: a, categorys: []}]";
        let said = parse(text).unwrap_err().to_string();
        for (wrong, right) in [
            ("bakbone", "backbone"),
            ("training.learning_rte", "training.learning_rate"),
            ("data[0].categorys", "data[0].categories"),
        ] {
            let expected = format!("unknown key {wrong:?} (did you mean {right:?}?)");
            assert!(said.contains(&expected), "{said} must hold {expected}");
        }
    }

    #[test]
    fn the_example_is_a_file_that_can_be_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/train.yaml");
        let example = Settings::read(&path).unwrap();
        assert!(example.backbone.is_some() && example.out.is_some() && !example.data.is_empty());
    }
}
