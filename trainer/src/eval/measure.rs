//! Scores to numbers: a row's metrics by category, their means, and deviation over draws and heads.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::benchmark::{Benchmark, Row};
use super::error::EvalError;
use super::evaluation::{
    AUPRO_LIMIT, CategoryResult, ImageMeasurement, MapMeasurement, MapOf, MapSummary, RowResult, Summary,
};
use super::maps::{SquareMask, upsampled};
use super::methods::{Baseline, Method, Scorer};
use super::scoring::Run;
use super::statistics::{Stat, mean};
use crate::metrics::{MetricError, ScoredMask, aupro, auroc, average_precision, f1_max, pixel_auroc};

/// What is needed to measure a data set's rows.
pub(super) struct Measuring<'a> {
    /// The data set.
    pub(super) benchmark: &'a Benchmark,
    /// By task: its runs.
    pub(super) runs: &'a [Vec<Run>],
    /// By task: the truth of each query; none where an anomalous query has no mask.
    pub(super) masks: &'a [Option<Vec<SquareMask>>],
    /// Methods, each with its scorers.
    pub(super) columns: &'a [(Method, Vec<Scorer>)],
    /// The order of scores in a run.
    pub(super) scorers: &'a [Scorer],
    /// Rows and columns of the patch grid.
    pub(super) grid: (usize, usize),
    /// Shots at which maps are measured.
    pub(super) headline: usize,
}

impl Measuring<'_> {
    /// All numbers of `row`.
    pub(super) fn row(&self, row: &Row) -> Result<RowResult, EvalError> {
        let categories: Result<Vec<CategoryResult>, EvalError> =
            row.members.iter().map(|(task, queries)| self.category(*task, queries)).collect();
        let categories = categories?;
        let shots: BTreeSet<usize> = self.runs.iter().flatten().map(|run| run.shots).collect();
        let summary = self.columns.iter().flat_map(|(method, _)| {
            let categories = &categories;
            shots.iter().filter_map(move |&shots| summarise(method, shots, categories, self.headline))
        });
        let summary = summary.collect();
        Ok(RowResult { name: row.name.clone(), cell: row.cell, summary, categories })
    }

    fn category(&self, task: usize, queries: &[usize]) -> Result<CategoryResult, EvalError> {
        let of_task = &self.benchmark.tasks[task];
        let what = || format!("{} of data set {}", of_task.name, self.benchmark.dataset.name);
        let failed = |source: MetricError| EvalError::Metric { what: what(), source };
        let counted: BTreeSet<usize> = queries.iter().copied().collect();
        let is_anomalous = |query: usize| of_task.queries[query].anomalous;
        let anomalous = queries.iter().filter(|&&query| is_anomalous(query)).count();
        let mut images = Vec::new();
        for run in &self.runs[task] {
            let kept = kept(run, &counted);
            let labels: Vec<bool> = kept.iter().map(|&index| is_anomalous(run.queries[index])).collect();
            for (method, scorers) in self.columns {
                for (head, scorer) in scorers.iter().enumerate() {
                    let scores = self.scores(run, *scorer);
                    let scores: Vec<f32> = kept.iter().map(|&index| scores[index]).collect();
                    images.push(ImageMeasurement {
                        method: method.name().to_owned(),
                        head,
                        shots: run.shots,
                        draw: run.draw,
                        auroc: auroc(&scores, &labels).map_err(failed)?,
                        average_precision: average_precision(&scores, &labels).map_err(failed)?,
                        f1_max: f1_max(&scores, &labels).map_err(failed)?.f1,
                    });
                }
            }
        }
        let maps = self.maps(task, &counted).map_err(failed)?;
        let (name, normal) = (of_task.name.clone(), queries.len() - anomalous);
        Ok(CategoryResult { name, normal, anomalous, images, maps })
    }

    /// The scores that `scorer` gave in `run`.
    fn scores<'r>(&self, run: &'r Run, scorer: Scorer) -> &'r [f32] {
        let position = self.scorers.iter().position(|other| *other == scorer);
        position.map_or(&[], |position| &run.scores[position])
    }

    /// Pixel-level numbers of a task's queries at the headline shots.
    fn maps(&self, task: usize, counted: &BTreeSet<usize>) -> Result<Vec<MapMeasurement>, MetricError> {
        let Some(masks) = &self.masks[task] else { return Ok(Vec::new()) };
        if !counted.iter().any(|&query| masks[query].anomalous.contains(&true)) {
            return Ok(Vec::new());
        }
        let headline = self.runs[task].iter().filter(|run| run.shots == self.headline);
        let sources = headline.flat_map(|run| {
            [(MapOf::Backbone, &run.maps), (MapOf::RandomBackbone, &run.random_maps)]
                .into_iter()
                .filter(|(_, maps)| !maps.is_empty())
                .map(move |(map, maps)| (map, run, maps))
        });
        let sources: Vec<(MapOf, &Run, &Vec<Vec<f32>>)> = sources.collect();
        let measure = |&(map, run, maps): &(MapOf, &Run, &Vec<Vec<f32>>)| {
            let kept = kept(run, counted);
            let shown: Vec<(Vec<f32>, Vec<bool>, usize)> = kept
                .par_iter()
                .map(|&index| {
                    let mask = &masks[run.queries[index]];
                    let pixels = upsampled(&maps[index], self.grid, mask.side);
                    (mask.shown(&pixels), mask.shown(&mask.anomalous), mask.columns.len())
                })
                .collect();
            let scored: Vec<ScoredMask<'_>> =
                shown.iter().map(|(map, mask, width)| ScoredMask { map, mask, width: *width }).collect();
            let (pixel_auroc, aupro) = (pixel_auroc(&scored)?, aupro(&scored, AUPRO_LIMIT)?);
            Ok(MapMeasurement { map, draw: run.draw, pixel_auroc, aupro })
        };
        sources.iter().map(measure).collect()
    }
}

