//! Many objects at once, and one that is edited all the time: what is done for them stays bounded.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Workers, as `--concurrency` says.
const WORKERS: usize = 4;

/// Objects that are due at once.
const OBJECTS: usize = 10_000;

/// Edits of one object, a tenth of a second apart.
const EDITS: u64 = 50;

/// An API server that takes its time, and refuses everything then.
#[derive(Default)]
struct Busy {
    now: AtomicUsize,
    most: AtomicUsize,
    asked: Mutex<BTreeSet<String>>,
}

impl Busy {
    fn client(self: &Arc<Self>) -> Client {
        let busy = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let busy = Arc::clone(&busy);
            async move {
                let now = busy.now.fetch_add(1, Ordering::SeqCst) + 1;
                busy.most.fetch_max(now, Ordering::SeqCst);
                Server::lock(&busy.asked).insert(request.uri().path().to_owned());
                tokio::time::sleep(Duration::from_millis(10)).await;
                busy.now.fetch_sub(1, Ordering::SeqCst);
                let status = json!({ "kind": "Status", "status": "Failure", "code": 409, "reason": "", "message": "" });
                let body = Body::from(serde_json::to_vec(&status).unwrap());
                Ok::<_, tower::BoxError>(Response::builder().status(409).body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }
}

/// Regression 8.
#[tokio::test(start_paused = true)]
async fn ten_thousand_objects_due_at_once_are_worked_on_a_few_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let busy = Arc::new(Busy::default());
    let first = Stage::new(root.path());
    let mut model = Server::lock(&first.server.model).clone();
    model["metadata"]["finalizers"] = json!([]);
    let mut stage = Stage::with(Arc::clone(&first.server), busy.client(), root.path());
    let names: Vec<_> = (0..OBJECTS).map(|number| format!("m{number:05}")).collect();
    let models = names.iter().map(|name| {
        model["metadata"]["name"] = json!(name);
        model["metadata"]["uid"] = json!(format!("uid of {name}"));
        packed(model.clone())
    });
    fill(&mut stage.models, models.collect::<Vec<_>>());
    for name in names {
        stage.controller.queue.add(ModelKey { namespace: "default".to_owned(), name }, Duration::ZERO);
    }
    let controller = Arc::new(stage.controller);
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(Arc::clone(&controller).work());
    }
    let all = async {
        while Server::lock(&busy.asked).len() < OBJECTS {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(10), all).await.expect("every object must have its turn");
    assert_eq!(busy.most.load(Ordering::SeqCst), WORKERS, "as many at once as there are workers, no more");
}

/// Regressions 6 and 12.
#[tokio::test(start_paused = true)]
async fn an_object_edited_ten_times_a_second_costs_one_write_for_what_was_acted_on() {
    let root = data();
    let mut stage = Stage::new(root.path());
    stage.settle().await;
    let queue = Arc::clone(&stage.controller.queue);
    let debounce = Duration::from_millis(200);
    let (mut rounds, mut writes) = (0, 0);
    for edit in 0..EDITS {
        {
            let mut model = Server::lock(&stage.server.model);
            model["metadata"]["generation"] = json!(2 + edit);
            model["spec"]["revisionHistoryLimit"] = json!(1 + edit % 20);
            bump(&mut model);
        }
        stage.cache();
        queue.add(key(), debounce);
        tokio::time::sleep(Duration::from_millis(100)).await;
        while let Ok(key) = tokio::time::timeout(Duration::ZERO, queue.next()).await {
            let calls = stage.round().await;
            stage.cache();
            rounds += 1;
            writes += calls.iter().filter(|call| call.method != Method::GET).count();
            let observed =
                Server::lock(&stage.server.model)["status"]["observedGeneration"].as_u64().unwrap();
            assert!(observed <= 2 + edit, "{observed} was not there yet");
            queue.finish(&key, Round::Done(None));
        }
    }
    let calls = stage.settle().await;
    writes += calls.iter().filter(|call| call.method != Method::GET).count();
    let model = Server::lock(&stage.server.model).clone();
    assert_eq!(model["status"]["observedGeneration"], model["metadata"]["generation"]);
    assert!(rounds <= EDITS / 2, "changes that come together are looked at together: {rounds} rounds");
    assert!(writes as u64 <= rounds + 1, "{writes} writes for {rounds} rounds");
    assert_eq!(Server::lock(&stage.server.made).len(), 1, "what makes no other head makes no other run");
}
