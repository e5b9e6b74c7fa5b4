//! The full ViT-B-16-plus-240 against open_clip, with weights that both draw from a counter. The answers were
//! written by `tests/oracles/open_clip_vit_b_16_plus_240.py`.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

#[expect(dead_code, reason = "each test binary uses its part of the shared support")]
mod support;

use std::path::Path;

use inctrl_model::{Backbone, Precision};
use support::{device, generated, max_difference, read_tensors};
use tch::Tensor;

/// Largest difference relative to the largest entry.
const TOLERANCE: f64 = 1e-4;

/// The object whose text prompts are the two sentences of the answers.
const OBJECT: &str = "airplane";

/// The patch tokens of the answers.
const KEPT_TOKENS: [i64; 8] = [0, 14, 31, 67, 112, 155, 210, 224];

#[test]
fn features_at_the_full_size_are_those_of_open_clip() {
    let answers =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/open_clip_vit_b_16_plus_240.safetensors");
    let answers = read_tensors(&answers);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    generated::write_backbone(folder.path());
    let backbone = Backbone::open(folder.path(), device(), Precision::Fp32).unwrap();
    drop(folder);

    let check = |name: &str, actual: &Tensor| {
        let expected = &answers[name];
        let off = max_difference(actual, expected) / f64::try_from(expected.abs().max()).unwrap();
        assert!(off <= TOLERANCE, "{name} must agree with open_clip, is off by {off}");
    };
    let features = backbone.encode_images(&generated::images(2)).unwrap();
    check("class", &features.class);
    let kept = Tensor::from_slice(&KEPT_TOKENS).to_device(device());
    for (tap, tokens) in backbone.info().taps.iter().zip(&features.taps) {
        check(&format!("patch_tokens_{tap}"), &tokens.index_select(1, &kept));
    }
    check("text", &backbone.encode_object(OBJECT).unwrap().unwrap());
}
