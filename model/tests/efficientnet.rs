//! The starter backbone's tower against timm's `tf_efficientnet_lite0`, with weights that both draw. The answers were
//! written by `tests/oracles/efficientnet_lite0.py`. The trained weights have a test of their own, `starter.rs`.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

#[expect(dead_code, reason = "each test binary uses its part of the shared support")]
mod support;

use std::path::Path;

use inctrl_model::{Backbone, Device, Precision, PromptFeatures, Residuals};
use support::{device, generated, max_difference, read_tensors};
use tch::{Kind, Tensor};

/// Largest difference relative to the largest entry.
const TOLERANCE: f64 = 1e-4;

/// Largest difference of any number of an answer between a query alone and in a batch.
const BATCH_TOLERANCE: f32 = 1e-6;

/// Length of the difference relative to that of the features, in bfloat16.
const HALF_TOLERANCE: f64 = 0.2;

/// The patches of the answers.
const KEPT_PATCHES: [i64; 8] = [0, 14, 31, 67, 112, 155, 210, 224];

fn drawn(precision: Precision) -> Backbone {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    generated::efficientnet::write_backbone(folder.path());
    Backbone::open(folder.path(), device(), precision).unwrap()
}

/// Features of the first `count` images, each beside timm's answer.
fn pairs(backbone: &Backbone, count: i64) -> Vec<(String, Tensor, Tensor)> {
    let features = backbone.encode_images(&generated::images(count)).unwrap();
    let answers =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/timm_tf_efficientnet_lite0.safetensors");
    let answers = read_tensors(&answers);
    let kept = Tensor::from_slice(&KEPT_PATCHES).to_device(device());
    let taps = backbone.info().taps.iter().zip(&features.taps);
    let taps = taps.map(|(tap, patches)| (format!("drawn/tap_{tap}"), patches.index_select(1, &kept)));
    let all = taps.chain([("drawn/class".to_owned(), features.class.shallow_clone())]);
    all.map(|(name, actual)| {
        let expected = answers[&name].narrow(0, 0, count);
        (name, actual, expected)
    })
    .collect()
}

#[test]
fn features_are_those_of_timm() {
    for (name, actual, expected) in pairs(&drawn(Precision::Fp32), 2) {
        let off = max_difference(&actual, &expected) / f64::try_from(expected.abs().max()).unwrap();
        assert!(off <= TOLERANCE, "{name} must agree with timm, is off by {off}");
    }
}

#[test]
fn half_precision_stays_near_and_answers_in_float32() {
    for (name, actual, expected) in pairs(&drawn(Precision::Bf16), 1) {
        assert_eq!(actual.kind(), Kind::Float, "{name}");
        let length = |tensor: &Tensor| f64::try_from(tensor.norm()).unwrap();
        let off = length(&(actual.to_device(Device::Cpu) - &expected)) / length(&expected);
        // Eight bits of mantissa through 49 convolutions, whose drawn weights damp no error as trained ones do.
        assert!(off <= HALF_TOLERANCE, "{name} must be near timm's, is off by {off}");
        assert!(off > TOLERANCE, "{name} is off by {off}: it must have been computed in bfloat16");
    }
}

#[test]
fn a_starter_folder_says_what_it_is() {
    let info = drawn(Precision::Fp32).info().clone();
    assert_eq!((info.name.as_str(), info.provenance.as_str()), ("efficientnet-lite0", "starter"));
    assert_eq!((info.grid, info.embed_dim, info.has_text), ((15, 15), 1280, false));
    assert_eq!((info.taps, info.tap_channels), (vec![3, 5, 7], vec![40, 112, 320]));
    assert_eq!(info.preprocess.size, 240);
    let of_level = |level: f32| (level / 255.0 - info.preprocess.mean[0]) / info.preprocess.std[0];
    for level in [0.0, 127.0, 255.0] {
        assert!((of_level(level) - (level - 127.0) / 128.0).abs() < 1e-6, "(level - 127) / 128 of {level}");
    }
}

#[test]
fn a_query_scores_the_same_alone_and_in_any_batch() {
    let backbone = drawn(Precision::Fp32);
    let images = generated::images(7);
    let prompts = PromptFeatures::new(&backbone.encode_images(&images.narrow(0, 5, 2)).unwrap(), None, None);
    let head = generated::head(backbone.info(), device());
    let score = |pixels: &Tensor| {
        let features = backbone.encode_images(pixels).unwrap();
        head.score(&Residuals::new(&features, &prompts), &prompts).unwrap()
    };
    let together = score(&images.narrow(0, 0, 5));
    for (row, batched) in together.iter().enumerate() {
        let alone = score(&images.narrow(0, row as i64, 1)).remove(0);
        let numbers = |scores: &inctrl_model::Scores| {
            let components = [scores.image_score.unwrap(), scores.holistic_score.unwrap()];
            [&[scores.score, scores.patch_max], components.as_slice(), &scores.map].concat()
        };
        for (batched, alone) in numbers(batched).into_iter().zip(numbers(&alone)) {
            let off = (batched - alone).abs();
            assert!(off <= BATCH_TOLERANCE, "query {row}: {batched} in the batch, {alone} alone");
        }
    }
    let spread = together[0].score - together[1].score;
    assert!(spread.abs() > 10.0 * BATCH_TOLERANCE, "different images must score differently");
}

#[test]
fn another_size_than_the_towers_is_refused_with_the_setting() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    generated::efficientnet::write_backbone(folder.path());
    let config = r#"{"architecture": "efficientnet-lite0",
        "preprocess": {"size": 224, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "fit": "crop"}}"#;
    std::fs::write(folder.path().join("backbone_config.json"), config).unwrap();
    let Err(error) = Backbone::open(folder.path(), Device::Cpu, Precision::Fp32) else {
        panic!("a size of 224 must be refused");
    };
    let message = error.to_string();
    assert!(message.contains("preprocess.size is 224") && message.contains("needs 240"), "{message}");
}

#[test]
fn a_variance_below_zero_is_named() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    generated::efficientnet::write_backbone(folder.path());
    let weights = folder.path().join("model.safetensors");
    let mut tensors = read_tensors(&weights);
    let name = "_blocks.3._bn1.running_var";
    let _ = tensors.get_mut(name).unwrap().get(2).fill_(-0.5);
    let tensors: Vec<(&str, &Tensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    Tensor::write_safetensors(&tensors, &weights).unwrap();
    let Err(error) = Backbone::open(folder.path(), Device::Cpu, Precision::Fp32) else {
        panic!("a variance below zero must be refused");
    };
    let message = error.to_string();
    assert!(message.contains(&format!("variances below zero in: {name}")), "{message}");
}
