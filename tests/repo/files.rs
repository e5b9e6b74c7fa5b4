//! The files of the repository, as the checks see them.

use std::path::{Path, PathBuf};

/// Folders that are brought or built, never written by hand.
pub(crate) const NOT_OURS: [&str; 7] =
    ["target", ".git", ".libtorch", ".backbones", ".venv", "proto/third_party", "tests/data"];

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// All files of ours whose name ends in `suffix`, relative to the root, sorted.
pub(crate) fn ending_in(suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.retain(|path| path.to_string_lossy().ends_with(suffix));
    found.sort();
    assert!(!found.is_empty(), "no file ends in {suffix}: the check has nothing to look at");
    found
}

/// The text of a file, by its path relative to the root.
pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with all findings at once.
pub(crate) fn assert_none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let relative = path.strip_prefix(root()).unwrap().to_path_buf();
        if NOT_OURS.iter().any(|name| relative == Path::new(name)) {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(relative);
        }
    }
}
