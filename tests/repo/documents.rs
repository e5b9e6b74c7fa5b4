//! The documents: every link leads somewhere, every target of the Makefile that they name is there.

use std::path::Path;

use regex::Regex;

use crate::files::{NOT_OURS, assert_none, ending_in, root, text};

#[test]
fn links_between_documents_resolve() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut findings = Vec::new();
    for document in ending_in(".md") {
        let folder = document.parent().unwrap();
        for found in link.captures_iter(&text(&document)) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { document.clone() } else { folder.join(path) };
            if !root().join(&path).exists() {
                findings.push(format!("{}: {target}", document.display()));
            } else if !anchor.is_empty() && !anchors(&path).iter().any(|known| known == anchor) {
                findings.push(format!("{}: {target}: no such heading", document.display()));
            }
        }
    }
    assert_none(&findings, "a link in a document must lead somewhere");
}

#[test]
fn files_that_documents_name_exist() {
    let named = Regex::new(r"`([\w.-]+(?:/[\w.-]+)+/?)`").unwrap();
    let mut findings = Vec::new();
    for document in ending_in(".md") {
        for found in named.captures_iter(&text(&document)) {
            let path = Path::new(&found[1]);
            if is_ours(path) && !root().join(path).exists() {
                findings.push(format!("{}: {}", document.display(), path.display()));
            }
        }
    }
    assert_none(&findings, "a document names a file or folder that is not there");
}

#[test]
fn make_targets_that_documents_name_exist() {
    let named = Regex::new(r"`make ([a-z-]+)").unwrap();
    let makefile = text(Path::new("Makefile"));
    let mut findings = Vec::new();
    for document in ending_in(".md") {
        for found in named.captures_iter(&text(&document)) {
            if !makefile.lines().any(|line| line.starts_with(&format!("{}:", &found[1]))) {
                findings.push(format!("{}: make {}", document.display(), &found[1]));
            }
        }
    }
    assert_none(&findings, "a document names a target that the Makefile lacks");
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let numbers: Vec<usize> = ending_in(".md")
        .iter()
        .filter(|path| path.starts_with("docs/adr"))
        .filter_map(|path| path.file_name()?.to_str()?.split('-').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "decisions are numbered from 0000 on");
}

/// Whether a path begins in a folder of the repository that is written by hand.
fn is_ours(path: &Path) -> bool {
    let first = path.components().next().map(|part| root().join(part));
    first.is_some_and(|folder| folder.is_dir()) && !NOT_OURS.iter().any(|brought| path.starts_with(brought))
}

/// Anchors of a document's headings, as renderers make them.
fn anchors(document: &Path) -> Vec<String> {
    let dropped = Regex::new(r"[^\w\- ]").unwrap();
    let headings = text(document);
    let titles = headings.lines().filter(|line| line.starts_with('#'));
    titles
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            dropped.replace_all(&title, "").replace(' ', "-")
        })
        .collect()
}
