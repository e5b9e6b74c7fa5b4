//! Head files: what is refused, and that equal weights have equal names.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

mod fixtures;

use std::error::Error as _;

use fixtures::{backbone, features, head, numbers, tensors, text};
use inctrl_model::{Device, Head, HeadError, HeadKind, HeadMetadata, PromptFeatures, Residuals};
use tch::Tensor;

const KINDS: [HeadKind; 2] = [HeadKind::Paper, HeadKind::Contextual];

/// Makes a head after `spoil` had its way with the tensors.
fn spoilt(kind: HeadKind, spoil: impl FnOnce(&mut Vec<(String, Tensor)>)) -> Result<Head, HeadError> {
    let metadata = HeadMetadata::new(kind, backbone(false));
    let mut tensors = tensors(&metadata, 1.0);
    spoil(&mut tensors);
    Head::from_tensors(&metadata, tensors, Device::Cpu)
}

fn message(result: Result<Head, HeadError>) -> String {
    result.expect_err("the head must be refused").to_string()
}

#[test]
fn equal_weights_have_equal_bytes_whatever_order_they_come_in() {
    for kind in KINDS {
        let plain = spoilt(kind, |_| {}).unwrap();
        let reversed = spoilt(kind, |tensors| tensors.reverse()).unwrap();
        assert_eq!(plain.to_bytes(), reversed.to_bytes());
        assert_eq!(plain.digest(), reversed.digest());
        assert!(plain.digest().starts_with("sha256:"));
        let other = spoilt(kind, |tensors| tensors[0].1 += 0.5).unwrap();
        assert_ne!(plain.digest(), other.digest(), "other weights must have another name");
    }
}

#[test]
fn a_head_that_was_written_reads_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let path = folder.path().join("head.safetensors");
        let written = head(kind, false, 2.0);
        std::fs::write(&path, written.to_bytes()).unwrap();
        let read = Head::load(&path, Device::Cpu).unwrap();
        assert_eq!(read.metadata(), written.metadata());
        assert_eq!(read.digest(), written.digest());
        assert_eq!(read.to_bytes(), written.to_bytes());
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let refused = message(spoilt(HeadKind::Paper, |tensors| drop(tensors.remove(1))));
    assert!(refused.contains("missing: adapter.fc.2.weight"), "{refused}");
    assert!(refused.contains("paper head on fixture-tower"), "{refused}");
}

#[test]
fn a_surplus_tensor_is_named() {
    let refused = message(spoilt(HeadKind::Contextual, |tensors| {
        tensors.push(("visual.proj".to_owned(), numbers(&[2], 0.0)));
    }));
    assert!(refused.contains("surplus: visual.proj"), "{refused}");
}

#[test]
fn a_misshapen_tensor_is_named_with_both_shapes() {
    let refused = message(spoilt(HeadKind::Paper, |tensors| tensors[0].1 = numbers(&[6, 25], 0.0)));
    assert!(refused.contains("adapter.fc.0.weight (expected [6, 24], is [6, 25])"), "{refused}");
}

#[test]
fn a_tensor_with_nan_is_named() {
    for kind in KINDS {
        let mut name = String::new();
        let refused = message(spoilt(kind, |tensors| {
            name.clone_from(&tensors[1].0);
            let _ = tensors[1].1.view([-1]).get(0).fill_(f64::NAN);
        }));
        assert!(refused.contains(&format!("NaN or infinite values in: {name}")), "{refused}");
    }
}

#[test]
fn a_deviation_of_zero_or_a_negative_variance_is_named() {
    let cases = [
        (HeadKind::Contextual, "standard.deviation", 0.0),
        (HeadKind::Paper, "diff_head.bn2.running_var", -1e-3),
    ];
    for (kind, name, value) in cases {
        let spoil = |tensors: &mut Vec<(String, Tensor)>| {
            let (_, tensor) = tensors.iter_mut().find(|(other, _)| other == name).unwrap();
            let _ = tensor.get(0).fill_(value);
        };
        let refused = message(spoilt(kind, spoil));
        assert!(refused.contains(name), "{refused}");
    }
}

