//! Prompt sets from the command line.

use crate::fake::Fake;
use crate::inctrl::{Images, run_on};

#[test]
fn prompt_sets_are_created_listed_shown_and_deleted() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "n"), ("2.png", "n")]));
    let folder = images.text("");
    for name in ["bolt", "nut", "screw"] {
        let done = run_on(&fake, &["prompts", "create", name, "--class", "steel, part", &folder]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stdout.contains(&format!("promptSets/{name}")), "{}", done.stdout);
        assert!(done.stderr.contains("with 2 images"), "{}", done.stderr);
    }
    let listed = run_on(&fake, &["prompts", "list", "--format", "csv"]);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(lines[0], "name,class,shots,digest,created,etag");
    assert!(lines[2].starts_with("promptSets/nut,\"steel, part\",2,sha256:"), "{}", lines[2]);
    assert!(lines[2].ends_with(",2023-11-14T22:13:20Z,1"), "{}", lines[2]);
    assert_eq!(lines.len(), 4, "all pages are listed");

    let shown = run_on(&fake, &["prompts", "get", "nut", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&row["class"], &row["shots"]), (&"steel, part".into(), &2.into()));

    let deleted = run_on(&fake, &["prompts", "delete", "promptSets/nut"]);
    assert_eq!((deleted.code, deleted.stdout.as_str()), (0, ""), "{}", deleted.stderr);
    let gone = run_on(&fake, &["prompts", "get", "nut"]);
    assert_eq!(gone.code, 1);
    assert!(
        gone.stderr.contains("there is no prompt set \"promptSets/nut\"\n  NOT_FOUND"),
        "{}",
        gone.stderr
    );
}

#[test]
fn a_deletion_whose_answer_was_lost_has_succeeded() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "n")]));
    let path = images.text("1.png");
    assert_eq!(run_on(&fake, &["prompts", "create", "lost", "--class", "nut", &path]).code, 0);
    let done = run_on(&fake, &["prompts", "delete", "lost"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(run_on(&fake, &["prompts", "delete", "lost"]).code, 1, "nothing is left to delete");
}

#[test]
fn a_bad_normal_image_is_named_and_nothing_is_stored() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "n"), ("2.txt", "n")]));
    let (good, bad) = (images.text("1.png"), images.text("2.txt"));
    let done = run_on(&fake, &["prompts", "create", "nut", "--class", "nut", &good, &bad]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("2.txt") && done.stderr.contains("extension"), "{}", done.stderr);
    assert_eq!(run_on(&fake, &["prompts", "list"]).stdout, "");
}

#[test]
fn seventeen_shots_are_too_many() {
    let fake = Fake::start();
    let names: Vec<String> = (0..17).map(|index| format!("{index:02}.png")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "n")).collect();
    let images = Images::new(&files);
    let done = run_on(&fake, &["prompts", "create", "nut", "--class", "nut", &images.text("")]);
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("17 normal images were given, the server takes at most 16"),
        "{}",
        done.stderr
    );
}

#[test]
fn only_other_content_under_a_taken_name_is_refused() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "n"), ("2.png", "m")]));
    let create = |name: &str, image: &str| {
        run_on(&fake, &["prompts", "create", name, "--class", "nut", &images.text(image)])
    };
    let first = create("nut", "1.png");
    assert_eq!(first.code, 0, "{}", first.stderr);
    let again = create("promptSets/nut", "1.png");
    assert_eq!((again.code, again.stdout), (0, first.stdout), "{}", again.stderr);
    let refused = create("nut", "2.png");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("ALREADY_EXISTS"), "{}", refused.stderr);
}

#[test]
fn a_prompt_set_that_has_changed_is_not_deleted() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "n")]));
    assert_eq!(run_on(&fake, &["prompts", "create", "nut", "--class", "nut", &images.text("1.png")]).code, 0);
    let refused = run_on(&fake, &["prompts", "delete", "nut", "--etag", "0"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("not \"0\"\n  ABORTED"), "{}", refused.stderr);
    assert_eq!(run_on(&fake, &["prompts", "delete", "nut", "--etag", "1"]).code, 0);
}

#[test]
fn an_empty_list_says_so_to_people_alone() {
    let fake = Fake::start();
    let listed = run_on(&fake, &["prompts", "list"]);
    assert_eq!((listed.code, listed.stdout.as_str()), (0, ""));
    assert_eq!(listed.stderr, "the server has no prompt sets\n");
}
