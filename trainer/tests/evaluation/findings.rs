//! What is found: numbers that can be worked out by hand, the same in every run, and the page about them.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use approx::assert_abs_diff_eq;
use inctrl_model::HeadKind;
use inctrl_trainer::data::Format;
use inctrl_trainer::eval::evaluation::MapOf;
use inctrl_trainer::eval::{Baseline, EvalConfig, EvalError, Method, evaluate, evaluate_while, table};
use inctrl_trainer::report;

use crate::fixture::{Fixture, category, flat, named};

#[test]
fn flat_pictures_give_the_numbers_worked_out_by_hand() {
    let fixture = Fixture::new();
    let data = fixture.path("greys");
    // Prompts of one grey: every draw is the same, and a query's score is its difference from 100.
    (0..3).for_each(|copy| flat(&data.join(format!("slate/train/good/{copy}.png")), 100, 20 + copy));
    for (name, grey) in [("good/a", 104), ("good/b", 90), ("good/c", 101), ("bent/d", 108), ("bent/e", 120)] {
        flat(&data.join(format!("slate/test/{name}.png")), grey, 20);
    }
    let outcome = evaluate(&fixture.config(Format::Mvtec, &data).checked().unwrap()).unwrap();
    // Differences: 4, 10, 1 of normal ones; 8, 20 of anomalous ones: 5 of 6 pairs in order.
    let [row] = outcome.evaluation.data_sets[0].rows.as_slice() else { panic!("one protocol is one row") };
    for shots in [1, 2] {
        let found = row.of("raw pixels", shots).unwrap();
        assert_abs_diff_eq!(found.auroc.mean, 5.0 / 6.0, epsilon = 1e-12);
        assert_abs_diff_eq!(found.auroc.deviation.unwrap(), 0.0, epsilon = 1e-12);
        // Ranks of the anomalous ones: first and third.
        assert_abs_diff_eq!(found.average_precision.mean, 0.5 * (1.0 + 2.0 / 3.0), epsilon = 1e-12);
        // Flagging the first three: precision 2/3, recall 1.
        assert_abs_diff_eq!(found.f1_max.mean, 0.8, epsilon = 1e-12);
        assert!(found.map.is_none(), "pixels have no anomaly map");
    }
    let scores = &outcome.scored[0].runs[0][0].scores[0];
    let expected = [4.0, 10.0, 1.0, 8.0, 20.0].map(|grey: f32| grey / 255.0);
    for (score, expected) in scores.iter().zip(expected) {
        assert_abs_diff_eq!(*score, expected, epsilon = 1e-5);
    }
}

