//! What the operator costs with many models, on a real control plane: memory, writes, a round over all that changes nothing, a
//! leader's death, a roll-out. `make bench-operator`; the figures are in `docs/performance.md`.
//!
//! Real: etcd, API server, controllers, scheduler, operators with the account, flags and certificates of the chart, two scoring
//! servers, the trainer. Most models have been through some roll-outs already (that is what their status says), some are
//! suspended, some wait for a node that can take their training pod, and one is trained and rolled out while all others are there.
//!
//! ```text
//! cargo bench --workspace --bench bench-operator -- [--models 1000,10000] [--idle SECONDS]
//! ```
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop")]

use std::time::Duration;

use table::Table;

mod crowd;
mod cycle;
#[path = "../scenario/data.rs"]
mod data;
mod operator;
mod scale;
mod stage;
mod table;
mod wait;

#[expect(dead_code, reason = "only the backbone folder of the shared support is used here")]
#[path = "../../model/tests/support/mod.rs"]
mod support;

/// What is asked for on the command line.
struct Asked {
    /// How many models there are, rising.
    models: Vec<usize>,
    /// How long nothing is to be written.
    idle: Duration,
}

impl Asked {
    fn of(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self { models: vec![1000, 10_000], idle: Duration::from_mins(5) };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--models" => {
                    let numbers: Result<_, _> = value()?.split(',').map(str::parse).collect();
                    asked.models = numbers.map_err(|_| "--models wants numbers, such as 1000,10000")?;
                }
                "--idle" => {
                    let seconds = value()?.parse().map_err(|_| "--idle wants seconds")?;
                    asked.idle = Duration::from_secs(seconds);
                }
                // cargo says that this is a benchmark.
                "--bench" => {}
                other => return Err(format!("{other} means nothing; --models N,N and --idle SECONDS do")),
            }
        }
        if asked.models.is_empty() || !asked.models.is_sorted_by(|a, b| a < b) {
            return Err("--models wants rising numbers".to_owned());
        }
        Ok(asked)
    }
}

fn main() {
    let asked = Asked::of(std::env::args().skip(1)).unwrap_or_else(|wrong| panic!("{wrong}"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut table = Table::of(&asked.models);
        let stage = stage::set().await;
        let mut from = 0;
        for &models in &asked.models {
            scale::measure(&stage, from..models, asked.idle, &mut table).await;
            from = models;
        }
        cycle::measure(&stage, &mut table).await;
        table.print();
    });
}
