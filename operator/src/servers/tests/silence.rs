//! Servers that say nothing, or not yet: they hold up nobody, and are told later.

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn holding(model: &str) -> RolloutStatus {
    let model = ModelRolloutStatus { model: format!("models/{model}"), ..ModelRolloutStatus::default() };
    RolloutStatus { models: vec![model], ..RolloutStatus::default() }
}

/// A line with mTLS, its files in this folder.
fn tls(folder: &std::path::Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["server".to_owned()]).unwrap();
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    TlsFiles { authorities: certificate.clone(), certificate, key, server_name: "server".to_owned() }
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_shakes_hands_is_silent() {
    let root = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, tower::BoxError>("no API server here".into())
    });
    let mut stage = stage_with(root.path(), Client::new(nobody, "default"), Some(tls(root.path())));
    stage.fleet.adopt(1, std::iter::once(model("visa")));
    stage.fleet.saw_pods(&[pod("s", listener.local_addr().unwrap().port())]);
    assert_eq!(stage.views(), None);
    let _connection = listener.accept().await.unwrap();
    tokio::time::pause();
    let views = stage.until(|views| !views.is_empty()).await;
    assert_eq!(views[0].report, None);
}

/// Regression 17.
#[tokio::test]
async fn a_silent_server_has_not_dropped_a_model() {
    let root = tempfile::tempdir().unwrap();
    let mut stage = stage(root.path());
    let server = start("s").await;
    server.task.abort();
    let visa = model("visa");
    stage.fleet.adopt(1, std::iter::once(visa.clone()));
    assert!(!stage.fleet.withdraw(&ModelKey::of(&visa), &visa).await, "nobody has looked for servers yet");
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    assert!(!stage.fleet.withdraw(&ModelKey::of(&visa), &visa).await, "it was not asked yet");
    stage.until(|views| !views.is_empty()).await;
    assert!(!stage.fleet.withdraw(&ModelKey::of(&visa), &visa).await, "it may hold the model");
    stage.fleet.saw_pods(&[]);
    assert!(stage.fleet.withdraw(&ModelKey::of(&visa), &visa).await, "a server without pod holds nothing");
}

#[tokio::test]
async fn a_server_that_comes_back_with_a_model_that_nobody_wants_is_told() {
    let root = tempfile::tempdir().unwrap();
    let stage = stage(root.path());
    let server = start("s").await;
    server.scripted.status.send_replace(holding("gone"));
    stage.fleet.adopt(1, std::iter::once(model("visa")));
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    let mut seen = server.scripted.status.subscribe();
    let dropped = seen.wait_for(|status| status.models.is_empty());
    tokio::time::timeout(LONG, dropped).await.expect("it must be told").unwrap();
}

#[tokio::test]
async fn a_server_that_heard_from_a_newer_leader_is_not_told_what_it_may_keep() {
    let root = tempfile::tempdir().unwrap();
    let mut stage = stage(root.path());
    let server = start("s").await;
    server.scripted.status.send_replace(RolloutStatus { epoch: 12, ..holding("gone") });
    stage.fleet.adopt(1, std::iter::once(model("visa")));
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    assert_eq!(stage.fleet.newest_epoch(), Some(12), "the Lease has to be raised above it");
    stage.fleet.adopt(13, std::iter::once(model("visa")));
    server.scripted.status.send_replace(RolloutStatus { epoch: 12, generation: 1, ..holding("gone") });
    let mut seen = server.scripted.status.subscribe();
    let dropped = seen.wait_for(|status| status.models.is_empty());
    let told = tokio::time::timeout(LONG, dropped).await.expect("it must be told").unwrap().epoch;
    assert_eq!(told, 13);
}

#[tokio::test]
async fn who_no_longer_leads_hangs_up() {
    let root = tempfile::tempdir().unwrap();
    let mut stage = stage(root.path());
    let server = start("s").await;
    stage.fleet.adopt(1, std::iter::once(model("visa")));
    stage.fleet.saw_pods(&[Arc::clone(&server.pod)]);
    stage.until(|views| views.iter().any(|view| view.report.is_some())).await;
    stage.fleet.retire();
    let listeners_gone = server.scripted.status.closed();
    tokio::time::timeout(LONG, listeners_gone).await.expect("the line must end");
}
