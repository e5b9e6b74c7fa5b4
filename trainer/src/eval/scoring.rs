//! Scores of one task: every query against every prompt set, by every method.
//!
//! What a head answers here is what the server answers: the same residuals of the same features. A query's features are
//! read once and meet all prompt sets.

use std::collections::{BTreeMap, BTreeSet};

use inctrl_model::{PromptFeatures, Residuals};
use tch::Tensor;

use super::benchmark::Benchmark;
use super::draws::Draw;
use super::error::EvalError;
use super::methods::{Baseline, NamedHead, Scorer};
use super::raw_pixels::RawPixels;
use crate::features::FeatureSet;

/// Queries whose features are in memory at a time: 28 MB of the starter backbone, 155 MB of ViT-B-16-plus-240.
const BLOCK: usize = 64;

/// One prompt set of one draw.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its size.
    pub shots: usize,
    /// Number of the draw.
    pub draw: usize,
    /// Queries of the task (positions) that are scored.
    pub queries: Vec<usize>,
    /// By scorer: a score a query.
    pub scores: Vec<Vec<f32>>,
    /// Anomaly maps over the backbone, a query each, row-major.
    pub maps: Vec<Vec<f32>>,
    /// The same over the random backbone; empty without it.
    pub random_maps: Vec<Vec<f32>>,
}

/// Cached features of a benchmark's images in one backbone.
pub(super) struct Encoded<'c> {
    /// The images that are needed, in order.
    pub(super) plain: FeatureSet<'c>,
    /// Row of each image (position in the data set) in `plain`.
    pub(super) rows: BTreeMap<usize, usize>,
    /// Mirrored images that prompt sets of one image take their context from, and their rows.
    pub(super) mirrored: Option<(FeatureSet<'c>, BTreeMap<usize, usize>)>,
}

/// What scores a task's queries.
pub(super) struct Scoring<'a> {
    /// The data set.
    pub(super) benchmark: &'a Benchmark,
    /// Sizes of prompt sets, rising.
    pub(super) shots: &'a [usize],
    /// The heads.
    pub(super) heads: &'a [NamedHead],
    /// The order of scores in a [`Run`].
    pub(super) scorers: &'a [Scorer],
    /// Features over the backbone.
    pub(super) encoded: &'a Encoded<'a>,
    /// Features over the random backbone, where it is asked for.
    pub(super) random: Option<&'a Encoded<'a>>,
    /// Shrunk images, where raw pixels are asked for.
    pub(super) raw: Option<&'a RawPixels>,
}

/// Scores by head and the map, of some queries.
struct Answers {
    by_head: Vec<Vec<f32>>,
    maps: Vec<Vec<f32>>,
}

