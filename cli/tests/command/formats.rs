//! What is printed, in each format, and that nothing else is on standard output.

use crate::fake::{Fake, State};
use crate::inctrl::{Images, run_on};

#[test]
fn json_carries_scores_provenance_and_timings() {
    let (fake, images) = (Fake::start(), Images::new(&[("a.png", "0.75")]));
    let path = images.text("a.png");
    let done = run_on(&fake, &["score", &path, "--prompts", "nut", "--threshold", "0.7", "--format", "json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let row: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let expected = serde_json::json!({
        "image": path,
        "score": 0.75,
        "image_score": null,
        "text_score": null,
        "patch_max": 0.25,
        "holistic_score": null,
        "decision": "anomalous",
        "threshold": 0.7,
        "model": "models/default",
        "revision": "sha256:0123456789abcdef",
        "backbone_digest": "sha256:bb",
        "backbone_provenance": "clip",
        "prompt_digest": "sha256:cc",
        "decode_ms": 1.0,
        "queue_ms": 2.0,
        "compute_ms": 3.0,
        "batch_size": 4,
        "prompt_cache_hit": true,
        "map": null,
        "error": null,
    });
    assert_eq!(row, expected);
}

#[test]
fn csv_quotes_names_and_keeps_one_header() {
    let fake = Fake::start();
    let images = Images::new(&[("a, \"b\".png", "0.25"), ("c.png", "bad")]);
    let done = run_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--format", "csv"]);
    assert_eq!(done.code, 1, "one image failed: {}", done.stderr);
    let mut reader = csv::Reader::from_reader(done.stdout.as_bytes());
    let headers: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(headers[..3], ["image", "score", "image_score"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(&rows[0][0], images.text("a, \"b\".png"));
    assert_eq!((&rows[0][1], &rows[0][6]), ("0.25", "uncalibrated"));
    assert_eq!(&rows[1][1], "", "a failed image has no score");
    assert!(rows[1][headers.len() - 1].starts_with("IMAGE_DECODE_FAILED: image: cannot be decoded"));
}

#[test]
fn tables_are_for_people() {
    let (fake, images) = (Fake::start(), Images::new(&[("a.png", "0.75"), ("bb.png", "bad")]));
    let done = run_on(&fake, &["score", &images.text(""), "--prompts", "nut", "--threshold", "0.7"]);
    let lines: Vec<Vec<&str>> =
        done.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0][..2], ["IMAGE", "SCORE"]);
    assert_eq!(lines[1][1..], ["0.7500", "-", "-", "0.2500", "-", "anomalous"]);
    assert_eq!(lines[2][1..], ["-", "-", "-", "-", "-", "failed"]);
    assert!(done.stderr.contains("scored 1 of 2 images"), "{}", done.stderr);
    assert!(done.stderr.contains("by models/default sha256:0123456789ab"), "{}", done.stderr);
}

#[test]
fn a_backbone_that_is_not_clip_is_announced() {
    let starter = Fake::with(State { provenance: "starter", ..State::default() });
    let images = Images::new(&[("a.png", "0.5")]);
    let score = |extra: &[&str]| {
        let image = images.text("a.png");
        run_on(&starter, &[&["score", &image, "--prompts", "nut", "--format", "json"], extra].concat())
    };
    let done = score(&[]);
    assert!(done.stderr.contains("toy (starter), not CLIP"), "{}", done.stderr);
    assert!(done.stdout.contains("\"backbone_provenance\":\"starter\""), "{}", done.stdout);
    assert_eq!(score(&["--quiet"]).stderr, "", "--quiet leaves errors alone");
}

#[test]
fn info_tells_what_the_server_is() {
    let fake = Fake::start();
    let text = run_on(&fake, &["info"]);
    assert_eq!(text.code, 0, "{}", text.stderr);
    for part in ["1.2.3", "cpu, fp32", "toy (clip)", "models/default (contextual head)", "16 normal images"] {
        assert!(text.stdout.contains(part), "{part:?} must be in\n{}", text.stdout);
    }
    let json: serde_json::Value =
        serde_json::from_str(&run_on(&fake, &["info", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["backbone"]["grid_rows"], 15);
    assert_eq!(json["models"][0]["active_revision"], "sha256:0123456789abcdef");
    assert_eq!(json["limits"]["max_shots"], 16);
}