#[test]
fn an_evaluation_that_nobody_wants_any_more_ends_before_the_next_category() {
    let fixture = Fixture::new();
    let asked = AtomicUsize::new(0);
    let go_on = || match asked.fetch_add(1, Ordering::Relaxed) {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let ended = evaluate_while(&whole(&fixture), &go_on).map(|_| ()).unwrap_err();
    assert!(matches!(ended, EvalError::Stopped), "{ended}");
    assert_eq!(asked.into_inner(), 2);
}

/// Two heads of one name, one of another, all baselines, on two categories with masks.
fn whole(fixture: &Fixture) -> EvalConfig {
    let data = fixture.path("parts <& \"others\">");
    category(&data, "<b>bolt", 0, 3);
    category(&data, "gear", 1000, 4);
    let mut config = fixture.config(Format::Mvtec, &data);
    config.baselines = Baseline::ALL.to_vec();
    let one = fixture.head(HeadKind::Contextual, "one");
    let other = fixture.head(HeadKind::Contextual, "other");
    config.heads.push(named("ours", vec![one, other]));
    config.heads.push(named("paper", vec![fixture.head(HeadKind::Paper, "papers")]));
    config.checked().unwrap()
}

#[test]
fn heads_baselines_and_maps_are_measured_and_a_second_run_finds_the_same() {
    let fixture = Fixture::new();
    let config = whole(&fixture);
    let first = evaluate(&config).unwrap();
    let evaluation = &first.evaluation;
    let names: Vec<&str> = evaluation.methods.iter().map(Method::name).collect();
    assert_eq!(names, ["ours", "paper", "max residual", "random backbone", "raw pixels"]);
    let row = &evaluation.data_sets[0].rows[0];
    assert_eq!(row.of("ours", 1).unwrap().auroc.runs, 4, "two heads times two draws");
    assert_eq!(row.of("paper", 2).unwrap().auroc.runs, 2);
    let map = |name: &str| row.of(name, evaluation.headline_shots).unwrap().map;
    assert_eq!(map("ours"), map("max residual"), "heads weigh the map and do not redraw it");
    assert!(map("random backbone").is_some() && map("raw pixels").is_none());
    assert!(0.5 < map("ours").unwrap().pixel_auroc.mean, "the bright corner is unlike the stripes");
    let category = &row.categories[0];
    assert_eq!((category.normal, category.anomalous), (5, 3));
    assert_eq!(category.maps.iter().filter(|map| map.map == MapOf::Backbone).count(), 2);
    let task = &evaluation.data_sets[0].tasks[0];
    assert_eq!(
        task.prompts.iter().map(Vec::len).collect::<Vec<_>>(),
        [2, 2],
        "prompts of every draw are recorded"
    );
    assert!(task.prompts.iter().flatten().all(|image| image.starts_with("<b>bolt/train/good/")));
    assert_eq!(task.queries.len(), 8);
    assert!(task.queries.iter().all(|query| query.scores.len() == 5), "every method scored every query");
    let verdict = evaluation.verdict.as_ref().unwrap();
    assert!(verdict.head == "ours" || verdict.head == "paper");

    let again = evaluate(&config).unwrap();
    assert_eq!(again.evaluation, first.evaluation);
    let mut cold = config;
    cold.cache = fixture.path("another-cache");
    assert_eq!(evaluate(&cold).unwrap().evaluation, first.evaluation, "the cache must not change a number");
}

#[test]
fn the_largest_residual_scored_here_is_that_of_the_map() {
    let fixture = Fixture::new();
    let mut config = whole(&fixture);
    config.shots = vec![2];
    config.headline_shots = Some(2);
    let outcome = evaluate(&config).unwrap();
    let position = outcome.columns.iter().flat_map(|(_, scorers)| scorers).count() - 3;
    for run in outcome.scored[0].runs.iter().flatten() {
        for (map, score) in run.maps.iter().zip(&run.scores[position]) {
            assert_eq!(map.iter().copied().fold(0.0, f32::max).to_bits(), score.to_bits());
        }
    }
}

#[test]
fn the_report_needs_nothing_else_and_takes_names_as_text() {
    let fixture = Fixture::new();
    let outcome = evaluate(&whole(&fixture)).unwrap();
    let curve = r#"{"head":"contextual","steps":2,"held_out":[],"kept":2,"epochs":[
        {"epoch":1,"loss":0.7,"validation":null},{"epoch":2,"loss":0.5,"validation":{"loss":0.6,"auroc":0.8}}]}"#;
    std::fs::write(fixture.path("loss-curve.json"), curve).unwrap();
    let page = report::render(&outcome, &outcome.evaluation.backbone.preprocess).unwrap();
    for outside in ["http://", "https://", "<script", "@import", "url(", "<link", "srcset"] {
        assert!(!page.contains(outside), "the page must not hold {outside:?}");
    }
    assert!(!page.contains("<b>bolt") && page.contains("&lt;b&gt;bolt"), "names are text");
    assert!(page.contains("parts &lt;&amp; &quot;others&quot;&gt;"));
    assert!(page.contains("data:image/png;base64,"), "pictures are inside");
    for shown in ["max residual", "random backbone", "raw pixels", "ROC curves", "AUPRO@0.3", "loss by epoch"]
    {
        assert!(page.contains(shown), "the page must show {shown:?}");
    }
    for method in &outcome.heads {
        assert!(page.contains(method.head.digest()), "each head is named by its digest");
    }
    assert!(page.contains(&outcome.evaluation.backbone.digest));
}

