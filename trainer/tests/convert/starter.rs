//! The starter backbone's state dict, in the old format as it is published; its weights are drawn.

use inctrl_model::{Backbone, Device, Precision};
use tch::{Kind, Tensor};

use crate::file::{Age, Stored, write};
use crate::{assert_says, convert, names, said};

/// Kernel, expansion, channels, repeats of each stage.
const STAGES: [(i64, i64, i64, usize); 7] = [
    (3, 1, 16, 1),
    (3, 6, 24, 2),
    (5, 6, 40, 2),
    (3, 6, 80, 3),
    (5, 6, 112, 3),
    (5, 6, 192, 4),
    (3, 6, 320, 1),
];

/// The whole published layout, the classifier and the counters of training included.
fn state() -> Vec<Stored> {
    let mut state = Vec::new();
    let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let mut conv = |conv: &str, norm: &str, shape: [i64; 4]| {
        let fan_in = shape[1..].iter().product::<i64>() as f64;
        state.push(Stored::new(&format!("{conv}.weight"), &(ones(&shape) / fan_in)));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            state.push(Stored::new(&format!("{norm}.{part}"), &ones(&shape[..1])));
        }
        state.push(Stored::new(&format!("{norm}.num_batches_tracked"), &Tensor::from(1_i64)));
    };
    conv("_conv_stem", "_bn0", [32, 3, 3, 3]);
    let (mut input, mut block) = (32, 0);
    for (kernel, expansion, channels, repeats) in STAGES {
        for _ in 0..repeats {
            let (name, width) = (format!("_blocks.{block}"), input * expansion);
            let mut part = |part: &str, norm: &str, shape| {
                conv(&format!("{name}.{part}"), &format!("{name}.{norm}"), shape);
            };
            if expansion > 1 {
                part("_expand_conv", "_bn0", [width, input, 1, 1]);
            }
            part("_depthwise_conv", "_bn1", [width, 1, kernel, kernel]);
            part("_project_conv", "_bn2", [channels, width, 1, 1]);
            (input, block) = (channels, block + 1);
        }
    }
    conv("_conv_head", "_bn1", [1280, 320, 1, 1]);
    state.push(Stored::new("_fc.weight", &ones(&[1000, 1280])));
    state.push(Stored::new("_fc.bias", &ones(&[1000])));
    state
}

#[test]
fn the_published_state_dict_becomes_a_starter_folder_without_the_classifier() {
    let work = tempfile::tempdir().unwrap();
    let checkpoint = work.path().join("efficientnet-lite0.pth");
    write(&checkpoint, &state(), Age::Old);
    let folder = work.path().join("backbones/lite0");
    let mut command = convert([checkpoint.as_path()]);
    command.arg("--into").arg(&folder);
    said(command, 0);
    assert_eq!(names(&folder), ["backbone_config.json", "model.safetensors"]);
    let weights = Tensor::read_safetensors(folder.join("model.safetensors")).unwrap();
    assert!(weights.iter().all(|(name, _)| !name.starts_with("_fc.") && !name.ends_with("_tracked")));
    let backbone = Backbone::open(&folder, Device::Cpu, Precision::Fp32).unwrap();
    let info = backbone.info();
    assert_eq!((info.name.as_str(), info.provenance.as_str()), ("efficientnet-lite0", "starter"));
    assert!(!info.has_text, "the starter backbone has no text tower");
}

#[test]
fn settings_of_a_clip_are_refused_and_not_ignored() {
    let work = tempfile::tempdir().unwrap();
    let checkpoint = work.path().join("efficientnet-lite0.pth");
    write(&checkpoint, &state(), Age::Old);
    for flag in ["--config", "--vocabulary"] {
        let mut command = convert([checkpoint.as_path()]);
        command.arg("--into").arg(work.path().join("backbone")).arg(flag).arg("some-file");
        assert_says(&said(command, 64), &["EfficientNet-Lite0", flag, "leave it out"]);
    }
    assert_eq!(names(work.path()), ["efficientnet-lite0.pth"]);
}

#[test]
fn every_tensor_that_does_not_fit_is_named() {
    let work = tempfile::tempdir().unwrap();
    let checkpoint = work.path().join("efficientnet-lite0.pth");
    let mut state = state();
    state.retain(|tensor| tensor.name != "_blocks.3._bn1.running_var");
    state.push(Stored::new("_blocks.16._bn0.bias", &Tensor::from_slice(&[0.5_f32])));
    let norm = state.iter_mut().find(|tensor| tensor.name == "_bn0.bias").unwrap();
    *norm = Stored::new("_bn0.bias", &Tensor::from_slice(&[f32::INFINITY; 31]));
    write(&checkpoint, &state, Age::Old);
    let mut command = convert([checkpoint.as_path()]);
    command.arg("--into").arg(work.path().join("lite0"));
    let said = said(command, 65);
    assert_says(&said, &["missing: _blocks.3._bn1.running_var", "surplus: _blocks.16._bn0.bias"]);
    assert_says(&said, &["_bn0.bias (expected [32], is [31])", "NaN or infinite values in: _bn0.bias"]);
    assert_eq!(names(work.path()), ["efficientnet-lite0.pth"]);
}