#[test]
fn a_head_of_another_backbone_is_refused_with_both_names() {
    let mut other = backbone(false);
    "vit-of-elsewhere".clone_into(&mut other.name);
    "sha256:4567".clone_into(&mut other.digest);
    let head = head(HeadKind::Paper, false, 1.0);
    let refused = head.check_backbone(&other).unwrap_err().to_string();
    for part in ["fixture-tower", "sha256:0123", "vit-of-elsewhere", "sha256:4567"] {
        assert!(refused.contains(part), "{refused} must name {part}");
    }
    head.check_backbone(&backbone(false)).unwrap();
}

#[test]
fn what_is_not_a_head_file_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.safetensors");
    let whole = head(HeadKind::Paper, false, 1.0).to_bytes();
    let plain = safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView<'_>)>::new(), None);
    for bytes in [b"not safetensors at all".to_vec(), whole[..whole.len() - 1].to_vec(), plain.unwrap()] {
        std::fs::write(&path, bytes).unwrap();
        let refused = Head::load(&path, Device::Cpu).unwrap_err();
        assert!(refused.to_string().contains("picture.safetensors"), "{refused}");
        let cause = refused.source().unwrap().to_string();
        assert!(cause.contains("not a head file"), "{cause}");
    }
    let absent = Head::load(&folder.path().join("absent"), Device::Cpu).unwrap_err();
    assert!(matches!(absent, HeadError::Read { .. }));
}

#[test]
fn a_later_format_is_named_as_such() {
    let bytes = head(HeadKind::Contextual, false, 1.0).to_bytes();
    let at = bytes.windows(19).position(|part| part == br#"format_version\":1,"#).unwrap();
    let mut later = bytes;
    later[at + 17] = b'7';
    let refused = message(Head::from_bytes(&later, Device::Cpu));
    assert!(refused.contains("format version 7"), "{refused}");
}

#[test]
fn a_head_that_uses_text_refuses_a_prompt_set_without() {
    let images = features(3, 1.0);
    let without = PromptFeatures::new(&images, None, None);
    let with = PromptFeatures::new(&images, None, Some(text()));
    let queries = features(2, 5.0);
    let head = head(HeadKind::Paper, true, 1.0);
    assert!(head.metadata().uses_text);
    assert!(matches!(head.score(&Residuals::new(&queries, &without), &without), Err(HeadError::NoText)));
    let scores = head.score(&Residuals::new(&queries, &with), &with).unwrap();
    assert!(scores.iter().all(|scores| scores.text_score.is_some()));
}

#[test]
fn without_a_text_tower_the_text_score_is_left_out_and_said_so() {
    let prompts = PromptFeatures::new(&features(3, 1.0), None, None);
    let head = head(HeadKind::Paper, false, 1.0);
    assert!(!head.metadata().uses_text);
    let scores = head.score(&Residuals::new(&features(2, 5.0), &prompts), &prompts).unwrap();
    for scores in scores {
        assert_eq!(scores.text_score, None);
        assert!(scores.image_score.is_some() && scores.holistic_score.is_some());
        approx::assert_abs_diff_eq!(
            scores.score,
            f32::midpoint(scores.holistic_score.unwrap(), scores.patch_max)
        );
    }
}

#[test]
fn features_of_another_grid_are_refused() {
    let cut = |count| {
        let mut features = features(count, 1.0);
        features.taps.iter_mut().for_each(|tap| *tap = tap.narrow(1, 0, 20));
        features
    };
    let prompts = PromptFeatures::new(&cut(2), None, None);
    let residuals = Residuals::new(&cut(1), &prompts);
    let refused = head(HeadKind::Paper, false, 1.0).score(&residuals, &prompts).unwrap_err();
    assert_eq!(refused.to_string(), "head expects 30 patches of the map, got 20");
}
