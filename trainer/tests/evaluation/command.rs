//! `inctrl-trainer eval` from the outside.

use assert_cmd::Command;

use crate::fixture::{Fixture, category};

fn eval(arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::new(env!("CARGO_BIN_EXE_inctrl-trainer")).arg("eval").args(arguments).assert()
}

#[test]
fn a_file_and_flags_give_a_table_a_result_and_a_report() {
    let fixture = Fixture::new();
    let data = fixture.path("parts");
    category(&data, "bolt", 0, 3);
    let config = fixture.path("eval.yaml");
    let text = format!(
        "backbone: {:?}\ndata: [{{format: mvtec, path: {data:?}}}]\nshots: [2]\ncache: {:?}\n",
        fixture.backbone.path(),
        fixture.path("cache"),
    );
    std::fs::write(&config, text).unwrap();
    let out = fixture.path("out");
    let flags = ["--draws", "2", "--baseline", "max-residual,raw-pixels", "--out", out.to_str().unwrap()];
    let assert = eval(&[["--config", config.to_str().unwrap()].as_slice(), &flags].concat()).success();
    let table = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert!(table.contains("parts: all categories") && table.contains("max residual"), "{table}");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("evaluation.json")).unwrap()).unwrap();
    assert_eq!(json["format_version"], 1);
    assert_eq!(json["draws"], 2);
    assert_eq!(json["shots"], serde_json::json!([2]));
    assert!(json["data_sets"][0]["fingerprint"].as_str().unwrap().starts_with("sha256:"));
    assert!(std::fs::read_to_string(out.join("report.html")).unwrap().starts_with("<!DOCTYPE html>"));
}

#[test]
fn an_unknown_key_is_named_and_nothing_is_written() {
    let fixture = Fixture::new();
    let config = fixture.path("eval.yaml");
    std::fs::write(&config, "backbone: b\nshot: [2]\n").unwrap();
    let assert = eval(&["--config", config.to_str().unwrap()]).code(64);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(said.contains(r#"unknown key "shot" (did you mean "shots"?)"#), "{said}");
    assert!(!fixture.path("evaluation").exists());
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let fixture = Fixture::new();
    let data = fixture.path("parts");
    category(&data, "bolt", 0, 3);
    let taken = fixture.path("taken");
    std::fs::write(&taken, "a file").unwrap();
    let typed = format!("mvtec:{}", data.display());
    let (cache, out) = (fixture.path("cache"), taken.join("out"));
    let assert = eval(&[
        "--backbone",
        fixture.backbone.path().to_str().unwrap(),
        "--data",
        &typed,
        "--shots",
        "1",
        "--draws",
        "1",
        "--baseline",
        "raw-pixels",
        "--cache",
        cache.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ])
    .code(1);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(said.contains("cannot write") && said.contains("taken/out"), "{said}");
    assert!(!fixture.path("cache").exists(), "it must be said before any work");
}
