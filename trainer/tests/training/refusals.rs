//! What a run refuses: what was wrong, where, what to do; nothing half-written.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use inctrl_model::{Backbone, Device, HeadKind, Precision};
use inctrl_telemetry::Chain;
use inctrl_trainer::config::{Settings, TrainConfig};
use inctrl_trainer::exit::Exit;
use inctrl_trainer::features::{FeatureCache, FeatureError, View};
use inctrl_trainer::files::write_whole;
use inctrl_trainer::run::run;
use inctrl_trainer::train::TrainError;

use crate::fixture::{draw_category, fixture, names_in, out};

/// Runs with `change`d settings, which must fail and leave nothing in the output folder.
fn refused(change: impl FnOnce(&mut Settings)) -> TrainError {
    let fixture = fixture();
    let (_folder, out) = out();
    let mut settings = fixture.settings(HeadKind::Contextual, &out);
    change(&mut settings);
    let config = TrainConfig::new(settings).unwrap();
    let error = run(&config, false, &mut |_| ControlFlow::Continue(())).unwrap_err();
    if out.is_dir() {
        assert_eq!(names_in(&out), Vec::<String>::new(), "a refused run must leave nothing");
    }
    error
}

fn said(error: &TrainError) -> String {
    Chain(error).to_string()
}

#[test]
fn a_missing_data_folder_is_named() {
    let error = refused(|settings| settings.data[0].path = "/nowhere/mvtec".into());
    assert!(said(&error).contains("no folder \"/nowhere/mvtec\"; check the path"), "{}", said(&error));
    assert_eq!(error.exit(), Exit::BadData);
}

#[test]
fn a_data_set_without_anomalies_is_named() {
    let folder = tempfile::tempdir().unwrap();
    draw_category(&folder.path().join("bolts"), 1, 6, 0);
    let error = refused(|settings| settings.data[0].path = folder.path().to_owned());
    assert!(said(&error).contains("has no anomalous images"), "{}", said(&error));
}

#[test]
fn a_class_with_fewer_normals_than_shots_and_one_is_named_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    draw_category(&folder.path().join("bolts"), 1, 6, 1);
    draw_category(&folder.path().join("gears"), 2, 4, 1);
    let error = refused(|settings| settings.data[0].path = folder.path().to_owned());
    let said = said(&error);
    assert!(said.contains("\"gears\"") && said.contains("has 4 normal images and needs 5"), "{said}");
}

#[test]
fn an_output_that_is_no_folder_is_named_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    std::fs::write(&file, "a file").unwrap();
    let error = refused(|settings| settings.out = Some(file.join("head")));
    assert!(said(&error).contains("taken/head") && said(&error).contains("--out"), "{}", said(&error));
    assert_eq!(error.exit(), Exit::Failed);
    assert_eq!(std::fs::read(file).unwrap(), b"a file");
}

#[test]
fn a_folder_that_is_no_backbone_is_named_with_what_one_holds() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(|settings| settings.backbone = Some(folder.path().to_owned()));
    let said = said(&error);
    assert!(said.contains(&format!("{:?}", folder.path())), "{said}");
    assert!(said.contains("open_clip_config.json"), "{said}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_the_episode() {
    let fixture = fixture();
    let (_folder, out) = out();
    let mut settings = fixture.settings(HeadKind::Paper, &out);
    settings.training.learning_rate = Some(1e38);
    let config = TrainConfig::new(settings).unwrap();
    let error = run(&config, false, &mut |_| ControlFlow::Continue(())).unwrap_err();
    let TrainError::NonFiniteLoss { epoch, step, loss, query, prompts, class } = &error else {
        panic!("the loss must be refused, was {error:?}");
    };
    assert!(!loss.is_finite() && *epoch >= 1 && *step >= 1);
    assert!(query.is_file() && prompts.iter().all(|prompt| prompt.is_file()));
    assert!(prompts.iter().all(|prompt| prompt.to_string_lossy().contains(class.as_str())));
    assert!(error.to_string().contains("training.learning_rate"), "{error}");
    assert!(!out.join("head.safetensors").exists() && !out.join("manifest.json").exists());
}

#[test]
fn a_full_disk_in_the_cache_keeps_what_was_whole_and_says_what_is_needed() {
    let fixture = fixture();
    let backbone = Backbone::open(fixture.backbone(), Device::Cpu, Precision::Fp32).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> =
        (0..5).map(|image| fixture.data().join(format!("rugs/train/good/{image}.png"))).collect();
    let written = AtomicUsize::new(0);
    let full =
        FeatureCache::open(folder.path(), &backbone).unwrap().writing_with(move |path, bytes, durability| {
            if written.fetch_add(1, Ordering::Relaxed) == 2 {
                return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
            }
            write_whole(path, bytes, durability)
        });
    let Err(FeatureError::DiskFull { folder: named, missing, bytes }) = full.extract(&paths, View::Plain)
    else {
        panic!("a full disk must be said to be full");
    };
    assert!(named.starts_with(folder.path()));
    assert_eq!(missing, 3);
    let of_an_image = 4 * (225 * 3 * 64 + 640);
    assert!(bytes >= 3 * of_an_image, "{bytes} bytes must hold three images");
    assert_eq!(files_below(folder.path()), 2);
    FeatureCache::open(folder.path(), &backbone).unwrap().extract(&paths, View::Plain).unwrap();
    assert_eq!(files_below(folder.path()), 5);
}

fn files_below(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}
