//! A job that is told to stop: what it did is not lost.

use std::process::Command;

use inctrl_trainer::job::Outcome;
use serde_json::json;

use crate::setting::Setting;

#[test]
fn a_job_that_is_told_to_stop_says_so_and_the_next_pod_goes_on() {
    let mut setting = Setting::new();
    setting.job["hyperparameters"]["epochs"] = json!(4);
    let pod = setting.start("first");
    let sent = Command::new("kill").args(["-TERM", &pod.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = pod.wait_with_output().unwrap();
    let first = setting.left("first", output.status.code(), &output.stderr);
    assert_eq!((first.code, first.message.outcome), (Some(75), Outcome::Stopped), "{}", first.log);
    assert!((40..80).contains(&first.message.progress_percent), "{:?}", first.message);
    assert_eq!(setting.manifest(), None, "what was stopped must not read as published");

    let second = setting.run("second");
    assert_eq!((second.code, second.message.outcome), (Some(0), Outcome::Published), "{}", second.log);
    assert!(second.log.contains("going on from the checkpoint"), "{}", second.log);
    let left = std::fs::read_dir(setting.fixture.path("artifacts/run")).unwrap();
    let left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "checkpoint.safetensors"), "{left:?}");
}
