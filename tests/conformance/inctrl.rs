//! Our own command, end to end with the real server.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::stage::{own_server, server, start_again};
use crate::{images, stage};

const IMAGES: u64 = 200;
/// Rows after which the server is killed: well within the run, with requests in flight.
const ROWS_BEFORE_CRASH: usize = 20;

pub(crate) fn a_prompt_set_lives_from_create_to_delete() {
    let (folder, address) = (tempfile::tempdir().unwrap(), server());
    let normals = images::normal_folder(folder.path(), 4);
    let create = || {
        succeeds(
            inctrl(&address)
                .args(["prompts", "create", "stripes-of-a-day", "--class", "stripes"])
                .arg(&normals),
        )
    };
    let created = create();
    assert!(created.contains("promptSets/stripes-of-a-day"), "{created}");
    assert_eq!(create(), created, "the same images under the same name are the same prompt set");

    let query = folder.path().join("query.png");
    std::fs::write(&query, images::png(100, true)).unwrap();
    let maps = folder.path().join("maps");
    let scored = succeeds(
        inctrl(&address)
            .arg("score")
            .arg(&query)
            .args(["--prompts", "stripes-of-a-day", "--threshold", "0", "--format", "json", "--maps"])
            .arg(&maps),
    );
    let row: Value = serde_json::from_str(&scored).unwrap();
    assert_eq!(row["decision"], "anomalous", "every score is at or above 0: {row}");
    let picture = image::open(row["map"].as_str().unwrap()).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (96, 96));

    succeeds(inctrl(&address).args(["prompts", "delete", "stripes-of-a-day"]));
    let gone = inctrl(&address).args(["prompts", "get", "stripes-of-a-day"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

pub(crate) fn scores_survive_a_crash_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let normals = images::normal_folder(folder.path(), 4);
    let queries = folder.path().join("queries");
    write_queries(&queries);
    let mut server = own_server(&[]);
    let address = server.address().to_string();
    succeeds(inctrl(&address).args(["prompts", "create", "stripes", "--class", "stripes"]).arg(normals));

    let mut child = inctrl(&address)
        .arg("score")
        .arg(&queries)
        .args(["--prompts", "stripes", "--format", "json", "--retry-for", "300s"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut rows: Vec<String> = lines.by_ref().take(ROWS_BEFORE_CRASH).collect();
    server.kill().unwrap();
    start_again(&mut server);
    rows.extend(lines);
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{told}");
    assert!(told.contains("is away") && told.contains("is back"), "the crash must have been met: {told}");

    let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len() as u64, IMAGES, "{told}");
    let names: Vec<&Path> = rows.iter().map(|row| Path::new(row["image"].as_str().unwrap())).collect();
    assert!(names.is_sorted(), "rows come in the order of the images");
    let score = |seed: usize| rows[seed]["score"].as_f64().unwrap();
    let mean = |has_blot: bool| {
        let of_kind = (0..rows.len()).filter(|&seed| blotted(seed as u64) == has_blot).map(score);
        of_kind.clone().sum::<f64>() / of_kind.count() as f64
    };
    assert!(mean(false) < mean(true), "blots must score higher: {} {}", mean(false), mean(true));
}

pub(crate) fn bad_images_are_told_apart() {
    let (folder, address) = (tempfile::tempdir().unwrap(), server());
    let normals = images::normal_folder(folder.path(), 2);
    let queries = folder.path().join("queries");
    std::fs::create_dir(&queries).unwrap();
    let whole = images::png(7, false);
    let files: [(&str, &[u8]); 4] = [
        ("1-whole.png", &whole),
        ("2-truncated.png", &whole[..whole.len() / 2]),
        ("3-text.png", b"this is no image"),
        ("4-empty.png", b""),
    ];
    for (name, content) in files {
        std::fs::write(queries.join(name), content).unwrap();
    }
    let scored = inctrl(&address)
        .arg("score")
        .arg(&queries)
        .args(["--format", "json", "--class", "stripes", "--normals"])
        .arg(normals)
        .output()
        .unwrap();
    assert_eq!(scored.status.code(), Some(1), "{scored:?}");
    let rows: Vec<Value> =
        scored.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(rows[0]["score"].is_number() && rows[0]["error"].is_null(), "{}", rows[0]);
    for row in &rows[1..] {
        assert!(row["score"].is_null() && row["error"].is_string(), "{row}");
    }
    let told = String::from_utf8(scored.stderr).unwrap();
    assert_eq!(told.matches("INVALID_ARGUMENT").count(), 3, "{told}");
}

fn inctrl(address: &str) -> Command {
    let mut command = stage::inctrl();
    command.env("INCTRL_SERVER", address);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that must succeed; returns what it printed.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn write_queries(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    for seed in 0..IMAGES {
        let content = images::png(1000 + seed, blotted(seed));
        std::fs::write(folder.join(format!("{seed:03}.png")), content).unwrap();
    }
}

fn blotted(seed: u64) -> bool {
    seed % 5 == 4
}