impl Scoring<'_> {
    /// All runs of the task at `task`: by draw, then by shots. `text` are the text features of its name.
    pub(super) fn task(
        &self,
        task: usize,
        draws: &[Draw],
        text: Option<&Tensor>,
    ) -> Result<Vec<Run>, EvalError> {
        let mut runs: Vec<Run> = Vec::new();
        for (number, draw) in draws.iter().enumerate() {
            for &shots in self.shots {
                runs.push(Run {
                    shots,
                    draw: number,
                    queries: draw.queries.clone(),
                    scores: vec![Vec::new(); self.scorers.len()],
                    maps: Vec::new(),
                    random_maps: Vec::new(),
                });
            }
        }
        let own = self.against(self.encoded, task, draws, text, self.heads)?;
        let random = match self.random {
            Some(random) => Some(self.against(random, task, draws, None, &[])?),
            None => None,
        };
        for (position, run) in runs.iter_mut().enumerate() {
            for (scorer, scores) in self.scorers.iter().zip(&mut run.scores) {
                *scores = match scorer {
                    Scorer::Head(head) => own[position].by_head[*head].clone(),
                    Scorer::Baseline(Baseline::MaxResidual) => largest(&own[position].maps),
                    Scorer::Baseline(Baseline::RandomBackbone) => {
                        random.as_ref().map_or_else(Vec::new, |random| largest(&random[position].maps))
                    }
                    Scorer::Baseline(Baseline::RawPixels) => {
                        self.raw_distances(task, run.shots, &draws[run.draw])
                    }
                };
            }
        }
        let random = random.unwrap_or_default().into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        for ((run, own), random) in runs.iter_mut().zip(own).zip(random) {
            run.maps = own.maps;
            run.random_maps = random.map_or_else(Vec::new, |random| random.maps);
        }
        Ok(runs)
    }

    /// Answers of `heads` and the maps over one backbone, in the order of the runs.
    fn against(
        &self,
        encoded: &Encoded<'_>,
        task: usize,
        draws: &[Draw],
        text: Option<&Tensor>,
        heads: &[NamedHead],
    ) -> Result<Vec<Answers>, EvalError> {
        let queries = &self.benchmark.tasks[task].queries;
        let mut of_draws = Vec::new();
        for draw in draws {
            let prompts: Result<Vec<PromptFeatures>, EvalError> =
                self.shots.iter().map(|&shots| encoded.prompts(&draw.prompts[..shots], text)).collect();
            let unanswered = || Answers { by_head: vec![Vec::new(); heads.len()], maps: Vec::new() };
            let answers: Vec<Answers> = self.shots.iter().map(|_| unanswered()).collect();
            of_draws.push((draw.queries.iter().copied().collect::<BTreeSet<usize>>(), prompts?, answers));
        }
        let all: Vec<usize> = (0..queries.len()).collect();
        for block in all.chunks(BLOCK) {
            let rows: Vec<usize> = block.iter().map(|&query| encoded.rows[&queries[query].image]).collect();
            let features = encoded.plain.select(&rows)?;
            for (scored, prompts, answers) in &mut of_draws {
                let rows = 0..block.len() as i64;
                let kept: Vec<i64> = rows.filter(|&row| scored.contains(&block[row as usize])).collect();
                if kept.is_empty() {
                    continue;
                }
                let sets: Vec<&PromptFeatures> = prompts.iter().collect();
                let residuals = tch::no_grad(|| Residuals::nested(&features.select(&kept), &sets));
                for ((residuals, prompts), answers) in residuals.iter().zip(sets).zip(answers) {
                    answers.add(residuals, prompts, heads)?;
                }
            }
        }
        Ok(of_draws.into_iter().flat_map(|(_, _, answers)| answers).collect())
    }

    fn raw_distances(&self, task: usize, shots: usize, draw: &Draw) -> Vec<f32> {
        let queries = &self.benchmark.tasks[task].queries;
        let Some(raw) = self.raw else { return Vec::new() };
        let prompts = &draw.prompts[..shots];
        draw.queries.iter().map(|&query| raw.distance(queries[query].image, prompts)).collect()
    }
}

impl Encoded<'_> {
    /// Features of a prompt set.
    fn prompts(&self, images: &[usize], text: Option<&Tensor>) -> Result<PromptFeatures, EvalError> {
        let rows: Vec<usize> = images.iter().map(|image| self.rows[image]).collect();
        let features = self.plain.select(&rows)?;
        let text = text.map(Tensor::shallow_clone);
        let mirrored = match (&self.mirrored, images) {
            (Some((set, rows)), [image]) => Some(set.select(&[rows[image]])?),
            _ => None,
        };
        Ok(tch::no_grad(|| PromptFeatures::new(&features, mirrored.as_ref(), text)))
    }
}

impl Answers {
    fn add(
        &mut self,
        residuals: &Residuals,
        prompts: &PromptFeatures,
        heads: &[NamedHead],
    ) -> Result<(), EvalError> {
        for (NamedHead { name, head, .. }, scores) in heads.iter().zip(&mut self.by_head) {
            let answers = head
                .score(residuals, prompts)
                .map_err(|source| EvalError::Head { name: name.clone(), source })?;
            scores.extend(answers.into_iter().map(|answer| answer.score));
        }
        let maps =
            Vec::<Vec<f32>>::try_from(&residuals.map).expect("a float32 matrix converts to rows of floats");
        self.maps.extend(maps);
        Ok(())
    }
}

/// The largest value of each map.
fn largest(maps: &[Vec<f32>]) -> Vec<f32> {
    maps.iter().map(|map| map.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect()
}
