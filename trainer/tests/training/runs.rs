//! What a run leaves.

use std::ops::ControlFlow;

use inctrl_model::{Device, Head, HeadKind};
use inctrl_storage::Manifest;
use inctrl_trainer::config::{Recipe, TrainConfig};
use inctrl_trainer::run::{Ending, Moment, run};
use inctrl_trainer::train::LossCurve;

use crate::fixture::{CATEGORIES, fixture, names_in, out};

fn trained(config: &TrainConfig) -> Manifest {
    match run(config, false, &mut |_| ControlFlow::Continue(())).unwrap() {
        Ending::Trained(manifest) => manifest,
        other => panic!("a run into an empty folder must train, ended with {other:?}"),
    }
}

#[test]
fn a_run_leaves_a_head_its_curve_and_a_manifest_and_nothing_else() {
    let fixture = fixture();
    for kind in [HeadKind::Paper, HeadKind::Contextual] {
        let (_folder, out) = out();
        let manifest = trained(&fixture.config(kind, &out));
        assert_eq!(names_in(&out), ["head.safetensors", "loss-curve.json", "manifest.json"]);

        let head = Head::load(&out.join("head.safetensors"), Device::Cpu).unwrap();
        assert_eq!(head.metadata().kind, kind);
        assert_eq!(head.metadata().uses_text, kind == HeadKind::Paper, "this backbone has a text tower");
        assert_eq!(manifest.revision.to_string(), head.digest());
        assert_eq!(manifest.record.backbone.digest.to_string(), head.metadata().backbone.digest);
        let images = 5 * (5 + 2);
        assert_eq!(manifest.record.dataset.fingerprint.objects, images);
        let on_disk = std::fs::read(out.join("manifest.json")).unwrap();
        assert_eq!(Manifest::from_json(&on_disk, None).unwrap(), manifest);
        assert_eq!(manifest.record.hyperparameters["seed"], 7);
        assert_eq!(
            manifest.record.hyperparameters["learningRate"],
            if kind == HeadKind::Paper { 1e-3 } else { 3e-2 }
        );

        let curve = std::fs::read(out.join("loss-curve.json")).unwrap();
        let curve: LossCurve = serde_json::from_slice(&curve).unwrap();
        assert_eq!(curve.head, kind);
        assert_eq!(curve.epochs.len(), 3);
        assert_eq!(curve.held_out.len(), 1);
        assert!(CATEGORIES.contains(&curve.held_out[0].as_str()));
        let best =
            curve.epochs.iter().map(|epoch| epoch.validation.unwrap().loss).fold(f32::INFINITY, f32::min);
        let kept = &curve.epochs[curve.kept as usize - 1];
        assert_eq!(kept.epoch, curve.kept);
        assert_eq!(kept.validation.unwrap().loss.to_bits(), best.to_bits(), "the best epoch must be kept");
    }
}

#[test]
fn the_loss_falls() {
    let fixture = fixture();
    for kind in [HeadKind::Paper, HeadKind::Contextual] {
        let (_folder, out) = out();
        let mut settings = fixture.settings(kind, &out);
        settings.training.epochs = Some(4);
        settings.training.steps = Some(16);
        // What this backbone of drawn weights tells apart: stripes of other classes.
        settings.training.shots = Some(vec![4]);
        settings.training.other_class = Some(1.0);
        settings.training.learning_rate = Some(0.03);
        settings.validation.share = Some(0.0);
        let mut losses = Vec::new();
        run(&TrainConfig::new(settings).unwrap(), false, &mut |moment| {
            if let Moment::Epoch(record) = moment {
                losses.push(record.loss);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < 0.8 * first, "{kind}: the loss must fall, went {losses:?}");
    }
}

#[test]
fn the_same_settings_give_the_same_bytes_and_another_seed_others() {
    let fixture = fixture();
    let head_of = |kind, seed| {
        let (_folder, out) = out();
        let mut settings = fixture.settings(kind, &out);
        settings.seed = seed;
        settings.training.epochs = Some(2);
        settings.validation.share = Some(0.0);
        trained(&TrainConfig::new(settings).unwrap());
        std::fs::read(out.join("head.safetensors")).unwrap()
    };
    for kind in [HeadKind::Paper, HeadKind::Contextual] {
        assert_eq!(head_of(kind, 3), head_of(kind, 3));
        assert_ne!(head_of(kind, 3), head_of(kind, 4));
    }
}

#[test]
fn the_official_recipe_trains_on_all_classes_and_keeps_the_last_epoch() {
    let fixture = fixture();
    let (_folder, out) = out();
    let mut settings = fixture.settings(HeadKind::Paper, &out);
    settings.recipe = Recipe::Official;
    settings.training.shots = None;
    let manifest = trained(&TrainConfig::new(settings).unwrap());
    let of_run = &manifest.record.hyperparameters;
    assert_eq!(of_run["recipe"], "official");
    assert_eq!(of_run["sigmoids"], "double");
    assert_eq!(of_run["queryAmongPrompts"], true);
    assert_eq!(of_run["shots"], serde_json::json!([2]));
    let curve = std::fs::read(out.join("loss-curve.json")).unwrap();
    let curve: LossCurve = serde_json::from_slice(&curve).unwrap();
    assert_eq!((curve.kept, curve.held_out.len()), (3, 0));
    // Both terms balanced lie in this range with the second sigmoid, and nowhere else.
    assert!(curve.epochs.iter().all(|epoch| (0.19..0.88).contains(&epoch.loss)), "{curve:?}");
}

#[test]
fn data_sets_are_trained_on_together_and_named_by_the_folder_above_them() {
    let fixture = fixture();
    let (folder, out) = out();
    let other = folder.path().join("more");
    crate::fixture::draw_category(&other.join("bolts"), 3, 5, 1);
    crate::fixture::draw_category(&folder.path().join("first/gears"), 4, 5, 1);
    let mut settings = fixture.settings(HeadKind::Contextual, &out);
    settings.data = ["first", "more"]
        .map(|name| {
            inctrl_trainer::data::DatasetSpec::new(
                inctrl_trainer::data::Format::Mvtec,
                folder.path().join(name),
            )
        })
        .to_vec();
    let manifest = trained(&TrainConfig::new(settings).unwrap());
    let root = folder.path().canonicalize().unwrap();
    assert_eq!(manifest.record.dataset.uri.to_string(), format!("file://{}", root.display()));
    assert_eq!(manifest.record.dataset.fingerprint.objects, 12);
}
