//! Data sets as few-shot tasks: what is normal, where prompt images come from, which queries there are.
//!
//! A category of an inspection data set is one task. A data set of classes becomes the paper's semantic protocols: each
//! class normal once and all others anomalous, and two neighbouring classes normal together. Rows of a report select
//! tasks and queries of them: the whole data set, or a cell of the seen / unseen table of a synthetic benchmark.

use std::collections::BTreeSet;

use inctrl_storage::Digest;
use rayon::prelude::*;

use super::draws;
use super::error::EvalError;
use super::seen::{self, Seen};
use crate::data::{DataError, Dataset, Format, Sample, Split};

/// One image that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Position in the data set.
    pub image: usize,
    /// Label, as seen from the task's normal images.
    pub anomalous: bool,
}

/// One notion of normal, with the images to test it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Name in reports, and of the object in text prompts.
    pub name: String,
    /// Normal images that prompt sets are drawn from (positions in the data set), by class: one class, or the two that
    /// are normal together, which prompt sets then hold by turns.
    pub pool: Vec<Vec<usize>>,
    /// What is scored.
    pub queries: Vec<Query>,
}

/// A line of the report: tasks (positions) with those of their queries (positions) that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What the line is about: a protocol, or a cell of the seen / unseen table.
    pub name: String,
    /// Which cell, in a data set that knows what training has seen.
    pub cell: Option<Seen>,
    /// Task and queries.
    pub members: Vec<(usize, Vec<usize>)>,
}

/// A data set ready to be evaluated on.
#[derive(Debug, Clone)]
pub struct Benchmark {
    /// The images.
    pub dataset: Dataset,
    /// Digest of each image's content.
    pub contents: Vec<Digest>,
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The report's lines.
    pub rows: Vec<Row>,
    /// Pool images left out because the same picture is among the queries of their task.
    pub leaked: usize,
}

/// How queries are taken.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest number of shots.
    pub shots: usize,
    /// Most normal and most anomalous queries of a task, drawn by the seed; 0 takes all.
    pub queries: usize,
    /// Seed of the draw.
    pub seed: u64,
}

impl Benchmark {
    /// Reads tasks and rows off `dataset`, whose layout is `format`.
    ///
    /// Fails naming every task that cannot fill the largest prompt set, or has queries of one label alone.
    pub fn new(dataset: Dataset, format: Format, limits: Limits) -> Result<Self, EvalError> {
        let contents = contents(&dataset)?;
        let (mut tasks, protocols) = match format {
            Format::Classes => semantic(&dataset),
            Format::Mvtec | Format::Visa | Format::List | Format::Folders => {
                dataset.require_anomalies().map_err(EvalError::Data)?;
                let tasks = per_category(&dataset);
                let protocol = ("all categories".to_owned(), (0..tasks.len()).collect());
                (tasks, vec![protocol])
            }
        };
        let mut leaked = 0;
        for task in &mut tasks {
            leaked += remove_leaks(task, &contents);
            limit_queries(task, &dataset.name, limits);
            part_pool(task, &contents, limits);
        }
        refuse_small(&dataset, &tasks, limits.shots)?;
        refuse_one_label(&dataset, &tasks)?;
        let rows = match seen::read(&dataset.root)? {
            Some(seen) => seen::rows(&seen, &dataset, &tasks)?,
            None => protocols.into_iter().map(|(name, members)| whole(name, members, &tasks)).collect(),
        };
        Ok(Self { dataset, contents, tasks, rows, leaked })
    }

    /// The sample that a query is of.
    pub fn sample(&self, query: Query) -> &Sample {
        &self.dataset.samples[query.image]
    }
}

fn contents(dataset: &Dataset) -> Result<Vec<Digest>, EvalError> {
    let digest = |sample: &Sample| {
        let path = &sample.path;
        Digest::of_file(path)
            .map_err(|source| EvalError::Data(DataError::ReadFile { path: path.clone(), source }))
    };
    dataset.samples.par_iter().map(digest).collect()
}

/// Every category by itself: prompts from its normal training images, queries from its test images; in a data set
/// without a split both from all images, where a draw's prompts are never its queries.
fn per_category(dataset: &Dataset) -> Vec<Task> {
    let tasks = dataset.by_category().into_iter().map(|(category, images)| {
        let sample = |image: usize| &dataset.samples[image];
        let normal = |split: Split| -> Vec<usize> {
            let of_split = images.iter().copied().filter(|&image| sample(image).split == split);
            of_split.filter(|&image| !sample(image).is_anomalous()).collect()
        };
        let mut pool = normal(Split::Train);
        if pool.is_empty() {
            pool = normal(Split::Test);
        }
        let tested = images.iter().copied().filter(|&image| sample(image).split == Split::Test);
        let query = |image: usize| Query { image, anomalous: sample(image).is_anomalous() };
        Task { name: category.to_owned(), pool: vec![pool], queries: tested.map(query).collect() }
    });
    tasks.collect()
}

