//! Events: what was told once is told again, in new words, when it comes about again.

use super::*;

#[tokio::test]
async fn a_transition_that_comes_again_is_an_event_of_its_own() {
    let root = data();
    let mut stage = Stage::new(root.path());
    stage.settle().await;
    let mut told = Vec::new();
    for (generation, suspend) in [(2, true), (3, false), (4, true)] {
        {
            let mut model = Server::lock(&stage.server.model);
            model["spec"]["suspend"] = json!(suspend);
            model["metadata"]["generation"] = json!(generation);
            bump(&mut model);
        }
        stage.cache();
        let calls = stage.settle().await;
        told.extend(
            calls.into_iter().filter(|call| call.path.contains("/events") && call.method != Method::GET),
        );
    }
    let reasons: Vec<_> = told.iter().map(|call| (&call.method, call.body["reason"].as_str())).collect();
    let expected = ["Suspended", "Resumed", "Suspended"].map(|reason| (&Method::POST, Some(reason)));
    assert_eq!(reasons, expected, "a series keeps the words of its first event: {told:#?}");
    assert!(told.iter().all(|call| call.body["regarding"]["resourceVersion"].is_string()), "{told:#?}");
}