#[test]
fn the_table_names_heads_baselines_and_the_best_of_them() {
    let fixture = Fixture::new();
    let evaluation = evaluate(&whole(&fixture)).unwrap().evaluation;
    let text = table::render(&evaluation);
    for shown in ["heads", "baselines", "ours", "random backbone", "AUPRO@0.3", "K = 1", "best head: "] {
        assert!(text.contains(shown), "the table must show {shown:?}:\n{text}");
    }
    assert!(text.contains('±') && text.contains('*'));
}

#[test]
fn no_head_is_called_best_where_training_has_seen_everything() {
    let fixture = Fixture::new();
    let data = fixture.path("synthetic");
    category(&data, "bolt-0", 0, 3);
    let manifest = r#"{"categories": {"bolt-0": true}, "defects": {"spot": true}}"#;
    std::fs::write(data.join("synth.json"), manifest).unwrap();
    let mut config = fixture.config(Format::Mvtec, &data);
    config.heads.push(named("ours", vec![fixture.head(HeadKind::Contextual, "one")]));
    let outcome = evaluate(&config.checked().unwrap()).unwrap();
    assert_eq!(outcome.evaluation.verdict, None);
    let page = report::render(&outcome, &outcome.evaluation.backbone.preprocess).unwrap();
    for text in [table::render(&outcome.evaluation), page] {
        assert!(text.contains("none can be named, training has seen something of every row"), "{text}");
        assert!(!text.contains("above every baseline"), "{text}");
    }
}

#[test]
fn a_data_set_that_knows_what_was_seen_becomes_the_cells_of_a_table() {
    let fixture = Fixture::new();
    let data = fixture.path("synthetic");
    for (name, greys) in [("bolt-0", [104, 90, 101]), ("moss-1", [103, 110, 99])] {
        (0..3).for_each(|copy| flat(&data.join(format!("{name}/train/good/{copy}.png")), 100, 20 + copy));
        for (number, grey) in greys.into_iter().enumerate() {
            flat(&data.join(format!("{name}/test/good/{number}.png")), grey, 20);
        }
        flat(&data.join(format!("{name}/test/scratch/0.png")), 150, 20);
        flat(&data.join(format!("{name}/test/mould/0.png")), 105, 20);
    }
    let manifest = r#"{"categories": {"bolt-0": true, "moss-1": false},
                       "defects": {"scratch": true, "mould": false}, "version": 1}"#;
    std::fs::write(data.join("synth.json"), manifest).unwrap();
    let evaluation = evaluate(&fixture.config(Format::Mvtec, &data).checked().unwrap()).unwrap().evaluation;
    let rows = &evaluation.data_sets[0].rows;
    let found: Vec<(&str, f64)> =
        rows.iter().map(|row| (row.name.as_str(), row.of("raw pixels", 2).unwrap().auroc.mean)).collect();
    // Scratches (50 away) are above all; mould (5 away) above 4 and 1 of the bolt, above 3 and 1 of the moss.
    let expected = [
        ("unseen families, unseen defects", 2.0 / 3.0),
        ("unseen families, seen defects", 1.0),
        ("seen families, unseen defects", 2.0 / 3.0),
        ("seen families, seen defects", 1.0),
    ];
    for ((name, auroc), (expected_name, expected)) in found.into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert_abs_diff_eq!(auroc, expected, epsilon = 1e-12);
    }
    assert_eq!(rows.iter().filter(|row| row.counts()).count(), 1, "what training has seen does not count");

    std::fs::write(data.join("synth.json"), r#"{"categories": {"bolt-0": true}, "defects": {}}"#).unwrap();
    let refused = evaluate(&fixture.config(Format::Mvtec, &data).checked().unwrap()).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("synth.json\" does not describe this data set"), "{refused}");
}
