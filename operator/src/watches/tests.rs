//! Watches that hang and watches that are refused.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::runtime::reflector;
use serde_json::json;

use super::*;
use crate::crd::InCTRLModel;

fn request(uri: &str) -> Request<()> {
    Request::builder().uri(uri).body(()).unwrap()
}

#[test]
fn only_watch_calls_are_signs_of_life() {
    assert_eq!(
        watched(&request("https://x/apis/batch/v1/jobs?&watch=true&timeoutSeconds=200")),
        Some("jobs")
    );
    assert_eq!(watched(&request("https://x/api/v1/namespaces/a/pods?watch=true")), Some("pods"));
    assert_eq!(watched(&request("https://x/apis/batch/v1/jobs?limit=500")), None);
    assert_eq!(watched(&request("https://x/api/v1/secrets?watch=true")), None);
}

#[test]
fn a_list_after_a_watch_that_broke_tells_what_happened_meanwhile() {
    let job = |uid: &str, version: &str| {
        let metadata = json!({ "name": "j", "uid": uid, "resourceVersion": version });
        Arc::new(serde_json::from_value::<Job>(json!({ "metadata": metadata })).unwrap())
    };
    let former = [job("stays", "1"), job("changes", "2"), job("goes", "3")];
    let now = [job("stays", "1"), job("changes", "4"), job("comes", "5")];
    let changed: Vec<_> = missing_from(&former, &now).filter_map(kube::ResourceExt::uid).collect();
    assert_eq!(changed, ["changes", "comes"]);
    let former_ones: Vec<_> = missing_from(&now, &former).filter_map(kube::ResourceExt::uid).collect();
    assert_eq!(former_ones, ["changes", "goes"], "one that changed may be told twice, never not at all");
}

/// Regression 7.
#[tokio::test(start_paused = true)]
async fn a_watch_that_hangs_is_told_while_others_live() {
    let signs = SignsOfLife::default();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(200)).await;
        signs.note("jobs");
        signs.note("pods");
    }
    let said = signs.check().unwrap_err();
    assert!(said.contains("inctrlmodels") && said.contains("800"), "{said}");
    signs.note("inctrlmodels");
    assert_eq!(signs.check(), Ok(()));
}

/// An API server without objects, where watches last as long as they may and nobody may list Jobs.
fn client(signs: &SignsOfLife) -> Client {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let uri = request.uri().to_string();
        let (code, answer) = if uri.contains("/jobs?") {
            (
                403,
                json!({ "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "" }),
            )
        } else if uri.contains("watch=true") {
            tokio::time::sleep(Duration::from_secs(WATCH_SECONDS.into())).await;
            return Ok(Response::new(Body::empty()));
        } else {
            (
                200,
                json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": [] }),
            )
        };
        let body = Body::from(serde_json::to_vec(&answer).unwrap());
        Ok::<_, tower::BoxError>(Response::builder().status(code).body(body).unwrap())
    });
    Client::new(signs.layer(service), "default")
}

/// Watches one kind; the cache, and what keeps it filled.
fn follow<K>(kind: &'static str, client: &Client) -> (reflector::Store<K>, tokio::task::JoinHandle<()>)
where
    K: kube::Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + std::fmt::Debug,
    K: DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let task =
        tokio::spawn(watch(kind, Api::<K>::all(client.clone()), None, writer, |object| object, |_| {}));
    (store, task)
}

/// Regression 7.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_for_ever_holds_up_no_other_and_is_told() {
    let signs = SignsOfLife::default();
    let client = client(&signs);
    let (models, _models) = follow::<InCTRLModel>("inctrlmodels", &client);
    let (jobs, _jobs) = follow::<Job>("jobs", &client);
    let (pods, _pods) = follow::<Pod>("pods", &client);
    let filled = async { (models.wait_until_ready().await, pods.wait_until_ready().await) };
    let filled = tokio::time::timeout(Duration::from_mins(1), filled).await;
    assert!(matches!(filled, Ok((Ok(()), Ok(())))), "those that are answered must be filled");
    assert_eq!(signs.check(), Ok(()), "a short refusal is no reason to begin anew");
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let said = signs.check().unwrap_err();
    assert!(said.contains("jobs"), "{said}");
    let ages: Vec<_> =
        signs.ages().filter(|(_, age)| *age <= LONGEST_SILENCE).map(|(kind, _)| kind).collect();
    assert_eq!(ages, ["inctrlmodels", "pods"], "the others must be alive");
    let never = tokio::time::timeout(Duration::from_secs(1), jobs.wait_until_ready()).await;
    assert!(never.is_err(), "what was never listed must not count as known");
}
