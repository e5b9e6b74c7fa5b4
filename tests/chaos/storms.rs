//! An API server, and scoring servers, that answer badly all the while: late, twice, never, or with a refusal.

use std::time::Duration;

use futures::future::join_all;
use inctrl_tests::interposer::{Aim, Fault, Kind};

use crate::lane::Lane;
use crate::play::{live, same_as_ever};
use crate::stage::{Stage, stage};
use crate::{Extent, say};

/// What befalls calls in turn.
const FAULTS: [Fault; 9] = [
    Fault::Late(Duration::from_secs(1)),
    Fault::Refused(409),
    Fault::Refused(410),
    Fault::Refused(429),
    Fault::Refused(500),
    Fault::Refused(503),
    Fault::Refused(504),
    Fault::Twice,
    Fault::Unheard,
];

/// Storms that are played at a time.
const AT_A_TIME: usize = 3;

/// Regression 4.
pub(crate) async fn an_api_server_that_answers_badly_delays_a_life_and_changes_nothing_of_it() {
    let stage = stage().await;
    // Every n-th write, beginning with this fault.
    let storms = match Extent::asked_for() {
        Extent::Sample => vec![(4, 0)],
        Extent::Whole => (0..FAULTS.len()).flat_map(|first| [(3, first), (4, first)]).collect(),
        Extent::Crashes(_) => Vec::new(),
    };
    for together in storms.chunks(AT_A_TIME) {
        join_all(together.iter().map(|&(every, first)| play(stage, every, first))).await;
    }
}

async fn play(stage: &'static Stage, every: usize, first: usize) {
    let mut lane = Lane::open(stage).await;
    let played = live(&mut lane, storm(every, first), None).await;
    lane.log();
    let struck = played.writes.iter().filter(|call| call.fault.is_some()).count();
    let took = played.took.as_secs();
    say(&format!(
        "  a storm over every {every}th write from {:?} on: {struck} faults, {took} s",
        FAULTS[first]
    ));
    assert!(struck > 8, "there must have been a storm, not {struck} faults");
    same_as_ever(&played.end);
}

/// Strikes writes, and reads less often: the operator has to begin its watches anew after each.
fn storm(every: usize, first: usize) -> Aim {
    let mut struck = first;
    Box::new(move |kind, count| {
        let every = match kind {
            Kind::Work | Kind::Event => every,
            Kind::Read => every * 3,
            // A leader that cannot renew stops, and rightly; now and then is enough.
            Kind::Lease => every * 5,
        };
        (count % every == 0).then(|| {
            struck += 1;
            FAULTS[(struck - 1) % FAULTS.len()]
        })
    })
}
