//! The CLIP towers against the authors' code: features of every case of every parity folder.
//!
//! Pixels come from the answers, so that image decoders play no part here.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

#[expect(dead_code, reason = "each test binary uses its part of the shared support")]
mod support;

use inctrl_model::{Backbone, Precision};
use tch::Tensor;

use support::{ParityFolder, device, max_difference, parity_folders};

/// Largest difference of a class feature, whose entries are of order 1.
const CLASS_TOLERANCE: f64 = 2e-5;
/// Largest difference of a unit-length text feature.
const TEXT_TOLERANCE: f64 = 1e-5;
/// Largest relative difference of a patch token: the answers are stored with the 11 significant bits of float16.
const PATCH_TOLERANCE: f64 = 1.0 / 2048.0 + 1e-4;
/// Largest difference in any feature of a query alone and in a batch.
const BATCH_TOLERANCE: f64 = 1e-5;
/// The same on a GPU, which takes other kernels for other batches: 1.05e-5 was measured on an H200.
const CUDA_BATCH_TOLERANCE: f64 = 2e-5;

fn open(folder: &ParityFolder) -> Backbone {
    Backbone::open(folder.backbone_folder().path(), device(), Precision::Fp32).unwrap()
}

#[test]
fn image_features_are_those_of_the_authors() {
    for folder in parity_folders() {
        let backbone = open(&folder);
        let info = backbone.info();
        for (i, case) in folder.expected.cases.iter().enumerate() {
            let features = backbone.encode_images(&folder.image(&case.query)).unwrap();
            let at = format!("case {i} of {}", folder.path.display());
            let class = max_difference(&features.class.squeeze(), folder.answer(i, "class_token"));
            assert!(class <= CLASS_TOLERANCE, "{at}: class feature must agree, is off by {class}");
            for (tap, tokens) in info.taps.iter().zip(&features.taps) {
                let expected = folder.answer(i, &format!("patch_tokens_{tap}"));
                let scale = f64::try_from(expected.abs().max()).unwrap();
                let off = max_difference(&tokens.squeeze_dim(0), expected) / scale;
                assert!(off <= PATCH_TOLERANCE, "{at}: patch tokens {tap} must agree, are off by {off}");
            }
        }
    }
}

#[test]
fn text_features_are_those_of_the_authors() {
    for folder in parity_folders() {
        let backbone = open(&folder);
        for (i, case) in folder.expected.cases.iter().enumerate() {
            let features = backbone.encode_object(&case.object).unwrap().unwrap();
            let off = max_difference(&features, folder.answer(i, "text_features"));
            assert!(off <= TEXT_TOLERANCE, "{:?} in {}: off by {off}", case.object, folder.path.display());
        }
    }
}

#[test]
fn an_image_has_the_same_features_alone_and_in_a_batch() {
    let folder = &parity_folders()[0];
    let backbone = open(folder);
    let names: Vec<String> = folder.expected.cases.iter().map(|case| case.query.clone()).collect();
    let batch = backbone.encode_images(&folder.images(&names)).unwrap();
    for (i, name) in names.iter().enumerate() {
        let alone = backbone.encode_images(&folder.image(name)).unwrap();
        let row = batch.select(&[i as i64]);
        let tensors = alone.taps.iter().zip(&row.taps).chain([(&alone.class, &row.class)]);
        for (alone, row) in tensors {
            let off = max_difference(alone, row);
            let tolerance = if device().is_cuda() { CUDA_BATCH_TOLERANCE } else { BATCH_TOLERANCE };
            assert!(off <= tolerance, "{name} must not depend on its batch, is off by {off}");
        }
    }
}

#[test]
fn bfloat16_stays_near_float32() {
    let folder = &parity_folders()[0];
    let full = open(folder);
    let half = Backbone::open(folder.backbone_folder().path(), device(), Precision::Bf16).unwrap();
    assert_eq!(full.info(), half.info(), "precision is no part of what a backbone is");
    let pixels = folder.image(&folder.expected.cases[0].query);
    let (full, half) = (full.encode_images(&pixels).unwrap(), half.encode_images(&pixels).unwrap());
    assert_eq!(half.class.kind(), tch::Kind::Float, "features must leave the backbone in float32");
    let cosine = f64::try_from(Tensor::cosine_similarity(&full.class, &half.class, 1, 1e-8)).unwrap();
    assert!(cosine > 0.999, "class features must point the same way, cosine is {cosine}");
    assert!(max_difference(&full.class, &half.class) > 0.0, "the other precision must have been used");
}
