//! Jobs that cannot be done: the exit code says whether another try can help, the last words say why.

use std::path::Path;

use inctrl_storage::{Digest, verify_parts};
use serde_json::{Value, json};

use crate::fixture::striped;
use crate::setting::{Setting, block_on, uri};

/// Runs a job that was changed, and checks how it ends.
fn refused(change: impl FnOnce(&mut Value, &Path), code: i32, expected: &[&str]) {
    let mut setting = Setting::new();
    change(&mut setting.job, setting.fixture.folder.path());
    let pod = setting.run("pod");
    let said = pod.message.message.unwrap();
    assert_eq!(pod.code, Some(code), "{said}");
    let reason = match code {
        65 => "BadData",
        75 => "TryAgain",
        _ => "BadConfig",
    };
    assert_eq!(pod.message.reason.as_deref(), Some(reason));
    for part in expected {
        assert!(said.contains(part), "{said} must hold {part}");
    }
    assert!(!setting.fixture.path("artifacts/run/manifest.json").exists(), "nothing must be published");
}

#[test]
fn what_the_job_says_wrongly_is_its_configuration() {
    refused(|job, _| job["hyperparameters"]["epoch"] = json!(1), 78, &["job.yaml", "epoch"]);
    refused(|job, _| job["schema"] = json!("inctrl.dev/job/v9"), 78, &["inctrl.dev/job/v9"]);
    refused(
        |job, _| job["hyperparameters"]["learningRate"] = json!("fast"),
        78,
        &["learningRate is \"fast\""],
    );
    refused(|job, _| job["runKey"] = json!("../up"), 78, &["runKey is \"../up\""]);
    let other = Digest::of("else").hex();
    refused(
        |job, _| job["backbone"]["sha256"] = json!(other),
        78,
        &["backbone file://", &other, "is pinned"],
    );
    let nowhere = |job: &mut Value, folder: &Path| job["backbone"]["uri"] = json!(uri(&folder.join("none")));
    refused(nowhere, 78, &["there is no backbone at file://", "/none"]);
    refused(|job, _| job["hyperparameters"]["shots"] = json!(17), 78, &["between 1 and 16"]);
    refused(|job, _| job["dataset"]["secretFolder"] = json!("/nowhere"), 78, &["/nowhere", "Secret"]);
    refused(|job, _| job["output"]["signingKeyFile"] = json!("/nowhere/key.pem"), 78, &["/nowhere/key.pem"]);
}

#[test]
fn what_the_data_lacks_no_repetition_helps() {
    let other = Digest::of("older");
    refused(|job, _| job["dataset"]["fingerprint"] = json!(other), 65, &["it changed", &other.to_string()]);
    let empty = |job: &mut Value, folder: &Path| {
        std::fs::create_dir(folder.join("empty")).unwrap();
        job["dataset"]["uri"] = json!(uri(&folder.join("empty")));
    };
    refused(empty, 65, &["is empty"]);
    let good = |_: &mut Value, folder: &Path| {
        for name in ["bolt", "cable"] {
            std::fs::remove_dir_all(folder.join("auxiliary").join(name).join("test/spot")).unwrap();
        }
    };
    refused(good, 65, &["/auxiliary", "has no anomalous images"]);
    let unmeasurable = |_: &mut Value, folder: &Path| {
        std::fs::remove_dir_all(folder.join("held-out/cable/test/spot")).unwrap();
    };
    refused(unmeasurable, 65, &["no anomalous queries in cable"]);
    let seen = |_: &mut Value, folder: &Path| {
        let manifest = json!({ "categories": { "bolt": true, "cable": true }, "defects": { "spot": false } });
        std::fs::write(folder.join("held-out/synth.json"), manifest.to_string()).unwrap();
    };
    refused(seen, 65, &["/held-out", "training has seen something of every row"]);
    let few = |job: &mut Value, folder: &Path| {
        job["hyperparameters"]["shots"] = json!(1);
        for name in ["bolt", "cable"] {
            for image in ["train/good/1.png", "train/good/2.png", "train/good/3.png"] {
                std::fs::remove_file(folder.join("held-out").join(name).join(image)).unwrap();
            }
            for image in 1..5 {
                let image = format!("test/good/{image}.png");
                std::fs::remove_file(folder.join("held-out").join(name).join(image)).unwrap();
            }
        }
    };
    refused(few, 65, &["/held-out", "3 normal images and 1 labelled as anomalous", "self-test"]);
    refused(|job, _| job["dataset"]["sha256"] = json!(other.hex()), 65, &["data set file://", "is pinned"]);
    refused(|job, _| job["hyperparameters"]["shots"] = json!(16), 65, &["normal images"]);
}

#[test]
fn a_data_set_that_changes_while_it_is_trained_on_is_refused() {
    let setting = Setting::new();
    let pod = setting.start("pod");
    striped(&setting.fixture.path("auxiliary/bolt/train/good/late.png"), 42, false);
    let output = pod.wait_with_output().unwrap();
    let pod = setting.left("pod", output.status.code(), &output.stderr);
    let said = pod.message.message.unwrap();
    assert_eq!((pod.code, pod.message.reason.as_deref()), (Some(65), Some("BadData")), "{said}");
    assert!(said.contains("/auxiliary") && said.contains("it changed"), "{said}");
    assert_eq!(setting.manifest(), None, "what was learned of neither must not be published");
}

#[test]
fn a_disk_that_takes_no_more_is_worth_another_try() {
    let setting = Setting::new();
    let pod = setting.run_cramped("pod", 16);
    let said = pod.message.message.unwrap();
    assert_eq!((pod.code, pod.message.reason.as_deref()), (Some(75), Some("TryAgain")), "{said}");
    assert!(said.contains("cannot use the feature cache") && said.contains("File too large"), "{said}");
    assert_eq!(setting.manifest(), None, "nothing must be published");
}

#[test]
fn a_store_that_fills_up_half_way_holds_nothing_that_reads_as_published() {
    let setting = Setting::new();
    // Room for features, head and checkpoint, not for the self-test.
    let pod = setting.run_cramped("pod", 1000);
    let said = pod.message.message.unwrap();
    assert_eq!((pod.code, pod.message.reason.as_deref()), (Some(75), Some("TryAgain")), "{said}");
    assert!(said.contains("/artifacts/run/") && said.contains("File too large"), "{said}");
    assert!(setting.fixture.path("artifacts/run/head.safetensors").exists(), "it must have begun");
    assert_eq!(setting.manifest(), None, "what is not whole must not read as published");

    let next = setting.run("pod");
    assert_eq!(next.code, Some(0), "{}", next.log);
    block_on(verify_parts(&setting.output(), &setting.manifest().unwrap())).unwrap();
}

#[test]
fn what_is_out_of_reach_is_worth_another_try() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let unserved = |job: &mut Value, folder: &Path| {
        let secret = folder.join("secret");
        std::fs::create_dir(&secret).unwrap();
        for (name, value) in [
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "key".to_owned()),
        ] {
            std::fs::write(secret.join(name), value).unwrap();
        }
        job["output"] = json!({ "uri": "s3://models/run", "secretFolder": secret });
    };
    refused(unserved, 75, &["s3://models/run"]);
}

#[test]
fn wrong_usage_is_told_apart() {
    let program = assert_cmd::cargo::cargo_bin!("inctrl-trainer");
    let output = std::process::Command::new(program).args(["run", "--configuration", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}
