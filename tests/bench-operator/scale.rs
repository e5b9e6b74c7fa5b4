//! What many models cost: memory, the first and any later round over all of them, rest, the death of a leader.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::crowd;
use crate::operator::{Operator, Pace};
use crate::stage::Stage;
use crate::table::{Table, Target};
use crate::wait::{OFTEN, SELDOM, say, until};

/// Without a call for so long an operator has come to rest.
const QUIET: Duration = Duration::from_secs(15);

/// Measures with as many models as the range ends at; those that it holds are made first.
pub(crate) async fn measure(stage: &Stage, new: Range<usize>, idle: Duration, table: &mut Table) {
    let models = new.end;
    let count = new.len() as f64;
    crowd::create(stage, new).await;
    adopt(stage, models, count, table).await;
    let leader = resync(stage, models, table).await;
    let standby = Operator::start(stage, Pace::Chart).await;
    standby.filled().await;
    rest(stage, &leader, &standby, models, idle, table).await;
    fail_over(leader, standby, models, table).await;
}

/// A first operator takes all in.
async fn adopt(stage: &Stage, models: usize, new: f64, table: &mut Table) {
    let before = stage.writes().len() as f64;
    let operator = Operator::start(stage, Pace::Fast).await;
    let start = Instant::now();
    let adopted = async || {
        let metrics = operator.metrics().await;
        let looked_at =
            metrics.samples("inctrl_operator_models").filter(|(labels, _)| !labels.contains("Pending"));
        (looked_at.map(|(_, count)| count).sum::<f64>() >= models as f64).then_some(())
    };
    until("a first look at every model", SELDOM, adopted).await;
    let took = start.elapsed().as_secs_f64();
    quiet(&operator).await;
    let writes = stage.writes().len() as f64 - before;
    table.put(models, "new models taken in", new / took, "a second", Target::None);
    table.put(models, "writes for each of them", writes / new, "", Target::None);
    let (resident, highest) = operator.memory();
    table.put(models, "memory after that", resident, "MB", Target::Below(150.0));
    table.put(models, "memory, highest until then", highest, "MB", Target::None);
    operator.stop().await;
}

/// An operator that is started anew finds nothing to do.
async fn resync(stage: &Stage, models: usize, table: &mut Table) -> Operator {
    let before = stage.writes().len();
    let operator = Operator::start(stage, Pace::Chart).await;
    let filled = operator.filled().await;
    let all = operator.looked_at(models).await;
    let processor = operator.processor();
    let writes = stage.writes().len() - before;
    table.put(models, "restart until its caches are filled", filled.as_secs_f64(), "s", Target::None);
    table.put(
        models,
        "restart until it has looked at every model",
        all.as_secs_f64(),
        "s",
        Target::Below(30.0),
    );
    table.put(models, "processor time of that", processor, "s", Target::None);
    table.put(models, "writes of that", writes as f64, "", Target::AtMost(0.0));
    let (resident, highest) = operator.memory();
    table.put(models, "memory of the leader", resident, "MB", Target::Below(150.0));
    table.put(models, "memory of the leader, highest", highest, "MB", Target::Below(150.0));
    operator
}

/// Nothing happens, so nothing is written.
async fn rest(
    stage: &Stage,
    leader: &Operator,
    standby: &Operator,
    models: usize,
    idle: Duration,
    table: &mut Table,
) {
    quiet(leader).await;
    say(&format!("nothing happens for {} s", idle.as_secs()));
    let (before, processor, rounds) = (stage.writes().len(), leader.processor(), leader.rounds_made().await);
    // It is time itself that is waited for here.
    sleep(idle).await;
    let writes = stage.writes().len() - before;
    let share = (leader.processor() - processor) / idle.as_secs_f64() * 100.0;
    let rounds = (leader.rounds_made().await - rounds) / idle.as_secs_f64();
    table.put(models, "writes at rest, Lease aside", writes as f64, "", Target::AtMost(0.0));
    table.put(models, "rounds at rest", rounds, "a second", Target::None);
    table.put(models, "one core's share at rest", share, "%", Target::None);
    table.put(models, "memory of the leader after rest", leader.memory().0, "MB", Target::Below(150.0));
    table.put(models, "memory of a standby", standby.memory().0, "MB", Target::Below(150.0));
}

/// The leader dies without a word; the standby acts once the Lease has stood still.
async fn fail_over(leader: Operator, standby: Operator, models: usize, table: &mut Table) {
    leader.kill();
    let acts = async || (standby.rounds_made().await > 0.0).then_some(());
    let ((), took) = until("a new leader's first round", OFTEN, acts).await;
    table.put(
        models,
        "leader's death to the next one's first round",
        took.as_secs_f64(),
        "s",
        Target::Below(20.0),
    );
    standby.stop().await;
}

/// Waits until an operator makes no call any more.
pub(crate) async fn quiet(operator: &Operator) {
    let calls = async || operator.metrics().await.sum("inctrl_operator_api_call_duration_seconds_count");
    let mut seen = (calls().await, Instant::now());
    let mut looks = tokio::time::interval(SELDOM);
    while seen.1.elapsed() < QUIET {
        looks.tick().await;
        let now = calls().await;
        if now > seen.0 {
            seen = (now, Instant::now());
        }
    }
}
