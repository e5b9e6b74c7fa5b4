//! `docs/regressions.md`: every row names tests that are there, every number has one, and the tests agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

use crate::files::{assert_none, ending_in, text};

const PAGE: &str = "docs/regressions.md";

/// Numbers of the page's first table.
const NUMBERS: std::ops::RangeInclusive<usize> = 1..=20;

/// A test: its file's name without ending, and its own. Its numbers are those that its documentation says.
type Tests = BTreeMap<(String, String), BTreeSet<usize>>;

/// Every test of the workspace: what has a test's attribute, and what a suite of its own main lists.
fn tests() -> Tests {
    let function = Regex::new(
        r"(?m)(?P<head>(?:^[ \t]*(?:///|#\[)[^\n]*\n)*)^[ \t]*(?P<seen>pub\(crate\) )?(?:async )?fn (?P<name>\w+)",
    )
    .unwrap();
    let attribute = Regex::new(r"#\[(?:tokio::)?(?:test|rstest)\b").unwrap();
    let numbered = Regex::new(r"/// Regressions? ([\d, and]+)\.").unwrap();
    let number = Regex::new(r"\d+").unwrap();
    let mut found = Tests::new();
    for path in ending_in(".rs") {
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let main = path.with_file_name("main.rs");
        let listed = if path.starts_with("tests") && main != path { listed(&main) } else { BTreeSet::new() };
        let source = text(&path);
        for function in function.captures_iter(&source) {
            let (head, name) = (&function["head"], function["name"].to_owned());
            if attribute.is_match(head) || listed.contains(&format!("{module}::{name}")) {
                let said: Vec<&str> =
                    numbered.captures_iter(head).filter_map(|said| Some(said.get(1)?.as_str())).collect();
                let said = said.join(" ");
                let numbers = number.find_iter(&said).map(|number| number.as_str().parse::<usize>().unwrap());
                found.entry((module.clone(), name)).or_default().extend(numbers);
            }
        }
    }
    found
}

/// `module::test` as the main of a suite lists them.
fn listed(main: &Path) -> BTreeSet<String> {
    let entry = Regex::new(r"(?m)\b(\w+::\w+),").unwrap();
    let there = ending_in("main.rs").contains(&main.to_path_buf());
    let source = if there { text(main) } else { String::new() };
    entry.captures_iter(&source).map(|found| found[1].to_owned()).collect()
}

/// The rows of the page's tables: first cell, and the tests that the last one names.
fn rows() -> Vec<(String, Vec<(String, String)>)> {
    let test = Regex::new(r"`(\w+)::(\w+)`").unwrap();
    let page = text(Path::new(PAGE));
    let rows =
        page.lines().filter_map(|line| line.strip_prefix("| ")).filter(|row| !row.contains("held by |"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let named = test.captures_iter(cells.last().unwrap()).map(|it| (it[1].to_owned(), it[2].to_owned()));
        (cells[0].to_owned(), named.collect())
    })
    .collect()
}

#[test]
fn every_row_names_tests_that_are_there() {
    let tests = tests();
    let mut findings = Vec::new();
    for (first, named) in rows() {
        if named.is_empty() {
            findings.push(format!("{first}: no test"));
        }
        let missing = named.into_iter().filter(|test| !tests.contains_key(test));
        findings.extend(missing.map(|(module, name)| format!("{first}: {module}::{name} is no test")));
    }
    assert_none(&findings, "docs/regressions.md must name tests that are there");
}

#[test]
fn every_number_has_its_tests_and_tests_say_their_numbers() {
    let mut by_page: BTreeMap<usize, BTreeSet<_>> = BTreeMap::new();
    for (first, named) in rows() {
        if let Ok(number) = first.parse() {
            let former = by_page.insert(number, named.into_iter().collect());
            assert!(former.is_none(), "{number} has two rows");
        }
    }
    let mut by_tests: BTreeMap<usize, BTreeSet<_>> = BTreeMap::new();
    for (test, numbers) in tests() {
        for number in numbers {
            by_tests.entry(number).or_default().insert(test.clone());
        }
    }
    assert_eq!(by_page.keys().copied().collect::<Vec<_>>(), NUMBERS.collect::<Vec<_>>());
    let mut findings = Vec::new();
    for number in NUMBERS {
        let (page, said) = (&by_page[&number], by_tests.remove(&number).unwrap_or_default());
        let lists = [
            ("only the page names", page.difference(&said)),
            ("only the test says so:", said.difference(page)),
        ];
        for (what, tests) in lists {
            findings.extend(tests.map(|(module, name)| format!("{number}: {what} {module}::{name}")));
        }
    }
    findings.extend(by_tests.keys().map(|number| format!("{number} is no number of the page")));
    assert_none(&findings, "docs/regressions.md and the tests must say the same");
}
