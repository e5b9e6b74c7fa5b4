//! `inctrl-trainer convert`: what published checkpoints become, and what is refused, with what words.
//!
//! Checkpoints are written by `file.rs`, byte for byte as torch.save does it; the authors' own stands in the test data.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

mod clip;
mod file;
mod reader;
mod refusals;
mod starter;

use std::path::Path;

use assert_cmd::Command;

/// `inctrl-trainer convert` with these arguments.
fn convert<'a>(arguments: impl IntoIterator<Item = &'a Path>) -> Command {
    let mut command = Command::cargo_bin("inctrl-trainer").unwrap();
    command.arg("convert").args(arguments);
    command
}

/// Runs it, expecting that exit status; what it said.
#[track_caller]
fn said(mut command: Command, exit: i32) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{said}");
    said
}

#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{said:?} must say {part:?}");
    }
}

/// Names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
