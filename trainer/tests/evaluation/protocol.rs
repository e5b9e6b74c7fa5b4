//! Tasks, draws and rows: what is prompted with, what is queried.

use std::collections::BTreeSet;
use std::path::Path;

use inctrl_trainer::data::{self, DatasetSpec, Format};
use inctrl_trainer::eval::{Benchmark, Draw, EvalError, Limits, draw};
use proptest::prelude::*;

use crate::fixture::flat;

const LIMITS: Limits = Limits { shots: 2, queries: 0, seed: 1 };

fn benchmark(format: Format, root: &Path, limits: Limits) -> Result<Benchmark, EvalError> {
    Benchmark::new(data::open(&DatasetSpec::new(format, root)).unwrap(), format, limits)
}

/// Folder with `normal/` and `anomalous/` images of distinct greys.
fn unsplit(root: &Path, normals: u8, anomalies: u8) {
    (0..normals).for_each(|grey| flat(&root.join(format!("normal/{grey}.png")), grey, 8));
    (0..anomalies).for_each(|grey| flat(&root.join(format!("anomalous/{grey}.png")), 200 + grey, 8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_prompt_is_never_a_query_nor_a_copy_of_one(seed: u64, number in 0_usize..9, shots in 1_usize..4) {
        let folder = tempfile::tempdir().unwrap();
        unsplit(folder.path(), 6, 2);
        flat(&folder.path().join("normal/copy-of-3.png"), 3, 8);
        let benchmark = benchmark(Format::Folders, folder.path(), Limits { shots: 3, ..LIMITS }).unwrap();
        let Draw { prompts, queries } = draw(&benchmark, 0, shots, number, seed);
        prop_assert_eq!(prompts.iter().collect::<BTreeSet<_>>().len(), shots);
        let contents: BTreeSet<_> = prompts.iter().map(|&image| benchmark.contents[image]).collect();
        for query in queries {
            let image = benchmark.tasks[0].queries[query].image;
            prop_assert!(!prompts.contains(&image));
            prop_assert!(!contents.contains(&benchmark.contents[image]));
        }
        prop_assert!(prompts.iter().all(|&image| !benchmark.dataset.samples[image].is_anomalous()));
    }
}

#[test]
fn smaller_prompt_sets_are_the_beginnings_of_larger_ones_and_draws_differ() {
    let folder = tempfile::tempdir().unwrap();
    unsplit(folder.path(), 12, 2);
    let benchmark = benchmark(Format::Folders, folder.path(), LIMITS).unwrap();
    let drawn = |shots, number, seed| draw(&benchmark, 0, shots, number, seed).prompts;
    assert_eq!(drawn(8, 3, 7)[..4], drawn(4, 3, 7));
    assert_eq!(drawn(8, 3, 7), drawn(8, 3, 7));
    assert_ne!(drawn(8, 3, 7), drawn(8, 4, 7));
    assert_ne!(drawn(8, 3, 7), drawn(8, 3, 8));
}

#[test]
fn classes_become_the_semantic_protocols() {
    let folder = tempfile::tempdir().unwrap();
    for (class, name) in ["cats", "dogs", "owls"].iter().enumerate() {
        for number in 0..4 {
            let grey = (class * 50 + number) as u8;
            let split = if number < 2 { "train" } else { "test" };
            flat(&folder.path().join(format!("{split}/{name}/{number}.png")), grey, 8);
        }
    }
    let benchmark = benchmark(Format::Classes, folder.path(), LIMITS).unwrap();
    let names: Vec<&str> = benchmark.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["cats", "dogs", "owls", "cats or dogs", "dogs or owls", "owls or cats"]);
    let rows: Vec<(&str, usize)> =
        benchmark.rows.iter().map(|row| (row.name.as_str(), row.members.len())).collect();
    assert_eq!(rows, [("one class normal", 3), ("two classes normal", 3)]);
    let anomalous =
        |task: usize| benchmark.tasks[task].queries.iter().filter(|query| query.anomalous).count();
    assert_eq!((anomalous(0), benchmark.tasks[0].queries.len()), (4, 6));
    assert_eq!((anomalous(3), benchmark.tasks[3].queries.len()), (2, 6));
    let of_both = draw(&benchmark, 3, 2, 0, 9).prompts;
    let classes: BTreeSet<&str> =
        of_both.iter().map(|&image| benchmark.dataset.samples[image].category.as_str()).collect();
    assert_eq!(classes, BTreeSet::from(["cats", "dogs"]), "two shots of two classes must show both");
}

#[test]
fn a_copy_of_a_query_gives_no_prompts() {
    let folder = tempfile::tempdir().unwrap();
    for grey in 0..4 {
        flat(&folder.path().join(format!("bolt/train/good/{grey}.png")), grey, 8);
    }
    flat(&folder.path().join("bolt/test/good/same-as-2.png"), 2, 8);
    flat(&folder.path().join("bolt/test/bent/0.png"), 99, 8);
    let benchmark = benchmark(Format::Mvtec, folder.path(), LIMITS).unwrap();
    assert_eq!(benchmark.leaked, 1);
    assert_eq!(benchmark.tasks[0].pool[0].len(), 3);
}

#[test]
fn a_limit_keeps_so_many_of_each_label() {
    let folder = tempfile::tempdir().unwrap();
    unsplit(folder.path(), 12, 9);
    let limited = |seed| {
        let limits = Limits { queries: 4, seed, ..LIMITS };
        let tasks = benchmark(Format::Folders, folder.path(), limits).unwrap().tasks;
        tasks[0].queries.clone()
    };
    let queries = limited(1);
    assert_eq!(queries.iter().filter(|query| query.anomalous).count(), 4);
    assert_eq!(queries.len(), 8);
    assert_eq!(queries, limited(1));
    assert_ne!(queries, limited(2));
}

#[test]
fn queries_that_were_kept_stay_out_of_the_pool_where_it_has_enough_without_them() {
    let folder = tempfile::tempdir().unwrap();
    unsplit(folder.path(), 8, 3);
    // A copy of every image: where one is asked, the other is no prompt either.
    (0..8).for_each(|grey| flat(&folder.path().join(format!("normal/copy-of-{grey}.png")), grey, 8));
    let limits = Limits { queries: 2, shots: 4, seed: 1 };
    let benchmark = benchmark(Format::Folders, folder.path(), limits).unwrap();
    for number in 0..20 {
        assert_eq!(draw(&benchmark, 0, 4, number, 1).queries.len(), 4, "draw {number} must ask every query");
    }
}

#[test]
fn every_category_that_is_short_of_normals_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, normals) in [("bolt", 2), ("gear", 8), ("nut", 1)] {
        (0..normals)
            .for_each(|grey| flat(&folder.path().join(format!("{name}/train/good/{grey}.png")), grey, 8));
        flat(&folder.path().join(format!("{name}/test/good/0.png")), 50, 8);
        flat(&folder.path().join(format!("{name}/test/bent/0.png")), 60, 8);
    }
    let refused = benchmark(Format::Mvtec, folder.path(), Limits { shots: 4, ..LIMITS }).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("bolt has 2 and needs 4, nut has 1 and needs 4"), "{said}");
    assert!(!said.contains("gear"), "{said}");
}

#[test]
fn a_category_with_queries_of_one_label_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bolt", "gear"] {
        (0..3).for_each(|grey| flat(&folder.path().join(format!("{name}/train/good/{grey}.png")), grey, 8));
        flat(&folder.path().join(format!("{name}/test/good/0.png")), 50, 8);
    }
    flat(&folder.path().join("bolt/test/bent/0.png"), 60, 8);
    let said = benchmark(Format::Mvtec, folder.path(), LIMITS).unwrap_err().to_string();
    assert!(said.contains("no anomalous queries in gear"), "{said}");
}

#[test]
fn a_data_set_without_anomalies_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    unsplit(folder.path(), 6, 0);
    let said = benchmark(Format::Folders, folder.path(), LIMITS).unwrap_err().to_string();
    assert!(said.contains("has no anomalous images"), "{said}");
}
