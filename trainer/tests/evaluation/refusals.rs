//! What an evaluation refuses: what was wrong, where, what to do.

use inctrl_model::HeadKind;
use inctrl_telemetry::Chain;
use inctrl_trainer::data::Format;
use inctrl_trainer::eval::{EvalConfig, EvalError, evaluate};
use inctrl_trainer::exit::Exit;

use crate::fixture::{Fixture, category, flat, mask, named};

fn refused(config: EvalConfig) -> EvalError {
    match config.checked().and_then(|config| evaluate(&config)) {
        Ok(_) => panic!("the evaluation must be refused"),
        Err(error) => error,
    }
}

fn said(error: &EvalError) -> String {
    Chain(error).to_string()
}

#[test]
fn a_mask_of_another_size_than_its_image_is_named_with_both_sizes() {
    let fixture = Fixture::new();
    let data = fixture.path("parts");
    category(&data, "bolt", 0, 3);
    mask(&data.join("bolt/ground_truth/spot/1_mask.png"), 47, 9);
    let error = refused(fixture.config(Format::Mvtec, &data));
    let said = said(&error);
    assert!(said.contains("1_mask.png\" has 47 x 47 pixels") && said.contains("has 48 x 48"), "{said}");
    assert_eq!(error.exit(), Exit::BadData);
}

#[test]
fn an_image_that_is_none_is_named() {
    let fixture = Fixture::new();
    let data = fixture.path("parts");
    category(&data, "bolt", 0, 3);
    std::fs::write(data.join("bolt/test/good/3.png"), b"not an image").unwrap();
    let error = refused(fixture.config(Format::Mvtec, &data));
    assert!(said(&error).contains("bolt/test/good/3.png"), "{}", said(&error));
    assert_eq!(error.exit(), Exit::BadData);
}

#[test]
fn a_head_that_is_none_is_named() {
    let fixture = Fixture::new();
    let data = fixture.path("parts");
    category(&data, "bolt", 0, 3);
    let mut config = fixture.config(Format::Mvtec, &data);
    let path = fixture.path("head.safetensors");
    std::fs::write(&path, b"not a head").unwrap();
    config.heads.push(named("ours", vec![path]));
    let said = said(&refused(config));
    assert!(said.contains("head \"ours\" cannot be used") && said.contains("head.safetensors"), "{said}");
}

#[test]
fn one_name_cannot_stand_for_two_kinds_of_heads() {
    let fixture = Fixture::new();
    let data = fixture.path("parts");
    category(&data, "bolt", 0, 3);
    let mut config = fixture.config(Format::Mvtec, &data);
    let (one, other) = (fixture.head(HeadKind::Contextual, "one"), fixture.head(HeadKind::Paper, "other"));
    config.heads.push(named("ours", vec![one, other]));
    assert!(said(&refused(config)).contains("\"ours\" are of different kinds"));
}

#[test]
fn numbers_that_make_no_sense_are_refused_before_any_work() {
    let fixture = Fixture::new();
    let config = || fixture.config(Format::Mvtec, &fixture.path("nowhere"));
    for (change, expected) in [
        (EvalConfig { shots: vec![0, 4], ..config() }, "between 1 and 16"),
        (EvalConfig { shots: vec![17], ..config() }, "between 1 and 16"),
        (EvalConfig { draws: 0, ..config() }, "draws must be at least 1"),
        (EvalConfig { data: Vec::new(), ..config() }, "no data set is given"),
        (EvalConfig { headline_shots: Some(3), ..config() }, "one of `shots`"),
        (EvalConfig { baselines: Vec::new(), ..config() }, "nothing to evaluate"),
    ] {
        let error = refused(change);
        assert!(said(&error).contains(expected), "{}", said(&error));
        assert_eq!(error.exit(), Exit::Usage);
    }
    assert!(!fixture.path("cache").exists());
}

#[test]
fn a_draw_that_takes_all_normal_queries_is_named_before_any_work() {
    let fixture = Fixture::new();
    let data = fixture.path("few");
    (0..5).for_each(|grey| flat(&data.join(format!("normal/{grey}.png")), grey, 8));
    (0..2).for_each(|grey| flat(&data.join(format!("anomalous/{grey}.png")), 200 + grey, 8));
    let few = EvalConfig { shots: vec![4], queries: 2, draws: 30, ..fixture.config(Format::Folders, &data) };
    let error = refused(few);
    let said = said(&error);
    assert!(said.contains("\"few\" leaves no normal query") && said.starts_with("draw "), "{said}");
    assert_eq!(error.exit(), Exit::BadData);
    assert!(!fixture.path("cache").exists());
}

#[test]
fn a_missing_data_set_is_named() {
    let fixture = Fixture::new();
    let error = refused(fixture.config(Format::Mvtec, &fixture.path("nowhere")));
    assert!(said(&error).contains("nowhere\"; check the path"), "{}", said(&error));
}
