//! Which images a prompt set is made of, draw by draw.
//!
//! A draw is a function of seed, data set, task and number alone: another data set, method or number of shots changes
//! none, nor does the number of queries, unless they leave the pool for its sake. Smaller prompt sets are the beginnings of the largest, so that K-curves compare like with like.

use std::collections::BTreeSet;

use inctrl_storage::Digest;
use rand::SeedableRng as _;
use rand::seq::{SliceRandom as _, index};
use rand_chacha::ChaCha8Rng;

use super::benchmark::{Benchmark, Row};
use super::error::EvalError;

/// Changes whenever the same seed would give other prompt sets.
const VERSION: u32 = 1;

/// One draw of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// Images of the largest prompt set (positions in the data set), in the order in which smaller ones take them.
    pub prompts: Vec<usize>,
    /// Queries of the task (positions) that are scored: none that is among the prompts, or a copy of one.
    pub queries: Vec<usize>,
}

/// Random numbers of one place.
pub(super) fn stream(seed: u64, place: &str) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(*Digest::of(format!("inctrl eval {VERSION}/{seed}/{place}")).as_bytes())
}

/// At most `count` of `all`, in their order.
pub(super) fn some_of<T: Copy>(all: &[T], count: usize, rng: &mut ChaCha8Rng) -> Vec<T> {
    if all.len() <= count {
        return all.to_vec();
    }
    let mut chosen = index::sample(rng, all.len(), count).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().map(|position| all[position]).collect()
}

/// Draw `number` of the task at `task`: prompt sets of up to `shots` images.
pub fn draw(benchmark: &Benchmark, task: usize, shots: usize, number: usize, seed: u64) -> Draw {
    let of_task = &benchmark.tasks[task];
    let mut rng = stream(seed, &format!("{}/{}/{number}", benchmark.dataset.name, of_task.name));
    let mut classes = of_task.pool.clone();
    for class in &mut classes {
        class.shuffle(&mut rng);
    }
    classes.shuffle(&mut rng);
    let prompts = by_turns(&classes, shots);
    let content = |image: usize| benchmark.contents[image].as_bytes();
    let taken: BTreeSet<&[u8; 32]> = prompts.iter().map(|&image| content(image)).collect();
    let queries = of_task.queries.iter().enumerate();
    let queries = queries.filter(|(_, query)| !taken.contains(content(query.image)));
    let queries = queries.map(|(position, _)| position).collect();
    Draw { prompts, queries }
}

/// Draws `0..count` of every task, before anything dear is done for them.
///
/// Fails naming the first draw that leaves a row's task without queries of one label: no metric is defined there.
pub(super) fn every(
    benchmark: &Benchmark,
    shots: usize,
    count: usize,
    seed: u64,
) -> Result<Vec<Vec<Draw>>, EvalError> {
    let of_task = |task| (0..count).map(|number| draw(benchmark, task, shots, number, seed)).collect();
    let draws: Vec<Vec<Draw>> = (0..benchmark.tasks.len()).map(of_task).collect();
    for row in &benchmark.rows {
        refuse_one_label(benchmark, row, &draws)?;
    }
    Ok(draws)
}

fn refuse_one_label(benchmark: &Benchmark, row: &Row, draws: &[Vec<Draw>]) -> Result<(), EvalError> {
    for (task, counted) in &row.members {
        let counted: BTreeSet<usize> = counted.iter().copied().collect();
        let of_task = &benchmark.tasks[*task];
        for (number, draw) in draws[*task].iter().enumerate() {
            let has = |anomalous: bool| {
                let mut left = draw.queries.iter().filter(|query| counted.contains(query));
                left.any(|&query| of_task.queries[query].anomalous == anomalous)
            };
            if let Some((_, what)) = [(false, "normal"), (true, "anomalous")].iter().find(|(it, _)| !has(*it))
            {
                return Err(EvalError::OneLabelDraw {
                    dataset: benchmark.dataset.name.clone(),
                    task: of_task.name.clone(),
                    draw: number,
                    what,
                });
            }
        }
    }
    Ok(())
}

/// The first of each list, then the second of each, until there are `count`.
fn by_turns(lists: &[Vec<usize>], count: usize) -> Vec<usize> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| lists.iter().filter_map(move |list| list.get(turn)));
    turns.copied().take(count).collect()
}
