//! The crash matrix: the operator is killed before and after every write of a life, the API server's and the servers', started
//! anew, and must come to the same end.

use std::collections::BTreeMap;
use std::iter::{once, repeat_with};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::join_all;
use inctrl_tests::interposer::{Call, Fault, Kind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::lane::Lane;
use crate::play::{End, Played, at, live, same_as_ever, undisturbed};
use crate::stage::{Stage, stage};
use crate::{Extent, say};

/// Lives that are played at a time.
const LANES: usize = 3;

/// In the sample the operator is killed at every write of this many, in two lives: before some, after others.
const SAMPLED: usize = 8;

/// Renewals of the Lease at which it is killed too: early in a life, and in the midst.
const LEASES: [usize; 3] = [1, 12, 40];

/// A place where the operator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    kind: Kind,
    number: usize,
    fault: Fault,
}

const FAULTS: [Fault; 2] = [Fault::KilledBefore, Fault::KilledAfter];

/// Regressions 1 and 16.
pub(crate) async fn an_operator_that_is_killed_at_a_write_comes_to_the_same_end() {
    let began = Instant::now();
    let stage = stage().await;
    let cuts = match Extent::asked_for() {
        Extent::Sample => sample(stage).await,
        Extent::Whole => whole(stage, None).await,
        Extent::Crashes(numbers) => whole(stage, Some(&numbers)).await,
    };
    say(&format!("{cuts} cuts in {} s: the same end each time", began.elapsed().as_secs()));
}

/// Two lives, in each of which the operator is killed again and again.
async fn sample(stage: &'static Stage) -> usize {
    let lives =
        [(Fault::KilledBefore, 2), (Fault::KilledAfter, 2 + SAMPLED / 2)].map(async |(fault, first)| {
            let mut lane = Lane::open(stage).await;
            let often = Box::new(move |kind, count| {
                (kind == Kind::Work && count % SAMPLED == first % SAMPLED).then_some(fault)
            });
            let played = live(&mut lane, often, None).await;
            let cuts = lane.killed();
            say(&format!("  {fault:?}: {cuts} cuts, {} s", played.took.as_secs()));
            lane.log();
            same_as_ever(&played.end);
            cuts
        });
    let cuts = join_all(lives).await.into_iter().sum();
    assert!(cuts >= 8, "the operator must have been killed often, not {cuts} times");
    cuts
}

/// One life for every cut.
async fn whole(stage: &'static Stage, only: Option<&[usize]>) -> usize {
    let mut lane = Lane::open(stage).await;
    let Played { end, writes, took } = live(&mut lane, undisturbed(), None).await;
    let work: Vec<&Call> = writes.iter().filter(|call| call.kind == Kind::Work).collect();
    same_as_ever(&end);
    say(&format!("a life without cuts: {} writes, {} s", work.len(), took.as_secs()));
    for (index, call) in work.iter().enumerate() {
        say(&format!("  {:>3} {} {}", index + 1, call.what, call.name));
    }
    let of_work = (1..=work.len()).map(|number| (Kind::Work, number));
    let places = of_work.chain(LEASES.map(|number| (Kind::Lease, number)));
    let cuts = places.flat_map(|(kind, number)| FAULTS.map(|fault| Cut { kind, number, fault }));
    let cuts: Vec<(usize, Cut)> = cuts
        .enumerate()
        .map(|(index, cut)| (index + 1, cut))
        .filter(|(index, _)| only.is_none_or(|only| only.contains(index)))
        .collect();
    let board = Board {
        end,
        left: Mutex::new(cuts.iter().rev().copied().collect()),
        count: cuts.len(),
        done: AtomicUsize::new(0),
        failed: Mutex::default(),
        cut: Mutex::default(),
    };
    let lanes = once(Some(lane)).chain(repeat_with(|| None)).take(LANES.min(cuts.len()));
    join_all(lanes.map(|lane| play(stage, lane, &board))).await;
    let failed = board.failed.lock().await;
    assert!(
        failed.is_empty(),
        "{} of {} cuts came to another end:\n{}",
        failed.len(),
        cuts.len(),
        failed.join("\n")
    );
    for (what, count) in &*board.cut.lock().await {
        say(&format!("  {count:>3} cuts at {what}"));
    }
    cuts.len()
}

/// What the lanes share.
struct Board {
    end: End,
    left: Mutex<Vec<(usize, Cut)>>,
    count: usize,
    done: AtomicUsize,
    failed: Mutex<Vec<String>>,
    cut: Mutex<BTreeMap<String, usize>>,
}

/// Plays lives until no cut is left.
async fn play(stage: &'static Stage, mut lane: Option<Lane>, board: &Board) {
    loop {
        let Some((index, cut)) = board.left.lock().await.pop() else { return };
        let Cut { kind, number, fault } = cut;
        let began = Instant::now();
        // A life that fails leaves its lane as it is; the next one gets another.
        let kept = lane.take();
        let life = AssertUnwindSafe(async move {
            let mut lane = match kept {
                Some(lane) => lane,
                None => Lane::open(stage).await,
            };
            let before = lane.killed();
            let played = live(&mut lane, at(kind, number, fault), None).await;
            lane.log();
            let killed = lane.killed() - before;
            (lane, played, killed)
        });
        let life = life.catch_unwind().await;
        let done = board.done.fetch_add(1, Ordering::AcqRel) + 1;
        let (verdict, what) = match life {
            Ok((kept, played, killed)) => {
                let at = played.writes.iter().find(|call| call.fault.is_some());
                let what = at.map_or_else(|| "nothing: a shorter life".to_owned(), |call| call.what.clone());
                lane = Some(kept);
                let same = played.end == board.end;
                let as_aimed = killed == usize::from(at.is_some());
                let verdict = match (same, as_aimed) {
                    (true, true) => None,
                    (true, false) => Some(format!("killed {killed} times")),
                    (false, _) => Some(format!("{:#?}\nmust be\n{:#?}", played.end, board.end)),
                };
                (verdict, what)
            }
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                (Some(said.unwrap_or_else(|| "it panicked".to_owned())), "?".to_owned())
            }
        };
        let took = began.elapsed().as_secs();
        let how = if verdict.is_none() { "same end" } else { "ANOTHER END" };
        say(&format!(
            "  {done:>3}/{} cut {index}: {fault:?} {kind:?} {number} ({what}), {took} s: {how}",
            board.count
        ));
        if let Some(verdict) = verdict {
            say(&verdict);
            board.failed.lock().await.push(format!("cut {index}: {fault:?} {kind:?} {number} ({what})"));
        }
        *board.cut.lock().await.entry(format!("{fault:?} {what}")).or_default() += 1;
    }
}
