//! Models whose runs cannot be done: what the trainer said stands in the condition, and nothing is tried again.

use serde_json::{Value, json};

use crate::model::{manifest, until};
use crate::stage::{Stage, stage};

pub(crate) async fn a_run_that_cannot_be_done_says_why_in_the_trainers_words() {
    let stage = stage().await;
    let good = |spec: &mut Value| spec["training"]["dataset"]["uri"] = json!("pvc://data/good");
    refused(stage, "good", good, "BadData", "has no anomalous images").await;
    let other = |spec: &mut Value| spec["backbone"]["sha256"] = json!("0".repeat(64));
    refused(stage, "other-backbone", other, "BadConfig", "is pinned").await;
}

async fn refused(stage: &Stage, name: &str, change: impl Fn(&mut Value), reason: &str, said: &str) {
    let mut model = manifest(stage, name);
    change(&mut model["spec"]);
    stage.apply(&model);
    let failed =
        until(stage, name, "a run that failed for good", |model| model.is("Trained", "False", reason)).await;
    let message = failed.says("Trained");
    assert!(message.contains(said), "{message:?} must hold {said:?}");
    assert!(failed.is("Ready", "False", "NoHeadYet"), "{failed:?}");
    let selector = format!("inctrl.dev/model={name}");
    let pods = stage.kubectl(&["get", "pods", "-l", &selector, "-o", "name"]);
    assert_eq!(pods.lines().count(), 1, "what no repetition helps must not be tried again: {pods}");
    stage.kubectl(&["delete", "icm", name, "--wait", "--timeout", "2m"]);
}