/// Positions in `run` of the queries that count.
fn kept(run: &Run, counted: &BTreeSet<usize>) -> Vec<usize> {
    (0..run.queries.len()).filter(|&index| counted.contains(&run.queries[index])).collect()
}

/// Mean over categories of each draw and head, then mean and deviation over those.
fn summarise(
    method: &Method,
    shots: usize,
    categories: &[CategoryResult],
    headline: usize,
) -> Option<Summary> {
    let mut by_run: BTreeMap<(usize, usize), Vec<&ImageMeasurement>> = BTreeMap::new();
    for image in categories.iter().flat_map(|category| &category.images) {
        if image.method == method.name() && image.shots == shots {
            by_run.entry((image.head, image.draw)).or_default().push(image);
        }
    }
    let stat = |value: fn(&ImageMeasurement) -> f64| {
        let of_run =
            |run: &Vec<&ImageMeasurement>| mean(&run.iter().map(|image| value(image)).collect::<Vec<_>>());
        Stat::of(&by_run.values().map(of_run).collect::<Vec<f64>>())
    };
    Some(Summary {
        method: method.name().to_owned(),
        shots,
        auroc: stat(|image| image.auroc)?,
        average_precision: stat(|image| image.average_precision)?,
        f1_max: stat(|image| image.f1_max)?,
        map: if shots == headline { summarise_map(method, categories) } else { None },
    })
}

