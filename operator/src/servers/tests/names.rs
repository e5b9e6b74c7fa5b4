//! Models of one server that want the same name, are too many, or cannot be told whole: the others go on.

use super::*;

/// A model that was made in this year, and what requests are to call it.
fn made(name: &str, year: i16, asked_for: &str) -> InCTRLModel {
    let mut model = model(name);
    model.spec.serving.model_name = Some(asked_for.to_owned());
    let time = format!("{year}-01-01T00:00:00Z");
    model.metadata.creation_timestamp = serde_json::from_value(json!(time)).unwrap();
    model
}

fn active(digest: &str) -> Desired {
    Desired { active: Some(head(digest)), ..Desired::default() }
}

fn reason(stage: &Stage, model: &InCTRLModel) -> Option<&'static str> {
    let (_, refusal) = stage.fleet.views(model).unwrap();
    refusal.map(|trouble| trouble.reason)
}

#[tokio::test]
async fn of_two_models_with_one_name_the_older_has_it_until_it_goes() {
    let root = tempfile::tempdir().unwrap();
    let mut stage = stage(root.path());
    let server = start("s").await;
    let (young, old, visa) = (made("a", 2026, "same"), made("b", 2025, "same"), model("visa"));
    stage.fleet.adopt(1, [young.clone(), old.clone(), visa.clone()].into_iter());
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    for (model, digest) in [(&old, "sha256:1"), (&young, "sha256:2"), (&visa, "sha256:3")] {
        stage.fleet.push(&ModelKey::of(model), model, active(digest)).await.unwrap();
    }
    let told = server.scripted.told.lock().unwrap().back().cloned().unwrap();
    let digests =
        told.models.iter().map(|model| (model.model.as_str(), model.active.clone().unwrap().digest));
    let expected = [("models/visa", "sha256:3".to_owned()), ("models/same", "sha256:1".to_owned())];
    assert_eq!(digests.collect::<Vec<_>>(), expected);
    assert_eq!(reason(&stage, &old), None);
    assert_eq!(reason(&stage, &young), Some("NameTaken"));
    assert_eq!(stage.fleet.views(&young).unwrap().0, Vec::new(), "another's head is not its own");

    assert!(stage.fleet.withdraw(&ModelKey::of(&young), &young).await, "it had nothing there");
    assert_eq!(server.scripted.status.borrow().models.len(), 2);
    stage.fleet.push(&ModelKey::of(&young), &young, active("sha256:2")).await.unwrap();
    while stage.news.try_recv().is_ok() {}
    assert!(stage.fleet.withdraw(&ModelKey::of(&old), &old).await);
    assert_eq!(reason(&stage, &young), None);
    assert_eq!(stage.news.recv().await, Some(ModelKey::of(&young)), "it must be looked at again");
}

#[tokio::test]
async fn a_server_is_sent_as_many_models_as_it_takes_the_oldest_first() {
    let root = tempfile::tempdir().unwrap();
    let mut stage = stage(root.path());
    let server = start("s").await;
    let models: Vec<_> = (0..257).map(|n| made(&format!("m{n}"), 2300 - n, &format!("m{n}"))).collect();
    stage.fleet.adopt(1, models.clone().into_iter().chain([model("visa")]));
    stage.fleet.with(|state| {
        state.wanted.values_mut().for_each(|wanted| wanted.desired = active("sha256:1"));
        state.wanted.remove(&ModelKey::of(&model("visa")));
    });
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    stage.fleet.push(&ModelKey::of(&models[9]), &models[9], active("sha256:1")).await.unwrap();
    let told = server.scripted.told.lock().unwrap().back().cloned().unwrap();
    assert_eq!(told.models.len(), 256);
    assert!(!told.models.iter().any(|model| model.model == "models/m0"), "the youngest stays out");
    assert_eq!(reason(&stage, &models[0]), Some("TooManyModels"));
    assert_eq!(reason(&stage, &models[1]), None);
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_keeps_no_model_from_its_servers() {
    let root = tempfile::tempdir().unwrap();
    let forbidding = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        let status = json!({ "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "" });
        let body = kube::client::Body::from(serde_json::to_vec(&status)?);
        Ok::<_, tower::BoxError>(http::Response::builder().status(403).body(body)?)
    });
    let mut stage = stage_with(root.path(), Client::new(forbidding, "default"), None);
    let server = start("s").await;
    let (mut guarded, visa) = (model("guarded"), model("visa"));
    guarded.spec.artifacts.secret_ref = serde_json::from_value(json!({ "name": "store" })).unwrap();
    stage.fleet.adopt(1, [guarded.clone(), visa.clone()].into_iter());
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    for model in [&guarded, &visa] {
        stage.fleet.push(&ModelKey::of(model), model, active("sha256:1")).await.unwrap();
    }
    let told = server.scripted.told.lock().unwrap().back().cloned().unwrap();
    assert_eq!(told.models.len(), 2);
    let head = told.models[0].active.clone().unwrap();
    assert_eq!((head.uri.as_str(), head.manifest.len()), ("pvc://data/a/u/k", 0), "servers fetch it");
}

#[tokio::test]
async fn bytes_that_are_not_what_the_digest_says_are_not_sent() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("data/a/u/k");
    std::fs::create_dir_all(&folder).unwrap();
    let (_, digest) = published(&folder);
    let mut stage = stage(root.path());
    let server = start("s").await;
    let visa = model("visa");
    stage.fleet.adopt(1, std::iter::once(visa.clone()));
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    let other = format!("sha256:{}", "0".repeat(64));
    stage.fleet.push(&ModelKey::of(&visa), &visa, active(&other)).await.unwrap();
    std::fs::write(folder.join("head.safetensors"), b"evil").unwrap();
    stage.fleet.push(&ModelKey::of(&visa), &visa, active(&digest)).await.unwrap();
    let told = server.scripted.told.lock().unwrap().clone();
    let sent = told.iter().map(|request| request.models[0].active.clone().unwrap());
    let sent: Vec<_> = sent.map(|head| (head.manifest.len(), head.weights.len())).collect();
    assert_eq!(sent, [(0, 0), (0, 0)]);
}
