//! Opening a backbone folder: what is wrong with it is said, with names; what it holds decides its digest.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

#[expect(dead_code, reason = "each test binary uses its part of the shared support")]
mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use inctrl_model::{Backbone, BackboneInfo, Device, Precision};
use support::{parity_folders, read_tensors, write_backbone_folder};
use tch::{Kind, Tensor};
use tempfile::TempDir;

const CONFIG: &str = "open_clip_config.json";
const WEIGHTS: &str = "open_clip_model.safetensors";

/// A sound backbone folder.
fn sound() -> TempDir {
    parity_folders()[0].backbone_folder()
}

/// A sound folder's weights after a change.
fn with_weights(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> TempDir {
    let folder = sound();
    let mut state = read_tensors(&folder.path().join(WEIGHTS));
    change(&mut state);
    write_backbone_folder(&parity_folders()[0].expected.config, &state)
}

/// A sound folder's configuration after a change.
fn with_config(change: impl FnOnce(&mut serde_json::Value)) -> TempDir {
    let folder = sound();
    let path = folder.path().join(CONFIG);
    let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
    folder
}

fn info(folder: &Path) -> BackboneInfo {
    Backbone::open(folder, Device::Cpu, Precision::Fp32).unwrap().info().clone()
}

/// Why the folder is refused: the message and those of its causes.
fn refusal(folder: &Path) -> String {
    let Err(error) = Backbone::open(folder, Device::Cpu, Precision::Fp32) else {
        panic!("{} must be refused", folder.display());
    };
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} must say {part:?}");
    }
}

#[test]
fn a_clip_folder_says_what_it_is() {
    let info = info(sound().path());
    assert_eq!((info.provenance.as_str(), info.grid, info.embed_dim), ("clip", (15, 15), 640));
    assert_eq!((info.taps, info.tap_channels), (vec![7, 9, 11], vec![64; 3]));
    assert!(info.has_text && info.digest.len() == "sha256:".len() + 64, "{}", info.digest);
}

#[test]
fn a_folder_without_configuration_is_told_what_it_must_hold() {
    let empty = tempfile::tempdir().unwrap();
    assert_says(&refusal(empty.path()), &["no backbone folder", CONFIG, WEIGHTS, "tokenizer.json"]);
}

#[test]
fn an_absent_file_is_named() {
    for file in [WEIGHTS, "bpe_simple_vocab_16e6.txt.gz"] {
        let folder = sound();
        std::fs::remove_file(folder.path().join(file)).unwrap();
        assert_says(&refusal(folder.path()), &[file, folder.path().to_str().unwrap()]);
    }
}

#[test]
fn a_configuration_that_cannot_be_computed_is_refused_with_the_setting() {
    let malformed = sound();
    std::fs::write(malformed.path().join(CONFIG), "{").unwrap();
    assert_says(&refusal(malformed.path()), &[CONFIG, "malformed", "line 1"]);
    let shallow = with_config(|config| config["model_cfg"]["vision_cfg"]["layers"] = 2.into());
    assert_says(&refusal(shallow.path()), &[CONFIG, "vision_cfg.layers is 2"]);
    let foreign = with_config(|config| config["model_cfg"]["vision_cfg"]["timm_model_name"] = "vit".into());
    assert_says(&refusal(foreign.path()), &["vision_cfg.timm_model_name", "not supported"]);
}

#[test]
fn every_tensor_that_does_not_fit_is_named_at_once() {
    let folder = with_weights(|state| {
        state.remove("visual.proj");
        state.insert("visual.extra".to_owned(), Tensor::ones([3], (Kind::Float, Device::Cpu)));
        state.insert("ln_final.weight".to_owned(), Tensor::ones([31], (Kind::Float, Device::Cpu)));
        let _ = state.get_mut("visual.ln_pre.bias").unwrap().get(0).fill_(f64::NAN);
    });
    let message = refusal(folder.path());
    assert_says(&message, &["missing: visual.proj", "surplus: visual.extra"]);
    assert_says(
        &message,
        &["ln_final.weight (expected [32], is [31])", "infinite values in: visual.ln_pre.bias"],
    );
}

#[test]
fn a_long_list_of_names_is_shortened() {
    let folder = with_config(|config| config["model_cfg"]["vision_cfg"]["layers"] = 13.into());
    assert_says(&refusal(folder.path()), &["missing: visual.transformer.resblocks.12.", "and 7 more"]);
}

#[test]
fn whole_numbers_are_no_weights() {
    let folder = with_weights(|state| {
        let bias = state.get_mut("visual.ln_pre.bias").unwrap();
        *bias = bias.to_kind(Kind::Int64);
    });
    assert_says(&refusal(folder.path()), &["not 16 or 32-bit floats: visual.ln_pre.bias (I64)"]);
}

#[test]
fn a_file_cut_short_is_refused() {
    for keep in [0, 4, 100, 1 << 20] {
        let folder = sound();
        let path = folder.path().join(WEIGHTS);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..keep]).unwrap();
        assert_says(&refusal(folder.path()), &[WEIGHTS, "not a complete safetensors file"]);
    }
}

#[test]
fn the_digest_is_of_what_is_computed_not_of_how_it_is_stored() {
    let digest = info(sound().path()).digest;
    // The weights of the answers are exact in float16.
    let halved = with_weights(|state| {
        for tensor in state.values_mut() {
            *tensor = tensor.to_kind(Kind::Half);
        }
        state.insert("logit_scale".to_owned(), Tensor::from(4.6_f32));
    });
    assert_eq!(info(halved.path()).digest, digest, "number format and logit_scale must not matter");
    let nudged = with_weights(|state| {
        let _ = state.get_mut("visual.ln_pre.bias").unwrap().get(0).fill_(0.5);
    });
    assert_ne!(info(nudged.path()).digest, digest, "a changed weight must show");
    let tapped = with_config(|config| config["inctrl"] = serde_json::json!({ "taps": [6, 9, 12] }));
    let tapped = info(tapped.path());
    assert_eq!(tapped.taps, [6, 9, 12]);
    assert_ne!(tapped.digest, digest, "other taps must show");
}

#[test]
fn pixels_of_another_size_are_refused() {
    let backbone = Backbone::open(sound().path(), Device::Cpu, Precision::Fp32).unwrap();
    for shape in [&[1, 3, 224, 224][..], &[3, 240, 240], &[0, 3, 240, 240], &[1, 1, 240, 240]] {
        let pixels = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let message = backbone.encode_images(&pixels).unwrap_err().to_string();
        assert_says(&message, &[&format!("{shape:?}"), "[B, 3, 240, 240]"]);
    }
    assert!(backbone.stack(&[]).is_err(), "no pixels must be refused");
}
