//! What every source file keeps to: a head that says its place, a readable length, nothing left undone.

use std::path::Path;

use crate::files::{assert_none, ending_in, text};

/// Look twice at 300 lines; at 500 a file has two jobs.
const MOST_LINES: usize = 500;

/// Marks of work left undone, put together here so that this file does not find itself.
fn unfinished() -> [String; 5] {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["todo", "!("], ["unimplemented", "!("]]
        .map(|parts| parts.concat())
}

#[test]
fn no_source_file_is_longer_than_500_lines() {
    let mut findings = Vec::new();
    for path in ending_in(".rs") {
        let lines = text(&path).lines().count();
        if lines > MOST_LINES {
            findings.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert_none(&findings, "split a source file before it has 500 lines");
}

#[test]
fn every_source_file_says_its_place() {
    let mut findings = Vec::new();
    for path in ending_in(".rs") {
        if !text(&path).starts_with("//! ") {
            findings.push(path.display().to_string());
        }
    }
    assert_none(&findings, "every source file begins with a line that says its place");
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    let ignored = ["#[", "ignore"].concat();
    let marks = unfinished();
    let mut findings = Vec::new();
    for suffix in [".rs", ".py", ".proto", ".md", "Makefile"] {
        for path in ending_in(suffix) {
            for (number, line) in text(&path).lines().enumerate() {
                let undone = marks.iter().any(|mark| line.contains(mark.as_str()));
                if undone || line.trim_start().starts_with(&ignored) {
                    findings.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert_none(&findings, "finish it, or write an issue; a test that cannot run says so when it runs");
}

#[test]
fn programs_begin_in_a_doorway() {
    for path in ending_in("src/main.rs") {
        let lines = text(&path).lines().count();
        assert!(lines <= 40, "{}: {lines} lines; main parses, sets the process up, calls", path.display());
    }
}

#[test]
fn folders_have_their_contents_beside_them() {
    let outside_tests = |path: &Path| !path.components().any(|part| part.as_os_str() == "tests");
    let findings: Vec<String> = ending_in(".rs")
        .iter()
        .filter(|path| outside_tests(path) && path.file_name().is_some_and(|name| name == "mod.rs"))
        .map(|path| path.display().to_string())
        .collect();
    assert_none(&findings, "a module with a folder is foo.rs beside foo/");
}
