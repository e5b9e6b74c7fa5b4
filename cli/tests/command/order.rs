//! Results come in the order of the images, while requests overlap within their bound.

use std::io::{BufRead as _, BufReader};
use std::sync::atomic::Ordering;

use crate::fake::Fake;
use crate::inctrl::{Images, finish, run_on, start_on};

/// Scores of one JSON line each.
fn scores(stdout: &str) -> Vec<f64> {
    let score =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["score"].as_f64().unwrap();
    stdout.lines().map(score).collect()
}

#[test]
fn a_slow_first_image_is_still_printed_first() {
    let fake = Fake::start();
    let images = Images::new(&[("1.png", "held"), ("2.png", "0.25"), ("3.png", "0.75")]);
    let child = start_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--format", "json"]);
    fake.wait_for_asked(3);
    fake.state.release.add_permits(1);
    let done = finish(child);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(scores(&done.stdout), [0.5, 0.25, 0.75]);
}

#[test]
fn as_many_requests_are_in_flight_as_asked_for_and_no_more() {
    let fake = Fake::start();
    // Each answer waits until four are in flight: fewer would never end, more are counted.
    let names: Vec<String> = (0..12).map(|index| format!("{index:02}.png")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "together 4")).collect();
    let images = Images::new(&files);
    let done = run_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--concurrency", "4"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(fake.state.most_in_flight.load(Ordering::SeqCst), 4);
    assert_eq!(fake.asked(), 12);
}

#[test]
fn rows_are_printed_as_they_come() {
    let fake = Fake::start();
    let images = Images::new(&[("1.png", "0.25"), ("2.png", "held")]);
    let mut child = start_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--format", "json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(scores(&lines.next().unwrap().unwrap()), [0.25]);
    fake.state.release.add_permits(1);
    assert_eq!(scores(&lines.next().unwrap().unwrap()), [0.5]);
    assert_eq!(finish(child).code, 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_in_silence() {
    let fake = Fake::start();
    let images = Images::new(&[("1.png", "0.25"), ("2.png", "held"), ("3.png", "hang")]);
    let mut child =
        start_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--format", "csv", "--quiet"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("image,score"));
    drop(lines);
    fake.state.release.add_permits(1);
    let done = finish(child);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
}
