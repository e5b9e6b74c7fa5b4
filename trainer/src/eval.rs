//! Evaluates heads beside baselines on data sets that no training has seen.
//!
//! ```text
//! args, file --config--> EvalConfig --benchmark--> tasks, rows --draws--> prompt sets, queries
//!   --scoring (cached features)--> Runs --measure--> Evaluation --> evaluation.json, table, report.html
//! ```
//!
//! The protocol is the few-shot one: several prompt sets drawn for each category and each size, the mean over categories
//! and its deviation over draws. Everything is a function of the configuration, the data and the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::ControlFlow;

use inctrl_model::{Backbone, Precision};
use inctrl_telemetry::{LogConfig, LogFormat};
use rayon::prelude::*;

use crate::data;
use crate::features::{FeatureCache, FeatureSet, View};
use crate::files::{Durability, prepare_folder, write_whole};
use crate::report::{self, REPORT_FILE};

mod args;
mod benchmark;
mod config;
mod drawn_backbone;
mod draws;
mod error;
pub mod evaluation;
pub mod maps;
mod measure;
mod methods;
mod raw_pixels;
mod scoring;
pub mod seen;
mod statistics;
pub mod table;

pub use args::Args;
pub use benchmark::{Benchmark, Limits, Query, Row, Task};
pub use config::{EvalConfig, NamedFiles};
pub use draws::{Draw, draw};
pub use error::EvalError;
pub use evaluation::Evaluation;
pub use methods::{Baseline, Method, NamedHead, Scorer};
pub use raw_pixels::load as load_image;
pub use scoring::Run;
pub use statistics::Stat;

use evaluation::{DataSetResult, FORMAT_VERSION, QueryRecord, TaskRecord, Verdict};
use maps::SquareMask;
use measure::Measuring;
use raw_pixels::RawPixels;
use scoring::{Encoded, Scoring};

/// Name of the result in the output folder.
pub const RESULT_FILE: &str = "evaluation.json";

/// A data set with everything that was scored on it: what a report draws pictures from.
pub struct Scored {
    /// The data set.
    pub benchmark: Benchmark,
    /// By task: its draws.
    pub draws: Vec<Vec<Draw>>,
    /// By task: its runs. Those of the headline shots have maps.
    pub runs: Vec<Vec<Run>>,
    /// By task: the truth of each query, where there are masks.
    pub masks: Vec<Option<Vec<SquareMask>>>,
}

/// An evaluation and what it was made of.
pub struct Outcome {
    /// The findings.
    pub evaluation: Evaluation,
    /// By data set.
    pub scored: Vec<Scored>,
    /// The heads.
    pub heads: Vec<NamedHead>,
    /// The order of scores in a run.
    pub scorers: Vec<Scorer>,
    /// Columns of the report, each with the scorers that are averaged in it.
    pub columns: Vec<(Method, Vec<Scorer>)>,
}

/// `inctrl-trainer eval`: evaluates, writes, prints.
pub fn run(args: &Args) -> Result<(), EvalError> {
    let config = EvalConfig::from_args(args)?;
    inctrl_telemetry::log::init(&LogConfig { format: LogFormat::Auto, filter: args.log.clone() })?;
    // What cannot be written is said before what takes long.
    prepare_folder(&config.out).map_err(|source| EvalError::Write { path: config.out.clone(), source })?;
    let write = |name: &str, bytes: &[u8]| {
        let path = config.out.join(name);
        write_whole(&path, bytes, Durability::Durable).map_err(|source| EvalError::Write { path, source })
    };
    let outcome = evaluate(&config)?;
    let json = serde_json::to_vec(&outcome.evaluation).expect("numbers and names have a JSON form");
    write(RESULT_FILE, &json)?;
    let html = report::render(&outcome, &outcome.evaluation.backbone.preprocess)?;
    write(REPORT_FILE, html.as_bytes())?;
    // Nobody is left to read the table when standard output is closed; the files are written.
    let _ = write!(std::io::stdout(), "{}", table::render(&outcome.evaluation));
    Ok(())
}

/// Scores and measures; writes to the feature cache alone.
pub fn evaluate(config: &EvalConfig) -> Result<Outcome, EvalError> {
    evaluate_while(config, &|| ControlFlow::Continue(()))
}

