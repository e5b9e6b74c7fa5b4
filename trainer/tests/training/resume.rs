//! Interrupted runs, and folders that hold something already.

use std::ops::ControlFlow;

use inctrl_model::HeadKind;
use inctrl_trainer::config::TrainConfig;
use inctrl_trainer::data::{DatasetSpec, Format};
use inctrl_trainer::run::{Ending, Moment, run};
use inctrl_trainer::train::TrainError;

use crate::fixture::{draw_category, fixture, names_in, out};

fn whole(config: &TrainConfig) -> Ending {
    run(config, false, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Runs `epochs` more epochs, then stops as if the process had ended.
fn stopped_after(config: &TrainConfig, epochs: usize) -> Ending {
    stopped_at(config, epochs, |moment| matches!(moment, Moment::Epoch(_)))
}

/// Stops when the run has come `times` to such a moment.
fn stopped_at(config: &TrainConfig, times: usize, is_such: fn(&Moment<'_>) -> bool) -> Ending {
    let mut seen = 0;
    run(config, false, &mut |moment| {
        seen += usize::from(is_such(&moment));
        if seen == times { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap()
}

#[test]
fn a_resumed_run_gives_bit_for_bit_what_an_uninterrupted_one_gives() {
    let fixture = fixture();
    for kind in [HeadKind::Paper, HeadKind::Contextual] {
        let ((_one, straight), (_other, interrupted)) = (out(), out());
        whole(&fixture.config(kind, &straight));
        let config = fixture.config(kind, &interrupted);
        assert!(matches!(stopped_after(&config, 1), Ending::Stopped));
        assert_eq!(names_in(&interrupted), ["checkpoint.safetensors"]);
        // Within an epoch: what it did is given up.
        assert!(matches!(stopped_at(&config, 3, |moment| matches!(moment, Moment::Step)), Ending::Stopped));
        assert!(matches!(stopped_after(&config, 1), Ending::Stopped));
        assert!(matches!(whole(&config), Ending::Trained(_)));
        for name in ["head.safetensors", "loss-curve.json"] {
            let [one, other] = [&straight, &interrupted].map(|out| std::fs::read(out.join(name)).unwrap());
            assert_eq!(one, other, "{name} of a {kind} head must be the same");
        }
        assert_eq!(names_in(&interrupted), ["head.safetensors", "loss-curve.json", "manifest.json"]);
    }
}

#[test]
fn the_checkpoint_of_other_settings_is_refused_and_left_as_it_is() {
    let fixture = fixture();
    let (_folder, out) = out();
    stopped_after(&fixture.config(HeadKind::Contextual, &out), 1);
    let before = std::fs::read(out.join("checkpoint.safetensors")).unwrap();
    let mut settings = fixture.settings(HeadKind::Contextual, &out);
    settings.seed = 8;
    settings.training.learning_rate = Some(0.5);
    let other = TrainConfig::new(settings).unwrap();
    let refused = run(&other, false, &mut |_| ControlFlow::Continue(())).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("another learningRate, seed;") && said.contains("--restart"), "{said}");
    assert_eq!(std::fs::read(out.join("checkpoint.safetensors")).unwrap(), before);
    assert!(matches!(run(&other, true, &mut |_| ControlFlow::Continue(())).unwrap(), Ending::Trained(_)));
}

#[test]
fn a_damaged_checkpoint_is_refused_with_the_way_out() {
    let fixture = fixture();
    let (_folder, out) = out();
    let config = fixture.config(HeadKind::Contextual, &out);
    stopped_after(&config, 1);
    let path = out.join("checkpoint.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for damaged in [&bytes[..bytes.len() - 3], b"nothing".as_slice()] {
        std::fs::write(&path, damaged).unwrap();
        let refused = run(&config, false, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(refused, TrainError::Checkpoint { .. }), "{refused:?}");
        assert!(refused.to_string().contains("--restart"), "{refused}");
    }
}

#[test]
fn a_head_that_is_there_is_not_trained_again_and_never_overwritten() {
    let fixture = fixture();
    let (_folder, out) = out();
    let config = fixture.config(HeadKind::Contextual, &out);
    whole(&config);
    let before = std::fs::read(out.join("manifest.json")).unwrap();
    assert!(matches!(whole(&config), Ending::AlreadyThere(_)));
    let other = fixture.config(HeadKind::Paper, &out);
    let refused = run(&other, true, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(refused.contains("head") && refused.contains("give another --out"), "{refused}");
    assert_eq!(std::fs::read(out.join("manifest.json")).unwrap(), before);
}

#[test]
fn a_head_of_labels_that_were_corrected_since_is_not_taken_for_the_new_one() {
    let fixture = fixture();
    let (folder, out) = out();
    let data = folder.path().join("data");
    let mut entries = Vec::new();
    for (number, category) in ["bolts", "tiles"].into_iter().enumerate() {
        draw_category(&data.join(category), number as u32, 6, 2);
        for (kind, count, target) in [("train/good", 6, 0), ("test/hole", 2, 1)] {
            entries.extend((0..count).map(|image| {
                let path = format!("{category}/{kind}/{image}.png");
                serde_json::json!({ "image_path": path, "target": target, "type": category })
            }));
        }
    }
    let write = |entries: &[serde_json::Value]| {
        std::fs::write(data.join("train.json"), serde_json::to_vec(entries).unwrap()).unwrap();
    };
    let mut settings = fixture.settings(HeadKind::Contextual, &out);
    settings.data =
        vec![DatasetSpec { lists: vec!["train.json".into()], ..DatasetSpec::new(Format::List, &data) }];
    settings.training.epochs = Some(1);
    let config = TrainConfig::new(settings).unwrap();
    write(&entries);
    assert!(matches!(whole(&config), Ending::Trained(_)));
    assert!(matches!(whole(&config), Ending::AlreadyThere(_)));
    // The image that comes last shows no anomaly, someone found out.
    entries.last_mut().unwrap()["target"] = 0.into();
    write(&entries);
    let refused = run(&config, false, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(refused.contains("another labelling of the data set"), "{refused}");
}

#[test]
fn a_manifest_without_its_head_is_no_head() {
    let fixture = fixture();
    let (_folder, out) = out();
    let config = fixture.config(HeadKind::Contextual, &out);
    whole(&config);
    let head = out.join("head.safetensors");
    let bytes = std::fs::read(&head).unwrap();
    std::fs::write(&head, &bytes[..bytes.len() / 2]).unwrap();
    let refused = || run(&config, false, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(refused().contains("head.safetensors\" is not the head"), "{}", refused());
    std::fs::remove_file(&head).unwrap();
    assert!(refused().contains("head.safetensors\" is not the head"), "{}", refused());
    std::fs::write(&head, &bytes).unwrap();
    assert!(matches!(whole(&config), Ending::AlreadyThere(_)));
}
