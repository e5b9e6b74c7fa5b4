//! Recipes: what a run does where its configuration is silent.

use inctrl_model::HeadKind;
use serde::{Deserialize, Serialize};

use super::settings::{TrainingSettings, ValidationSettings};
use crate::loss::Sigmoids;

/// Whose recipe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// Queries are never in their own prompt set, the loss has one sigmoid, anomalies of other classes take part.
    #[default]
    Corrected,
    /// As the authors published it (but every query meets its own prompt set); for comparison. Paper heads only.
    Official,
}

impl std::fmt::Display for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Corrected => "corrected",
            Self::Official => "official",
        })
    }
}

/// Everything that decides how a head is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Training {
    /// Epochs, at least 1.
    pub epochs: u64,
    /// Optimiser steps in an epoch, at least 1.
    pub steps: usize,
    /// Queries in a step; even.
    pub batch: usize,
    /// Numbers of prompt images that steps draw from; sorted, none twice.
    pub shots: Vec<usize>,
    /// Share of anomalous queries that are normal images of another class, 0..=1.
    pub other_class: f64,
    /// Of AdamW.
    pub learning_rate: f64,
    /// Of AdamW.
    pub weight_decay: f64,
    /// What the loss is fed with.
    pub sigmoids: Sigmoids,
    /// Whether a normal query may stand in its own prompt set.
    pub query_among_prompts: bool,
    /// Share of the classes that only watch, 0..1. With any, the epoch of the lowest validation loss is kept.
    pub validation_share: f64,
}

impl Recipe {
    /// What this recipe says of a head of `kind`.
    pub(super) fn training(self, kind: HeadKind) -> Training {
        let official = Training {
            epochs: 10,
            steps: 100,
            batch: 16,
            shots: vec![2],
            other_class: 0.0,
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            sigmoids: Sigmoids::Double,
            query_among_prompts: true,
            validation_share: 0.0,
        };
        match (self, kind) {
            (Self::Official, _) => official,
            (Self::Corrected, HeadKind::Paper) => Training {
                batch: 32,
                shots: vec![1, 2, 4, 8],
                other_class: 0.5,
                sigmoids: Sigmoids::Single,
                query_among_prompts: false,
                validation_share: 0.2,
                ..official
            },
            // Nine numbers are fitted: larger steps, and no decay that would shrink them.
            (Self::Corrected, HeadKind::Contextual) => Training {
                epochs: 6,
                steps: 50,
                learning_rate: 3e-2,
                weight_decay: 0.0,
                ..Self::Corrected.training(HeadKind::Paper)
            },
        }
    }
}

impl Training {
    /// This, but for what is set.
    pub(super) fn overridden(self, settings: &TrainingSettings, validation: &ValidationSettings) -> Self {
        let TrainingSettings {
            epochs,
            steps,
            batch,
            shots,
            other_class,
            learning_rate,
            weight_decay,
            sigmoids,
            query_among_prompts,
        } = settings;
        let ValidationSettings { share } = validation;
        let mut shots = shots.clone().unwrap_or(self.shots);
        shots.sort_unstable();
        shots.dedup();
        Self {
            epochs: epochs.unwrap_or(self.epochs),
            steps: steps.unwrap_or(self.steps),
            batch: batch.unwrap_or(self.batch),
            shots,
            other_class: other_class.unwrap_or(self.other_class),
            learning_rate: learning_rate.unwrap_or(self.learning_rate),
            weight_decay: weight_decay.unwrap_or(self.weight_decay),
            sigmoids: sigmoids.unwrap_or(self.sigmoids),
            query_among_prompts: query_among_prompts.unwrap_or(self.query_among_prompts),
            validation_share: share.unwrap_or(self.validation_share),
        }
    }
}