/// One class normal, all others anomalous; then two neighbouring classes (in the order of their names, the last with
/// the first) normal together.
fn semantic(dataset: &Dataset) -> (Vec<Task>, Vec<(String, Vec<usize>)>) {
    let classes: Vec<(&str, Vec<usize>)> = dataset.by_category().into_iter().collect();
    let count = classes.len();
    let mut tasks: Vec<Task> = (0..count).map(|class| semantic_task(dataset, &classes, &[class])).collect();
    let mut protocols = vec![("one class normal".to_owned(), (0..count).collect())];
    if count > 2 {
        let pairs = (0..count).map(|class| semantic_task(dataset, &classes, &[class, (class + 1) % count]));
        tasks.extend(pairs);
        protocols.push(("two classes normal".to_owned(), (count..tasks.len()).collect()));
    }
    (tasks, protocols)
}

fn semantic_task(dataset: &Dataset, classes: &[(&str, Vec<usize>)], normal: &[usize]) -> Task {
    let of_split = |images: &[usize], split: Split| -> Vec<usize> {
        images.iter().copied().filter(|&image| dataset.samples[image].split == split).collect()
    };
    let pool = normal.iter().map(|&class| {
        let train = of_split(&classes[class].1, Split::Train);
        if train.is_empty() { classes[class].1.clone() } else { train }
    });
    let queries = classes.iter().enumerate().flat_map(|(class, (_, images))| {
        let anomalous = !normal.contains(&class);
        of_split(images, Split::Test).into_iter().map(move |image| Query { image, anomalous })
    });
    let names: Vec<&str> = normal.iter().map(|&class| classes[class].0).collect();
    Task { name: names.join(" or "), pool: pool.collect(), queries: queries.collect() }
}

/// All queries of the tasks `members`.
fn whole(name: String, members: Vec<usize>, tasks: &[Task]) -> Row {
    let members = members.into_iter().map(|task| (task, (0..tasks[task].queries.len()).collect())).collect();
    Row { name, cell: None, members }
}

/// Takes those images out of the pool whose content is that of another file among the queries.
fn remove_leaks(task: &mut Task, contents: &[Digest]) -> usize {
    let queried: BTreeSet<usize> = task.queries.iter().map(|query| query.image).collect();
    let shown: BTreeSet<&[u8; 32]> = queried.iter().map(|&image| contents[image].as_bytes()).collect();
    let images = |pool: &[Vec<usize>]| pool.iter().map(Vec::len).sum::<usize>();
    let before = images(&task.pool);
    for class in &mut task.pool {
        class.retain(|image| queried.contains(image) || !shown.contains(contents[*image].as_bytes()));
    }
    before - images(&task.pool)
}

fn limit_queries(task: &mut Task, dataset: &str, limits: Limits) {
    if limits.queries == 0 {
        return;
    }
    let place = format!("{dataset}/{}/queries", task.name);
    let mut rng = draws::stream(limits.seed, &place);
    let mut kept: Vec<Query> = Vec::new();
    for anomalous in [false, true] {
        let of_label: Vec<Query> =
            task.queries.iter().copied().filter(|query| query.anomalous == anomalous).collect();
        kept.extend(draws::some_of(&of_label, limits.queries, &mut rng));
    }
    kept.sort_by_key(|query| query.image);
    task.queries = kept;
}

/// Takes the few queries that were kept, and their copies, out of the pool that they are also of, where the pool has
/// enough without them: else a draw may take most of them away.
fn part_pool(task: &mut Task, contents: &[Digest], limits: Limits) {
    if limits.queries == 0 {
        return;
    }
    let shown: BTreeSet<&[u8; 32]> =
        task.queries.iter().map(|query| contents[query.image].as_bytes()).collect();
    let apart = |class: &Vec<usize>| -> Vec<usize> {
        class.iter().copied().filter(|&image| !shown.contains(contents[image].as_bytes())).collect()
    };
    let apart: Vec<Vec<usize>> = task.pool.iter().map(apart).collect();
    let needed = limits.shots.div_ceil(apart.len().max(1));
    if apart.iter().all(|class| needed <= class.len()) {
        task.pool = apart;
    }
}

/// Fails where a prompt set of `shots` would leave a pool without images, or a task without normal queries.
fn refuse_small(dataset: &Dataset, tasks: &[Task], shots: usize) -> Result<(), EvalError> {
    let short = tasks.iter().filter_map(|task| {
        let pool: usize = task.pool.iter().map(Vec::len).sum();
        let shared =
            task.queries.iter().any(|query| task.pool.iter().any(|class| class.contains(&query.image)));
        let needed = if shared { shots + 1 } else { shots };
        (pool < needed).then(|| format!("{} has {pool} and needs {needed}", task.name))
    });
    let short: Vec<String> = short.collect();
    if short.is_empty() {
        return Ok(());
    }
    Err(EvalError::TooFewNormals { dataset: dataset.name.clone(), shots, short })
}

fn refuse_one_label(dataset: &Dataset, tasks: &[Task]) -> Result<(), EvalError> {
    let labels = |task: &Task, anomalous: bool| task.queries.iter().any(|query| query.anomalous == anomalous);
    let lacking = |anomalous: bool| -> Vec<String> {
        tasks.iter().filter(|task| !labels(task, anomalous)).map(|task| task.name.clone()).collect()
    };
    for (anomalous, what) in [(true, "anomalous"), (false, "normal")] {
        let categories = lacking(anomalous);
        if !categories.is_empty() {
            return Err(EvalError::OneLabel { dataset: dataset.name.clone(), what, categories });
        }
    }
    Ok(())
}