/// Of the map that the method has, over the categories that have masks.
fn summarise_map(method: &Method, categories: &[CategoryResult]) -> Option<MapSummary> {
    let wanted = match method {
        Method::Head { .. } | Method::Baseline { baseline: Baseline::MaxResidual, .. } => MapOf::Backbone,
        Method::Baseline { baseline: Baseline::RandomBackbone, .. } => MapOf::RandomBackbone,
        Method::Baseline { baseline: Baseline::RawPixels, .. } => return None,
    };
    let mut by_draw: BTreeMap<usize, Vec<&MapMeasurement>> = BTreeMap::new();
    for map in categories.iter().flat_map(|category| &category.maps) {
        if map.map == wanted {
            by_draw.entry(map.draw).or_default().push(map);
        }
    }
    let stat = |value: fn(&MapMeasurement) -> f64| {
        let of_draw =
            |maps: &Vec<&MapMeasurement>| mean(&maps.iter().map(|map| value(map)).collect::<Vec<_>>());
        Stat::of(&by_draw.values().map(of_draw).collect::<Vec<f64>>())
    };
    Some(MapSummary { pixel_auroc: stat(|map| map.pixel_auroc)?, aupro: stat(|map| map.aupro)? })
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use inctrl_storage::Digest;

    use super::*;
    use crate::data::{Dataset, Label, Sample, Split};
    use crate::eval::benchmark::{Query, Task};

    const RESIDUAL: Baseline = Baseline::MaxResidual;

    /// One task of two normal and two anomalous queries, in this order.
    fn benchmark() -> Benchmark {
        let sample = |number: usize| Sample {
            category: "bolt".to_owned(),
            split: Split::Test,
            label: if number < 2 { Label::Normal } else { Label::Anomalous },
            defect: None,
            path: format!("{number}.png").into(),
            mask: None,
        };
        let samples: Vec<Sample> = (0..4).map(sample).collect();
        let queries = (0..4).map(|image| Query { image, anomalous: 2 <= image }).collect();
        let row = Row { name: "all".to_owned(), cell: None, members: vec![(0, vec![0, 1, 2, 3])] };
        Benchmark {
            dataset: Dataset { name: "parts".to_owned(), root: "parts".into(), samples },
            contents: vec![Digest::of("picture"); 4],
            tasks: vec![Task { name: "bolt".to_owned(), pool: vec![vec![0]], queries }],
            rows: vec![row],
            leaked: 0,
        }
    }

    fn run(draw: usize, scores: [f32; 4], maps: [[f32; 4]; 4]) -> Run {
        let maps = maps.map(|map| map.to_vec()).to_vec();
        Run {
            shots: 4,
            draw,
            queries: vec![0, 1, 2, 3],
            scores: vec![scores.to_vec()],
            maps,
            random_maps: Vec::new(),
        }
    }

    /// A truth of 2 x 2 pixels.
    fn truth(anomalous: [bool; 4]) -> SquareMask {
        SquareMask { side: 2, anomalous: anomalous.to_vec(), columns: 0..2, rows: 0..2 }
    }

    fn measured(runs: Vec<Run>, masks: Option<Vec<SquareMask>>) -> RowResult {
        let benchmark = benchmark();
        let method = Method::Baseline { name: RESIDUAL.name().to_owned(), baseline: RESIDUAL };
        let scorers = vec![Scorer::Baseline(RESIDUAL)];
        let measuring = Measuring {
            benchmark: &benchmark,
            runs: &[runs],
            masks: &[masks],
            columns: &[(method, scorers.clone())],
            scorers: &scorers,
            grid: (2, 2),
            headline: 4,
        };
        measuring.row(&benchmark.rows[0]).unwrap()
    }

    #[test]
    fn mean_and_deviation_are_over_draws() {
        let flat = [[0.1; 4]; 4];
        // The first draw orders all four pairs rightly, the second three, the third one, with a tie.
        let runs = vec![
            run(0, [0.1, 0.2, 0.3, 0.4], flat),
            run(1, [0.1, 0.35, 0.3, 0.4], flat),
            run(2, [0.4, 0.3, 0.1, 0.4], flat),
        ];
        let row = measured(runs, None);
        let found = row.of("max residual", 4).unwrap();
        // 1, 3/4 and (1/2 + 1) / 4.
        assert_abs_diff_eq!(found.auroc.mean, (1.0 + 0.75 + 0.375) / 3.0, epsilon = 1e-12);
        let deviation =
            ((0.291_667_f64.powi(2) + 0.041_667_f64.powi(2) + 0.333_333_f64.powi(2)) / 2.0).sqrt();
        assert_abs_diff_eq!(found.auroc.deviation.unwrap(), deviation, epsilon = 1e-5);
        assert_abs_diff_eq!(
            found.average_precision.mean,
            (1.0 + (0.5 + 1.0 / 3.0) + 0.5) / 3.0,
            epsilon = 1e-12
        );
        assert!(found.map.is_none(), "without masks there is nothing to compare maps with");
    }

    #[test]
    fn maps_are_compared_with_masks_over_all_images_of_a_category() {
        // One anomalous pixel an anomalous image; three of 14 background pixels are above the second one.
        let maps = [[0.1, 0.1, 0.1, 0.7], [0.1, 0.1, 0.1, 0.7], [0.9, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.6]];
        let masks = vec![
            truth([false; 4]),
            truth([false; 4]),
            truth([true, false, false, false]),
            truth([false, false, false, true]),
        ];
        let row = measured(vec![run(0, [0.7, 0.7, 0.9, 0.7], maps)], Some(masks));
        let map = row.of("max residual", 4).unwrap().map.unwrap();
        // 14 pairs of the first anomalous pixel, 11 of the second, of 28.
        assert_abs_diff_eq!(map.pixel_auroc.mean, 25.0 / 28.0, epsilon = 1e-12);
        // Overlap 1/2 up to a false-positive rate of 3/14, then 1.
        let area = 0.5 * 3.0 / 14.0 + (0.3 - 3.0 / 14.0);
        assert_abs_diff_eq!(map.aupro.mean, area / 0.3, epsilon = 1e-12);
        assert_eq!(map.aupro.deviation, None);
    }
}
