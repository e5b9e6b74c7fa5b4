//! The API server and etcd are killed in the midst of a run, and again in the midst of a canary, and come back.

use futures::future::LocalBoxFuture;

use crate::lane::Lane;
use crate::play::{Moment, live, same_as_ever, undisturbed};
use crate::say;
use crate::stage::{plane, stage};

pub(crate) async fn a_run_and_a_canary_outlive_the_api_server_and_serving_never_notices() {
    let stage = stage().await;
    let mut lane = Lane::open(stage).await;
    // Requests go on all the while; one that fails fails the life.
    let played = live(&mut lane, undisturbed(), Some(take_down)).await;
    lane.log();
    same_as_ever(&played.end);
}

fn take_down(moment: Moment) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        let mut plane = plane().await;
        for program in ["kube-apiserver", "etcd"] {
            plane.kill(program);
        }
        plane.start_again("etcd").await.unwrap();
        plane.start_again("kube-apiserver").await.unwrap();
        say(&format!("  API server and etcd were killed and started anew during: {moment:?}"));
    })
}