/// The same while `go_on`, which is asked before each task, says so.
pub fn evaluate_while(
    config: &EvalConfig,
    go_on: &dyn Fn() -> ControlFlow<()>,
) -> Result<Outcome, EvalError> {
    let device = crate::device::open(config.device)?;
    let open = |folder: &std::path::Path| {
        Backbone::open(folder, device, Precision::Fp32).map_err(EvalError::Backbone)
    };
    let backbone = open(&config.backbone)?;
    let mut heads = Vec::new();
    for named in &config.heads {
        for file in &named.files {
            heads.push(NamedHead::open(&named.name, file, &backbone)?);
        }
    }
    let columns = methods::columns(&heads, &config.baselines)?;
    let scorers: Vec<Scorer> = columns.iter().flat_map(|(_, scorers)| scorers.clone()).collect();
    let limits = Limits { shots: config.most_shots(), queries: config.queries, seed: config.seed };
    let mut benchmarks = Vec::new();
    for spec in &config.data {
        let dataset = data::open(spec).map_err(EvalError::Data)?;
        let benchmark = Benchmark::new(dataset, spec.format, limits)?;
        let draws = draws::every(&benchmark, config.most_shots(), config.draws, config.seed)?;
        benchmarks.push((benchmark, draws, spec.format));
    }
    let random = if config.baselines.contains(&Baseline::RandomBackbone) {
        let folder = drawn_backbone::folder(&config.backbone, config.seed)?;
        Some(open(folder.path())?)
    } else {
        None
    };
    let setting = Setting {
        config,
        cache: FeatureCache::open(&config.cache, &backbone)?,
        random: random.as_ref().map(|random| FeatureCache::open(&config.cache, random)).transpose()?,
        columns: &columns,
        scorers: &scorers,
        heads: &heads,
        go_on,
    };
    let (mut data_sets, mut all_scored) = (Vec::new(), Vec::new());
    for (benchmark, draws, format) in benchmarks {
        let (scored, rows) = setting.data_set(benchmark, draws)?;
        let dataset = &scored.benchmark.dataset;
        data_sets.push(DataSetResult {
            name: dataset.name.clone(),
            path: dataset.root.clone(),
            format,
            fingerprint: dataset.fingerprint().map_err(EvalError::Data)?.to_string(),
            images: dataset.samples.len(),
            leaked: scored.benchmark.leaked,
            rows,
            tasks: (0..scored.benchmark.tasks.len()).map(|task| setting.record(&scored, task)).collect(),
        });
        all_scored.push(scored);
    }
    let methods: Vec<Method> = columns.iter().map(|(method, _)| method.clone()).collect();
    let evaluation = Evaluation {
        format_version: FORMAT_VERSION,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        backbone: backbone.info().clone(),
        shots: config.shots.clone(),
        headline_shots: config.headline(),
        draws: config.draws,
        seed: config.seed,
        queries: config.queries,
        map_side: setting.map_side(),
        verdict: Verdict::of(&methods, &data_sets, config.headline()),
        methods,
        data_sets,
    };
    Ok(Outcome { evaluation, scored: all_scored, heads, scorers, columns })
}

/// What all data sets are scored with.
struct Setting<'a> {
    config: &'a EvalConfig,
    cache: FeatureCache<'a>,
    random: Option<FeatureCache<'a>>,
    columns: &'a [(Method, Vec<Scorer>)],
    scorers: &'a [Scorer],
    heads: &'a [NamedHead],
    go_on: &'a dyn Fn() -> ControlFlow<()>,
}

