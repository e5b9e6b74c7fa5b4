//! Who may depend on whom: the law of ARCHITECTURE.md, read from cargo's own graph.

use std::collections::BTreeSet;
use std::process::Command;

use crate::files::{assert_none, ending_in, root, text};

/// Crates of ours that each crate may link, beside itself.
const LAW: [(&str, &[&str]); 8] = [
    ("inctrl-model", &[]),
    ("inctrl-proto", &[]),
    ("inctrl-storage", &[]),
    ("inctrl-telemetry", &[]),
    ("inctrl-cli", &["inctrl-proto"]),
    ("inctrl-operator", &["inctrl-telemetry", "inctrl-proto", "inctrl-storage"]),
    ("inctrl-trainer", &["inctrl-telemetry", "inctrl-storage", "inctrl-model"]),
    ("inctrl-server", &["inctrl-telemetry", "inctrl-proto", "inctrl-storage", "inctrl-model"]),
];

#[test]
fn crates_link_only_what_the_law_allows() {
    let mut findings = Vec::new();
    for (package, allowed) in LAW {
        for linked in linked_by(package).iter().filter(|name| name.starts_with("inctrl-")) {
            if linked != package && !allowed.contains(&linked.as_str()) {
                findings.push(format!("{package} links {linked}"));
            }
        }
    }
    assert_none(&findings, "a crate may link only the crates that ARCHITECTURE.md allows it");
}

#[test]
fn operator_and_client_are_free_of_libtorch() {
    for package in ["inctrl-operator", "inctrl-cli"] {
        let linked = linked_by(package);
        assert!(!linked.contains("torch-sys") && !linked.contains("tch"), "{package} must not link libtorch");
    }
    assert!(linked_by("inctrl-server").contains("torch-sys"), "the check must see libtorch where it is");
}

#[test]
fn every_crate_inherits_lints_and_package_facts() {
    let mut findings = Vec::new();
    for manifest in ending_in("/Cargo.toml") {
        let text = text(&manifest);
        for line in ["[lints]\nworkspace = true", "edition.workspace = true", "license.workspace = true"] {
            if !text.contains(line) {
                findings.push(format!("{}: lacks {line:?}", manifest.display()));
            }
        }
    }
    assert_none(&findings, "every crate takes its lints and package facts from the workspace");
}

/// Names of all packages that a package links, at any depth.
fn linked_by(package: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package"];
    let tree = Command::new(env!("CARGO")).args(arguments).arg(package).current_dir(root()).output().unwrap();
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let listed = String::from_utf8(tree.stdout).unwrap();
    listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
