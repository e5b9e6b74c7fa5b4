//! Exit codes, and that a bad image fails alone while a bad request ends the run.

use crate::fake::Fake;
use crate::inctrl::{Finished, Images, command, finish, run_on};

fn score(fake: &Fake, images: &Images, extra: &[&str]) -> Finished {
    let folder = images.text("");
    run_on(fake, &[&["score", &folder, "--prompts", "nut", "--format", "json"], extra].concat())
}

#[test]
fn one_bad_image_does_not_stop_the_others() {
    let fake = Fake::start();
    let images = Images::new(&[("1.png", "bad"), ("2.png", "0.5"), ("3.png", "bad"), ("4.png", "0.5")]);
    let done = score(&fake, &images, &[]);
    assert_eq!(done.code, 1);
    assert_eq!(done.stdout.lines().count(), 4, "each image has its row");
    let told = format!(
        "error: {}: image: cannot be decoded: unexpected end of file\n  INVALID_ARGUMENT, reason \
         IMAGE_DECODE_FAILED\n  field image: send a whole PNG or JPEG\n",
        images.text("1.png")
    );
    assert!(done.stderr.contains(&told), "{}", done.stderr);
}

#[test]
fn files_that_cannot_be_sent_fail_alone_too() {
    let fake = Fake::start();
    let large = "7".repeat((1 << 16) + 1);
    let images = Images::new(&[("1.png", "0.5"), ("2.png", &large), ("3.txt", "0.5")]);
    let folder = images.folder();
    std::os::unix::fs::symlink(folder.join("gone"), folder.join("4.png")).unwrap();
    // The text file is named; the rest is found.
    let (text, whole) = (images.text("3.txt"), images.text(""));
    let done = run_on(&fake, &["score", &text, &whole, "--prompts", "nut", "--format", "json"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("4.png: it cannot be read: No such file"), "{}", done.stderr);
    assert!(
        done.stderr.contains("2.png: it has 65537 bytes, the server takes at most 65536"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("3.txt: extension \"txt\" is none of an image's"), "{}", done.stderr);
    assert_eq!(fake.asked(), 1, "what cannot be used is not sent");
}

#[test]
fn one_file_typed_in_several_ways_is_scored_once() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "0.5")]));
    let mut score = command(&["score", "./1.png", "1.png", ".", "*.png", "--prompts", "nut"]);
    let done = finish(score.current_dir(images.folder()).env("INCTRL_SERVER", fake.url()).spawn().unwrap());
    assert_eq!((done.code, fake.asked()), (0, 1), "{}", done.stderr);
}

#[test]
fn a_deadline_that_the_server_cannot_meet_is_told_in_its_words() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "late"), ("2.png", "0.5")]));
    let done = score(&fake, &images, &[]);
    assert_eq!((done.code, fake.asked()), (1, 2), "it is no use asking again: {}", done.stderr);
    let told = "the queue is 90 s long\n  DEADLINE_EXCEEDED\n  hint: raise --timeout";
    assert!(done.stderr.contains(told), "{}", done.stderr);
}

#[test]
fn an_unknown_prompt_set_ends_the_run_with_the_server_s_details() {
    let fake = Fake::start();
    let images = Images::new(&[("1.png", "0.5"), ("2.png", "0.5"), ("3.png", "0.5")]);
    let done = run_on(&fake, &["score", &images.text(""), "--prompts", "unknown"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert_eq!(done.stderr.matches("error:").count(), 1, "told once, not once an image: {}", done.stderr);
    for part in
        ["NOT_FOUND, reason PROMPT_SET_NOT_FOUND", "promptSets/unknown", "hint: see inctrl prompts list"]
    {
        assert!(done.stderr.contains(part), "{part:?} must be in\n{}", done.stderr);
    }
}

#[test]
fn anomalies_change_the_exit_code_only_on_demand() {
    let fake = Fake::start();
    let images = Images::new(&[("1.png", "0.25"), ("2.png", "0.75")]);
    assert_eq!(score(&fake, &images, &["--threshold", "0.5"]).code, 0);
    assert_eq!(score(&fake, &images, &["--threshold", "0.5", "--fail-on-anomaly"]).code, 4);
    assert_eq!(score(&fake, &images, &["--threshold", "0.9", "--fail-on-anomaly"]).code, 0);
}

#[test]
fn without_a_decision_nothing_passes_for_normal() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "0.25")]));
    let done = score(&fake, &images, &["--fail-on-anomaly"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("give --threshold"), "{}", done.stderr);
}

#[test]
fn failed_images_outweigh_anomalies() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "0.75"), ("2.png", "bad")]));
    assert_eq!(score(&fake, &images, &["--threshold", "0.5", "--fail-on-anomaly"]).code, 1);
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    let (fake, images) = (Fake::start(), Images::new(&[("texts/a.txt", ""), ("1.png", "0.5")]));
    let (texts, glob, gone) = (images.text("texts"), images.text("*.jpg"), images.text("gone.png"));
    let cases = [
        (texts.as_str(), "has no image below it"),
        (glob.as_str(), "matches no image"),
        (gone.as_str(), "there is no file or folder"),
    ];
    for (typed, told) in cases {
        let done = run_on(&fake, &["score", typed, "--prompts", "nut"]);
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert!(done.stderr.contains(told), "{told:?} must be in\n{}", done.stderr);
    }
    assert_eq!(run_on(&fake, &["score"]).code, 2);
    assert_eq!(fake.asked(), 0);
}

#[test]
fn inline_normal_images_travel_with_their_class() {
    let fake = Fake::start();
    let images = Images::new(&[("q/1.png", "0.75"), ("n/1.png", "normal"), ("n/2.png", "normal")]);
    let (query, normals) = (images.text("q"), images.text("n"));
    let done = run_on(&fake, &["score", &query, "--normals", &normals, "--class", "nut", "--format", "csv"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.stdout.lines().count(), 2);
    let missing = images.text("n/9.png");
    let done = run_on(&fake, &["score", &query, "--normals", &missing, "--class", "nut"]);
    assert_eq!(done.code, 2, "{}", done.stderr);
}
