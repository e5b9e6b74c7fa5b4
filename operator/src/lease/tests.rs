//! Contenders one step at a time, and one against an API server that stops answering.

use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;

use super::*;

fn config(identity: &str) -> LeaseConfig {
    LeaseConfig {
        namespace: "inctrl".to_owned(),
        name: "inctrl-operator".to_owned(),
        identity: identity.to_owned(),
        duration: Duration::from_secs(15),
        deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    }
}

fn written(step: Step) -> Lease {
    match step {
        Step::Create(lease) | Step::Replace(lease) => *lease,
        Step::Wait => panic!("must write"),
    }
}

fn transitions(lease: &Lease) -> i32 {
    lease.spec.as_ref().unwrap().lease_transitions.unwrap()
}

/// Regression 9.
#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_over_after_it_stood_still_by_our_own_clock() {
    let (start, wall) = (Instant::now(), Timestamp::UNIX_EPOCH);
    let mut first = Contender::new(config("a"));
    let mut second = Contender::new(config("b"));
    let lease = written(first.step(None, start, wall));
    first.wrote(&lease, start);
    assert_eq!(first.leadership(start).epoch, Some(1));
    // Its renewal time is decades old by the wall clock; that says nothing.
    assert_eq!(second.step(Some(&lease), start, Timestamp::now()), Step::Wait);
    assert_eq!(second.step(Some(&lease), start + Duration::from_secs(14), Timestamp::now()), Step::Wait);
    let taken = written(second.step(Some(&lease), start + Duration::from_secs(15), Timestamp::now()));
    assert_eq!(transitions(&taken), 2, "each take-over is a new epoch");
    assert_eq!(
        first.leadership(start + Duration::from_secs(10)).epoch,
        None,
        "the former must have stopped before"
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_no_new_epoch_and_starts_the_others_wait_anew() {
    let start = Instant::now();
    let mut first = Contender::new(config("a"));
    let mut second = Contender::new(config("b"));
    let lease = written(first.step(None, start, Timestamp::UNIX_EPOCH));
    assert_eq!(second.step(Some(&lease), start, Timestamp::now()), Step::Wait);
    let later = start + Duration::from_secs(14);
    let renewed = written(first.step(Some(&lease), later, Timestamp::now()));
    assert_eq!(transitions(&renewed), 1);
    assert_eq!(second.step(Some(&renewed), later, Timestamp::now()), Step::Wait);
    assert_eq!(second.step(Some(&renewed), later + Duration::from_secs(14), Timestamp::now()), Step::Wait);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_back_is_taken_at_once() {
    let start = Instant::now();
    let mut first = Contender::new(config("a"));
    let mut lease = written(first.step(None, start, Timestamp::UNIX_EPOCH));
    lease.spec.as_mut().unwrap().holder_identity = None;
    let taken = written(Contender::new(config("b")).step(Some(&lease), start, Timestamp::now()));
    assert_eq!(transitions(&taken), 2);
}

/// Regression 9.
#[tokio::test(start_paused = true)]
async fn what_is_replaced_is_what_was_read() {
    let mut first = Contender::new(config("a"));
    let mut lease = written(first.step(None, Instant::now(), Timestamp::UNIX_EPOCH));
    lease.metadata.resource_version = Some("41".to_owned());
    let renewed = written(first.step(Some(&lease), Instant::now(), Timestamp::now()));
    assert_eq!(
        renewed.metadata.resource_version.as_deref(),
        Some("41"),
        "the API server must refuse a lost race"
    );
}

/// An API server with one Lease, which hangs once it is told to.
#[derive(Clone, Default)]
struct Server {
    lease: std::sync::Arc<Mutex<Option<Value>>>,
    hangs: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Server {
    fn hang(&self) {
        self.hangs.store(true, std::sync::atomic::Ordering::Release);
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                if server.hangs.load(std::sync::atomic::Ordering::Acquire) {
                    std::future::pending::<()>().await;
                }
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await?.to_bytes();
                if parts.method != Method::GET {
                    *server.lease.lock().unwrap() = Some(serde_json::from_slice(&bytes)?);
                }
                let lease = server.lease.lock().unwrap().clone();
                let missing = serde_json::json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound" });
                let (code, answer) = lease.map_or((404, missing), |lease| (200, lease));
                let body = Body::from(serde_json::to_vec(&answer)?);
                Ok::<_, tower::BoxError>(Response::builder().status(code).body(body)?)
            }
        });
        Client::new(service, "inctrl")
    }
}

/// Regression 9.
#[tokio::test(start_paused = true)]
async fn a_leader_ceases_to_act_at_its_deadline_while_a_call_hangs_and_hears_a_stop_meanwhile() {
    let server = Server::default();
    let (tell, mut told) = watch::channel(Leadership::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let start = Instant::now();
    let contending =
        tokio::spawn(contend(server.client(), config("a"), tell, || None, async { drop(stopped.await) }));
    told.wait_for(|leadership| leadership.epoch == Some(1)).await.unwrap();
    // The last renewal is that of 8 s; the call that hangs begins at 10 s and would be waited for till 15 s, the next one
    // till 22 s.
    tokio::time::sleep_until(start + Duration::from_secs(9)).await;
    server.hang();
    told.wait_for(|leadership| leadership.epoch.is_none()).await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(18), "{:?}", start.elapsed());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = Instant::now();
    stop.send(()).unwrap();
    contending.await.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_made_anew_is_raised_above_what_servers_have_heard_of() {
    let server = Server::default();
    let (tell, mut told) = watch::channel(Leadership::default());
    let heard = std::sync::Arc::new(Mutex::new(None));
    let fence = std::sync::Arc::clone(&heard);
    let fence = move || *fence.lock().unwrap();
    let contending = tokio::spawn(contend(server.client(), config("a"), tell, fence, std::future::pending()));
    told.wait_for(|leadership| leadership.epoch == Some(1)).await.unwrap();
    *heard.lock().unwrap() = Some(12);
    told.wait_for(|leadership| leadership.epoch == Some(13)).await.unwrap();
    assert_eq!(server.lease.lock().unwrap().as_ref().unwrap()["spec"]["leaseTransitions"], 13);
    // Once servers have heard of it, it stays.
    *heard.lock().unwrap() = Some(13);
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(told.borrow().epoch, Some(13));
    contending.abort();
}

#[test]
fn what_no_lease_can_count_to_raises_nothing() {
    let mut first = Contender::new(config("a"));
    first.heard(Some(i64::MAX));
    assert_eq!(first.above(3), 4);
}