impl Setting<'_> {
    fn map_side(&self) -> usize {
        let of_backbone = self.cache.backbone().info().preprocess.size as usize;
        if self.config.map_side == 0 { of_backbone } else { self.config.map_side }
    }

    /// Scores a data set and measures its rows.
    fn data_set(
        &self,
        benchmark: Benchmark,
        draws: Vec<Vec<Draw>>,
    ) -> Result<(Scored, Vec<evaluation::RowResult>), EvalError> {
        let config = self.config;
        let needed = needed(&benchmark, &draws);
        let single = config.shots.contains(&1);
        let firsts: BTreeSet<usize> =
            draws.iter().flatten().filter(|_| single).map(|draw| draw.prompts[0]).collect();
        let encoded = encode(&self.cache, &benchmark, &needed, &firsts)?;
        let random = match &self.random {
            Some(cache) => Some(encode(cache, &benchmark, &needed, &BTreeSet::new())?),
            None => None,
        };
        let raw = if config.baselines.contains(&Baseline::RawPixels) {
            let needed: Vec<usize> = needed.iter().copied().collect();
            Some(RawPixels::read(&benchmark.dataset, &needed, &self.cache.backbone().info().preprocess)?)
        } else {
            None
        };
        let scoring = Scoring {
            benchmark: &benchmark,
            shots: &config.shots,
            heads: self.heads,
            scorers: self.scorers,
            encoded: &encoded,
            random: random.as_ref(),
            raw: raw.as_ref(),
        };
        let mut progress = crate::progress::Progress::new("scoring", benchmark.tasks.len());
        let mut runs = Vec::new();
        for (task, draws) in draws.iter().enumerate() {
            if (self.go_on)().is_break() {
                return Err(EvalError::Stopped);
            }
            let text = self.cache.text(&benchmark.tasks[task].name);
            let mut of_task = scoring.task(task, draws, text.map_err(EvalError::Backbone)?.as_ref())?;
            for run in of_task.iter_mut().filter(|run| run.shots != config.headline()) {
                run.maps.clear();
                run.random_maps.clear();
            }
            runs.push(of_task);
            progress.advance(1);
        }
        let masks: Result<Vec<Option<Vec<SquareMask>>>, EvalError> =
            (0..benchmark.tasks.len()).map(|task| self.masks(&benchmark, task)).collect();
        let masks = masks?;
        let measuring = Measuring {
            benchmark: &benchmark,
            runs: &runs,
            masks: &masks,
            columns: self.columns,
            scorers: self.scorers,
            grid: self.cache.backbone().info().grid,
            headline: config.headline(),
        };
        let rows: Result<Vec<_>, EvalError> = benchmark.rows.iter().map(|row| measuring.row(row)).collect();
        let rows = rows?;
        Ok((Scored { benchmark, draws, runs, masks }, rows))
    }

    /// What was prompted with and what was asked.
    fn record(&self, scored: &Scored, task: usize) -> TaskRecord {
        let Scored { benchmark, draws, runs, masks: _ } = scored;
        let path = |image: usize| benchmark.dataset.relative(&benchmark.dataset.samples[image].path);
        let of_task = &benchmark.tasks[task];
        let first = runs[task].iter().find(|run| run.draw == 0 && run.shots == self.config.headline());
        let scores = |query: usize| -> BTreeMap<String, f32> {
            let Some(run) = first else { return BTreeMap::new() };
            let Some(index) = run.queries.iter().position(|&other| other == query) else {
                return BTreeMap::new();
            };
            let score = |(method, scorers): &(Method, Vec<Scorer>)| {
                let position = self.scorers.iter().position(|scorer| scorer == &scorers[0])?;
                Some((method.name().to_owned(), run.scores[position][index]))
            };
            self.columns.iter().filter_map(score).collect()
        };
        let queries = of_task.queries.iter().enumerate().map(|(position, query)| QueryRecord {
            image: path(query.image),
            anomalous: query.anomalous,
            scores: scores(position),
        });
        TaskRecord {
            name: of_task.name.clone(),
            prompts: draws[task]
                .iter()
                .map(|draw| draw.prompts.iter().copied().map(path).collect())
                .collect(),
            queries: queries.collect(),
        }
    }

    /// The truth of a task's queries; none unless every anomalous one has a mask.
    fn masks(&self, benchmark: &Benchmark, task: usize) -> Result<Option<Vec<SquareMask>>, EvalError> {
        let queries = &benchmark.tasks[task].queries;
        let has_mask = |query: &Query| benchmark.sample(*query).mask.is_some();
        if !queries.iter().filter(|query| query.anomalous).all(has_mask) {
            return Ok(None);
        }
        let (preprocess, side) = (&self.cache.backbone().info().preprocess, self.map_side());
        let read = |query: &Query| {
            let sample = benchmark.sample(*query);
            let mask = sample.mask.as_deref().filter(|_| query.anomalous);
            SquareMask::read(&sample.path, mask, preprocess, side)
        };
        queries.par_iter().map(read).collect::<Result<Vec<_>, EvalError>>().map(Some)
    }
}

/// Images that any draw scores or prompts with.
fn needed(benchmark: &Benchmark, draws: &[Vec<Draw>]) -> BTreeSet<usize> {
    let queries = benchmark.tasks.iter().flat_map(|task| task.queries.iter().map(|query| query.image));
    let prompts = draws.iter().flatten().flat_map(|draw| draw.prompts.iter().copied());
    queries.chain(prompts).collect()
}

/// Features of `needed`, and of the mirrored `firsts`.
fn encode<'c>(
    cache: &'c FeatureCache<'_>,
    benchmark: &Benchmark,
    needed: &BTreeSet<usize>,
    firsts: &BTreeSet<usize>,
) -> Result<Encoded<'c>, EvalError> {
    let extract = |images: &BTreeSet<usize>,
                   view: View|
     -> Result<(FeatureSet<'c>, BTreeMap<usize, usize>), EvalError> {
        let paths: Vec<_> =
            images.iter().map(|&image| benchmark.dataset.samples[image].path.clone()).collect();
        let rows = images.iter().enumerate().map(|(row, &image)| (image, row)).collect();
        Ok((cache.extract(&paths, view)?, rows))
    };
    let (plain, rows) = extract(needed, View::Plain)?;
    let mirrored = if firsts.is_empty() { None } else { Some(extract(firsts, View::Mirrored)?) };
    Ok(Encoded { plain, rows, mirrored })
}
