//! What the API server refuses is a condition, and holds up nothing else.

use super::*;

/// Status and reason of the condition Trained, and its message.
fn trained(stage: &Stage) -> (String, String, String) {
    let model = Server::lock(&stage.server.model).clone();
    let conditions = model["status"]["conditions"].as_array().unwrap();
    let trained = conditions.iter().find(|condition| condition["type"] == "Trained").unwrap();
    let [status, reason, message] =
        ["status", "reason", "message"].map(|field| trained[field].as_str().unwrap_or_default().to_owned());
    (status, reason, message)
}

/// Regression 2.
#[tokio::test]
async fn a_job_that_is_refused_is_told_once_and_forgotten_once_it_is_made() {
    let root = data();
    let mut stage = Stage::new(root.path());
    let refuse = |used: u32| {
        let message = format!(
            "jobs.batch \"visa-train-x\" is forbidden: exceeded quota: none, used: count/jobs.batch={used}"
        );
        Some((403, message))
    };
    let mut writes = 0;
    for round in 0..8 {
        *Server::lock(&stage.server.refusal) = refuse(round);
        let calls = stage.round().await;
        writes += calls.iter().filter(|call| call.path.ends_with("/status")).count();
        stage.cache();
    }
    let (status, reason, message) = trained(&stage);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "QuotaExceeded"), "{message}");
    assert_eq!(writes, 3, "pending, data set and run, why there is no Job");

    *Server::lock(&stage.server.refusal) =
        Some((422, "Job.batch is invalid: spec.template: no such quantity".to_owned()));
    stage.round().await;
    stage.cache();
    stage.round().await;
    let (_, reason, message) = trained(&stage);
    assert_eq!(reason, "JobRefused");
    assert!(message.contains("no such quantity"), "{message}");

    *Server::lock(&stage.server.refusal) = None;
    stage.cache();
    stage.settle().await;
    assert_eq!(Server::lock(&stage.server.made).len(), 1);
    assert_eq!(trained(&stage).1, "Running");
}
