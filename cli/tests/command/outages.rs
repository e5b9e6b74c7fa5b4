//! A server that restarts, drains, is overloaded, silent or away.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use crate::fake::{Fake, nobody};
use crate::inctrl::{Images, finish, run, run_on, start_on};

#[test]
fn a_restart_in_the_middle_loses_no_image() {
    let fake = Fake::start();
    let names: Vec<String> = (0..40).map(|index| format!("{index:02}.png")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "held")).collect();
    let images = Images::new(&files);
    let child = start_on(
        &fake,
        &["score", &images.text(""), "--prompts", "nut", "--format", "json", "--concurrency", "8"],
    );
    // Eight are answered, eight more are in work when the server goes.
    fake.state.release.add_permits(8);
    fake.wait_for_asked(16);
    let address = fake.address();
    drop(fake);
    let again = Fake::again_at(address);
    again.state.release.add_permits(files.len());
    let done = finish(child);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let scored: Vec<String> = done.stdout.lines().map(image).collect();
    let expected: Vec<String> = names.iter().map(|name| images.text(name)).collect();
    assert_eq!(scored, expected, "every image once, in order");
    assert!(!done.stdout.contains("\"error\":\""), "{}", done.stdout);
    assert!(done.stderr.contains("is away") && done.stderr.contains("is back"), "{}", done.stderr);
}

fn image(line: &str) -> String {
    let row: serde_json::Value = serde_json::from_str(line).unwrap();
    row["image"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_that_drains_or_is_full_is_asked_again() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "draining"), ("2.png", "busy")]));
    let done = run_on(&fake, &["score", &images.text(""), "--prompts", "nut"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(fake.asked(), 3 + 2, "two refusals and one refusal, then answers");
}

#[test]
fn overload_is_not_waited_out_without_patience() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "busy"), ("2.png", "0.5")]));
    let done = run_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--retry-for", "0s"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("queue is full\n  RESOURCE_EXHAUSTED"), "{}", done.stderr);
    assert!(done.stderr.contains("scored 1 of 2 images"), "{}", done.stderr);
}

#[test]
fn nobody_there_is_an_exit_code_of_its_own() {
    let images = Images::new(&[("1.png", "0.5")]);
    let path = images.text("1.png");
    let commands: [&[&str]; 4] = [
        &["info"],
        &["prompts", "list"],
        &["prompts", "create", "nut", "--class", "nut", &path],
        &["score", &path, "--prompts", "nut"],
    ];
    for command in commands {
        let server = nobody();
        let done = run(&[command, &["--server", &server, "--retry-for", "0s"]].concat());
        assert_eq!(done.code, 3, "{command:?}: {}", done.stderr);
        assert!(done.stderr.contains(&format!("server {server} cannot be reached: ")), "{}", done.stderr);
        assert!(done.stderr.contains("INCTRL_SERVER"), "{}", done.stderr);
        assert_eq!(done.stdout, "");
    }
}

#[test]
fn a_server_that_says_itself_that_it_cannot_serve_is_quoted_when_patience_ends() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "starting")]));
    let done = run_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--retry-for", "600ms"]);
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("is not available"), "{}", done.stderr);
    assert!(done.stderr.contains("server is starting\n  UNAVAILABLE, reason STARTING"), "{}", done.stderr);
    let attempts = *fake.state.attempts.lock().unwrap().get("starting".as_bytes()).unwrap();
    assert!(
        (2..=3).contains(&attempts),
        "{attempts} attempts in 600 ms: it asked to be left alone for 400 ms"
    );
}

#[test]
fn a_server_that_goes_for_good_ends_the_run() {
    let fake = Fake::start();
    let images = Images::new(&[("1.png", "0.5"), ("2.png", "hang"), ("3.png", "hang")]);
    let mut child = start_on(
        &fake,
        &["score", &images.text(""), "--prompts", "nut", "--format", "json", "--retry-for", "300ms"],
    );
    fake.wait_for_asked(3);
    // Kept to the end: the command writes to it. The first row says that the first answer has arrived.
    let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(rows.next().unwrap().unwrap().contains("1.png"));
    drop(fake);
    let done = finish(child);
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("scored 1 of 3 images"), "{}", done.stderr);
    assert_eq!(done.stderr.matches("error:").count(), 1, "told once, not once an image: {}", done.stderr);
}

#[test]
fn silence_is_limited_by_the_timeout() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "hang"), ("2.png", "0.5")]));
    // Long enough for the other answer on a busy machine.
    let done = run_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--timeout", "3s"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("no answer within 3.0 s\n  hint: raise --timeout"), "{}", done.stderr);
    assert!(done.stderr.contains("scored 1 of 2 images"), "{}", done.stderr);
}

#[test]
fn ctrl_c_ends_the_run_at_once() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "hang")]));
    let child = start_on(&fake, &["score", &images.text("1.png"), "--prompts", "nut"]);
    fake.wait_for_asked(1);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(finish(child).code, 130);
}
