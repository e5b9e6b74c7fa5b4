//! `inctrl-trainer train` from the outside.

use assert_cmd::Command;

use crate::fixture::{fixture, names_in, out};

fn train(arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inctrl-trainer"));
    command.env_remove("INCTRL_LOG").arg("train").args(arguments).assert()
}

fn standard_error(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_one_and_nothing_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("train.yaml");
    std::fs::write(&config, "backbone: b\nout: o\ntraining: {epoch: 3}\n").unwrap();
    let assert = train(&["--config", config.to_str().unwrap()]).code(64);
    let said = standard_error(&assert);
    assert!(said.contains(r#"unknown key "training.epoch" (did you mean "training.epochs"?)"#), "{said}");
    assert_eq!(names_in(folder.path()), ["train.yaml"]);
}

#[test]
fn a_run_by_file_and_flags_writes_a_head_and_logs_each_epoch() {
    let fixture = fixture();
    let (folder, out) = out();
    let config = folder.path().join("train.yaml");
    let text = format!(
        "backbone: {:?}\ndata: [{{format: mvtec, path: {:?}}}]\ncache: {:?}\nlog: {{format: json}}\n\
         training: {{steps: 2, batch: 4, shots: [2]}}\n",
        fixture.backbone(),
        fixture.data(),
        fixture.cache(),
    );
    std::fs::write(&config, text).unwrap();
    let flags = ["--config", config.to_str().unwrap(), "--out", out.to_str().unwrap(), "--epochs", "2"];
    let assert = train(&[flags.as_slice(), &["--head", "paper", "--seed", "11"]].concat()).success();
    assert!(assert.get_output().stdout.is_empty(), "progress and logs go to standard error");
    let lines: Vec<serde_json::Value> =
        standard_error(&assert).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let epochs: Vec<_> = lines.iter().filter(|line| line["message"] == "epoch done").collect();
    assert_eq!(epochs.len(), 2);
    assert!(epochs.iter().all(|line| line["loss"].is_number() && line["validation_auroc"].is_number()));
    assert_eq!(names_in(&out), ["head.safetensors", "loss-curve.json", "manifest.json"]);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["hyperparameters"]["seed"], 11);
    assert_eq!(manifest["head"]["kind"], "paper");
}

#[test]
fn what_has_no_default_is_asked_for() {
    let said = standard_error(&train(&[]).code(64));
    assert!(said.contains("data"), "{said}");
    let said = standard_error(&train(&["--head", "linear"]).code(64));
    assert!(said.contains("write contextual or paper"), "{said}");
}
