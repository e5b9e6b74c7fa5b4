//! Three operators. The leader is stopped with a rollout on its way, past its Lease; another takes over; the rollout then comes to a
//! server that must refuse it; the former leader goes on and must do nothing.

use std::sync::Arc;

use inctrl_tests::interposer::{Interposer, Kind, serve_api};
use inctrl_tests::tether::Tethered;
use inctrl_tests::wait::eventually;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::lane::Lane;
use crate::life::{Life, PATIENCE};
use crate::model::{active, canary, is};
use crate::say;
use crate::stage::stage;
use crate::traffic::Traffic;
use crate::witness::Witness;

/// gRPC's `FAILED_PRECONDITION`: what servers say to an epoch that is over.
const STALE: u16 = 9;

/// One of the three.
struct Contender {
    name: String,
    process: Tethered,
    /// Between it and the API server; all share the one before the servers.
    interposer: Arc<Interposer>,
}

/// Regression 9.
pub(crate) async fn servers_refuse_a_leader_that_was_stopped_past_its_lease() {
    let stage = stage().await;
    let mut lane = Lane::open_without_operator(stage).await;
    let mut tasks = JoinSet::new();
    let mut contenders = Vec::new();
    for name in ["first", "second", "third"] {
        contenders.push(contend(&lane, name, &mut tasks).await);
    }
    let name = lane.next_name();
    let life = Life::new(&lane, name.clone());
    let witness = Witness::of(lane.models(), &name);
    life.train(7, &serde_json::json!({})).await;
    life.until("a first head", |model| active(model) == 1 && is(model, "Ready", "True", "Serving")).await;

    let traffic = Traffic::begin(life.asked());
    let held = lane.interposer.hold_next_rollout();
    life.train(8, &canary()).await;
    let held =
        timeout(PATIENCE, held).await.expect("the second head must be told to a server in time").unwrap();
    let (former, epoch) = leader(&lane).await;
    let stopped = contenders.iter_mut().find(|one| former.starts_with(&one.name)).unwrap();
    stopped.process.signal("STOP").unwrap();
    let before = work(&stopped.interposer);
    let next = eventually("another leader", async || {
        let (holder, next) = leader(&lane).await;
        (holder != former).then_some((holder, next))
    })
    .await;
    assert_eq!(next.1, epoch + 1, "a take-over is the next epoch");
    life.until("a canary of the new leader's", |model| model["canary"]["weight"] == 50).await;

    assert_eq!(held.release().await, Some(STALE), "a server must refuse the former epoch");
    stopped.process.signal("CONT").unwrap();
    life.until("a second head", |model| active(model) == 2 && is(model, "Ready", "True", "Serving")).await;
    life.jobs_when_all_may_go(2).await;
    assert_eq!(work(&stopped.interposer), before, "who was stopped must write nothing any more");
    assert_eq!(stopped.process.try_wait().unwrap(), None, "it must stand by");
    assert_eq!(witness.seen().active, [1, 2], "each head must be promoted once");
    traffic.end().await.unwrap_or_else(|said| panic!("no request may fail:\n{said}"));
    let made = |one: &Contender| {
        let writes = one.interposer.writes();
        writes.iter().filter(|call| call.what == "Job" && call.codes == [201]).count()
    };
    assert_eq!(contenders.iter().map(made).sum::<usize>(), 2, "two runs must be two Jobs");
    say(&format!("  {former} was stopped, {} took over with epoch {}", next.0, next.1));
    life.delete().await;
}

async fn contend(lane: &Lane, name: &str, tasks: &mut JoinSet<()>) -> Contender {
    let interposer = Arc::<Interposer>::default();
    let mut recipe = lane.recipe.clone();
    recipe.identity = name.to_owned();
    recipe.log = recipe.log.with_file_name(format!("{}-{name}.log", lane.namespace));
    let place = format!("{}-{name}", lane.namespace);
    recipe.kubeconfig = serve_api(Arc::clone(&interposer), &lane.account, &place, tasks).await.unwrap();
    Contender { name: name.to_owned(), process: recipe.start(), interposer }
}

/// Who holds the Lease, and its epoch.
async fn leader(lane: &Lane) -> (String, i32) {
    let leases: Api<Lease> = Api::namespaced(lane.stage.client.clone(), &lane.namespace);
    let lease = leases.get("r-inctrl-operator").await.unwrap().spec.unwrap();
    (lease.holder_identity.unwrap_or_default(), lease.lease_transitions.unwrap_or_default())
}

fn work(interposer: &Interposer) -> usize {
    interposer.writes().iter().filter(|call| call.kind == Kind::Work).count()
}
