//! The life of a model: a first head trained, gated and served; a second tried beside it and promoted, under requests of which
//! none fails; the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::model::{Model, manifest, until};
use crate::stage::{Stage, eventually, stage};

pub(crate) async fn an_applied_model_is_trained_gated_canaried_and_promoted_without_a_failed_request() {
    let stage = stage().await;
    let servers = stage.servers().await;
    let mut model = manifest(stage, "line");
    stage.apply(&model);
    let first = until(stage, "line", "a first head that servers answer with", |model| {
        model.is("Ready", "True", "Serving") && model.status("/active/revision") == 1
    })
    .await;
    for (kind, reason) in
        [("DatasetResolved", "FingerprintKnown"), ("Trained", "JobComplete"), ("GatePassed", "AllBoundsMet")]
    {
        assert!(first.is(kind, "True", reason), "{kind} must be true for {reason}: {first:?}");
    }
    let former = digest(&first);
    let artifact = published_as(stage, &first);
    for server in &servers {
        assert_eq!(score(stage, server), BTreeSet::from([former.clone()]), "{server}");
    }

    let spec = &mut model["spec"];
    spec["training"]["hyperparameters"]["seed"] = json!(8);
    spec["rollout"] = json!({
        "steps": [{ "weight": 50, "pauseSeconds": 1 }, { "weight": 100, "pauseSeconds": 0 }],
        "analysis": { "intervalSeconds": 5, "minRequests": 4 },
    });
    stage.apply(&model);
    let canary = until(stage, "line", "a second head that answers a share of requests", |model| {
        assert!(model.is("Ready", "True", "Serving"), "a routine run must not touch Ready: {model:?}");
        model.status("/canary/weight") == 50
    })
    .await;
    let candidate = canary.status("/candidate/digest").as_str().unwrap().to_owned();
    assert_ne!(candidate, former);
    assert!(canary.is("GatePassed", "True", "AllBoundsMet"), "{canary:?}");

    let promoted = eventually(stage, "the second head's promotion", async || {
        // Two heads answer while the canary lasts, and no third one ever.
        for server in &servers {
            let seen = score(stage, server);
            assert!(seen.is_subset(&BTreeSet::from([former.clone(), candidate.clone()])), "{seen:?}");
        }
        let model = Model::get(stage, "line").await?;
        (model.status("/active/revision") == 2 && model.is("Ready", "True", "Serving")).then_some(model)
    })
    .await;
    assert_eq!(digest(&promoted), candidate);
    let history = promoted.status("/history").as_array().unwrap();
    let rows: Vec<_> = history.iter().map(|row| (row["revision"].as_i64(), row["phase"].as_str())).collect();
    assert_eq!(rows, [(Some(2), Some("Active")), (Some(1), Some("Superseded"))]);
    for server in &servers {
        assert_eq!(score(stage, server), BTreeSet::from([candidate.clone()]), "{server}");
    }
    let row = stage.kubectl(&["get", "icm", "line", "--no-headers"]);
    let columns: Vec<_> = row.split_whitespace().take(4).collect();
    assert_eq!(columns, ["line", "True", "Serving", "2"], "{row}");

    stage.kubectl(&["delete", "icm", "line", "--wait", "--timeout", "2m"]);
    eventually(stage, "servers that know the model no more", async || {
        servers.iter().all(|server| try_score(stage, server).is_err()).then_some(())
    })
    .await;
    for server in &servers {
        let known =
            stage.inctrl(&["--server", &format!("http://{server}:50051"), "info", "--format", "json"]);
        let known = known.unwrap();
        assert!(!known.contains(&candidate), "{server} must have dropped {candidate}: {known}");
    }
    eventually(stage, "the end of the Jobs", async || {
        stage.kubectl(&["get", "jobs", "-l", "inctrl.dev/model=line", "-o", "name"]).is_empty().then_some(())
    })
    .await;
    assert!(!artifact.join("manifest.json").exists(), "deletionPolicy: Delete must remove artifacts");
}

/// The folder of the active head's artifact, whose manifest must say what the status says.
fn published_as(stage: &Stage, model: &Model) -> PathBuf {
    let key = model.status("/run/key").as_str().unwrap();
    let folder = stage.folder.join("heads").join(model.uid()).join(key);
    let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["runKey"], key);
    assert_eq!(&manifest["revision"], model.status("/active/digest"));
    assert_eq!(&manifest["dataset"]["fingerprint"], model.status("/dataset/fingerprint"));
    assert_eq!(manifest["gate"]["samples"], 16);
    folder
}

fn digest(model: &Model) -> String {
    model.status("/active/digest").as_str().unwrap().to_owned()
}

/// Scores eight images on one server, none of which may fail; answers the revisions that did it.
fn score(stage: &Stage, server: &str) -> BTreeSet<String> {
    try_score(stage, server).unwrap_or_else(|said| panic!("{server}: {said}"))
}

fn try_score(stage: &Stage, server: &str) -> Result<BTreeSet<String>, String> {
    let images = |kind: &str| stage.folder.join("held-out/bolt").join(kind);
    let path = |path: &Path| path.display().to_string();
    let said = stage.inctrl(&[
        "--server",
        &format!("http://{server}:50051"),
        "--retry-for",
        "0s",
        "score",
        &path(&images("test")),
        "--model",
        "line",
        "--format",
        "json",
        "--class",
        "bolt",
        "--normals",
        &path(&images("train/good")),
    ])?;
    let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 8, "{said}");
    Ok(rows.iter().map(|row| row["revision"].as_str().unwrap().to_owned()).collect())
}
