//! Optimiser steps of the paper head against an independent implementation of the published recipe.
//!
//! Every folder with a `steps.json` in `INCTRL_TRAINING_STEPS_DIR` (relative to the repository's root), or in
//! `tests/data/training-steps` without the variable; a folder's README says what it holds.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read fails its test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use approx::assert_abs_diff_eq;
use inctrl_model::head::PaperHead;
use inctrl_model::head::paper::{PaperInputs, is_running_statistic};
use inctrl_trainer::loss::{PaperLoss, Sigmoids};
use inctrl_trainer::optimiser::AdamW;
use serde::Deserialize;
use tch::{Kind, Tensor};

/// Largest difference of a loss before any step, where weights are equal bit by bit.
const FIRST_LOSS_TOLERANCE: f64 = 1e-5;

/// Largest difference of a later loss. AdamW divides a gradient by its size: where it is nothing but rounding, the weight
/// goes up or down by the learning rate as the order of a sum will have it, which differs between processors. The same
/// steps in float64 differ from the expected losses by 3e-4, float32 on one thread and on two by as much.
const LATER_LOSS_TOLERANCE: f64 = 1e-3;

/// Largest median difference of a tensor's weights or running statistics after the last step in float64, where only the
/// expected side rounds. In float32 two processors differ by 1e-3 in the medians of some tensors.
const MEDIAN_TOLERANCE: f64 = 1e-4;

/// `steps.json`.
#[derive(Deserialize)]
struct Recipe {
    steps: usize,
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    /// Per step: loss on the final score, loss on the image-level score.
    losses: Vec<[f64; 2]>,
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let named = std::env::var_os("INCTRL_TRAINING_STEPS_DIR").map(PathBuf::from);
    let base = root.join(named.unwrap_or_else(|| PathBuf::from("tests/data/training-steps")));
    let entries =
        std::fs::read_dir(&base).unwrap_or_else(|error| panic!("cannot list {}: {error}", base.display()));
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.push(base.clone());
    folders.retain(|folder| folder.join("steps.json").is_file());
    assert!(!folders.is_empty(), "{} must hold a folder with steps.json", base.display());
    folders
}

/// Tensors whose name begins with `prefix`, without it and without the counters that nothing reads.
fn part(tensors: &BTreeMap<String, Tensor>, prefix: &str, kind: Kind) -> BTreeMap<String, Tensor> {
    let named = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
    let used = named.filter(|(name, _)| !name.ends_with("num_batches_tracked"));
    used.map(|(name, tensor)| (name.to_owned(), tensor.to_kind(kind).copy())).collect()
}

#[test]
fn losses_weights_and_running_statistics_follow_the_published_recipe() {
    for folder in folders() {
        for kind in [Kind::Double, Kind::Float] {
            follow(&folder, kind);
        }
    }
}

fn follow(folder: &Path, kind: Kind) {
    let recipe: Recipe = serde_json::from_slice(&std::fs::read(folder.join("steps.json")).unwrap()).unwrap();
    assert_eq!((recipe.betas, recipe.eps), ((0.9, 0.999), 1e-8), "the optimiser has these built in");
    let tensors: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(folder.join("steps.safetensors")).unwrap().into_iter().collect();
    let mut weights = part(&tensors, "init/", kind);
    for (name, tensor) in &mut weights {
        *tensor = tensor.set_requires_grad(!is_running_statistic(name));
    }
    let head = PaperHead::from_tensors(&weights);
    let mut optimiser = AdamW::new(recipe.lr, recipe.weight_decay);
    assert_eq!(recipe.losses.len(), recipe.steps);
    for (step, expected) in recipe.losses.iter().enumerate() {
        let batch = part(&tensors, &format!("step{step}/"), kind);
        let inputs = PaperInputs {
            class: batch["class_token"].shallow_clone(),
            prompt_class: batch["prompt_class_tokens"].shallow_clone(),
            map: batch["patch_map"].shallow_clone(),
            text_score: Some(batch["text_score"].shallow_clone()),
        };
        let logits = head.logits(&inputs, true);
        let loss = PaperLoss::new(&logits, &inputs.map, &batch["label"], Sigmoids::Double);
        for (ours, theirs) in [&loss.holistic, &loss.image].into_iter().zip(expected) {
            let tolerance = if step == 0 { FIRST_LOSS_TOLERANCE } else { LATER_LOSS_TOLERANCE };
            assert_abs_diff_eq!(f64::try_from(ours).unwrap(), *theirs, epsilon = tolerance);
        }
        loss.total().backward();
        optimiser.step(&mut weights);
    }
    for (name, expected) in part(&tensors, "final/", kind) {
        let differences = (&weights[&name] - expected).abs();
        let median = f64::try_from(differences.median()).unwrap();
        if kind == Kind::Double {
            assert!(median <= MEDIAN_TOLERANCE, "{name} must agree, is off by {median}");
        }
        let largest = f64::try_from(differences.max()).unwrap();
        // Opposite ways at every step.
        let furthest = 2.0 * recipe.lr * recipe.steps as f64;
        let is_bounded = kind == Kind::Double || !is_running_statistic(&name);
        assert!(
            !is_bounded || largest <= furthest,
            "{name} must not leave what rounding explains, is off by {largest}"
        );
    }
}
