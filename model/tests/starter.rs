//! The starter backbone with its trained weights against timm's `tf_efficientnet_lite0`, on two photographs. The answers
//! were written by `tests/oracles/efficientnet_lite0.py`.
//!
//! The weights are brought by `make backbone` (`make test` calls it). Where they are not, the trials are skipped: loudly,
//! and counted as ignored, never as passed.
#![expect(clippy::unwrap_used, reason = "what a trial cannot do must fail it")]

#[expect(dead_code, reason = "each test binary uses its part of the shared support")]
mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use inctrl_model::{Backbone, Device, Precision, Preprocess};
use libtest_mimic::{Arguments, Trial};
use support::{max_difference, read_tensors};
use tch::Tensor;

const STARTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.backbones/efficientnet-lite0");

/// Largest difference relative to the largest entry.
const TOLERANCE: f64 = 1e-4;

/// The photographs and the patches of the answers.
const IMAGES: [&str; 2] = ["q0.png", "n1.jpg"];
const KEPT_PATCHES: [i64; 8] = [0, 14, 31, 67, 112, 155, 210, 224];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let is_there = Path::new(STARTER).join("model.safetensors").is_file();
    if !is_there {
        let reason = format!("there is no backbone in {STARTER}; run make backbone");
        let _ = writeln!(
            std::io::stderr(),
            "\nSKIPPED: parity of the trained weights cannot be tested: {reason}\n"
        );
    }
    let trial = Trial::test("trained_features_are_those_of_timm", || {
        trained_features_are_those_of_timm();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![trial.with_ignored_flag(!is_there)]).exit_code()
}

fn trained_features_are_those_of_timm() {
    let backbone = Backbone::open(Path::new(STARTER), Device::Cpu, Precision::Fp32).unwrap();
    let features = backbone.encode_images(&photographs(&backbone.info().preprocess)).unwrap();
    let answers =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/timm_tf_efficientnet_lite0.safetensors");
    let answers = read_tensors(&answers);
    let check = |name: String, actual: &Tensor| {
        let expected = &answers[&name];
        let off = max_difference(actual, expected) / f64::try_from(expected.abs().max()).unwrap();
        assert!(off <= TOLERANCE, "{name} must agree with timm, is off by {off}");
    };
    let kept = Tensor::from_slice(&KEPT_PATCHES);
    for (tap, patches) in backbone.info().taps.iter().zip(&features.taps) {
        check(format!("trained/tap_{tap}"), &patches.index_select(1, &kept));
    }
    check("trained/class".to_owned(), &features.class);
}

/// Pixels of the parity data, from CLIP's normalisation back to levels and on to the starter backbone's.
fn photographs(starter: &Preprocess) -> Tensor {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/official-parity");
    let pixels = read_tensors(&data.join("preprocess.safetensors"));
    let pixels = IMAGES.map(|name| pixels[&format!("pixels/{name}")].shallow_clone());
    let column = |values: &[f32; 3]| Tensor::from_slice(values).view([3, 1, 1]);
    let clip = Preprocess::clip(starter.size);
    let levels = ((Tensor::stack(&pixels, 0) * column(&clip.std) + column(&clip.mean)) * 255.0).round();
    (levels / 255.0 - column(&starter.mean)) / column(&starter.std)
}
