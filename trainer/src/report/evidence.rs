//! What charts and pictures are drawn from: curves averaged over categories and draws, and telling images.

use std::collections::BTreeSet;

use crate::eval::{Outcome, Row, Run, Scored, Scorer};
use crate::metrics::{OperatingPoint, f1_max, operating_points};

/// Points of an averaged curve.
const POINTS: usize = 60;

/// Examples of each kind.
const EXAMPLES: usize = 4;

/// Scores of a row's queries by one scorer, category by category and draw by draw.
pub(super) struct RowScores {
    /// One group a category and draw.
    pub(super) groups: Vec<Group>,
}

/// Scores of one category in one draw.
pub(super) struct Group {
    /// Task and run.
    task: usize,
    run: usize,
    /// Which of the run's queries.
    kept: Vec<usize>,
    scores: Vec<f32>,
    anomalous: Vec<bool>,
}

/// An image worth looking at.
pub(super) struct Example {
    /// Task, run, and which of the run's queries.
    pub(super) task: usize,
    pub(super) run: usize,
    pub(super) position: usize,
    /// The score, and the threshold of best F1 in its category.
    pub(super) score: f32,
    pub(super) threshold: f32,
}

/// The images of a row that tell most.
pub(super) struct Examples {
    /// Anomalous images furthest below the threshold.
    pub(super) missed: Vec<Example>,
    /// Normal images furthest above it.
    pub(super) false_alarms: Vec<Example>,
    /// Anomalous images in the middle of those that were found.
    pub(super) typical: Vec<Example>,
}

impl RowScores {
    /// Of `row` at the headline shots by `scorers`.
    pub(super) fn new(outcome: &Outcome, scored: &Scored, row: &Row, scorers: &[Scorer]) -> Self {
        let headline = outcome.evaluation.headline_shots;
        let positions: Vec<usize> = scorers
            .iter()
            .filter_map(|scorer| outcome.scorers.iter().position(|other| other == scorer))
            .collect();
        let mut groups = Vec::new();
        for (task, queries) in &row.members {
            let counted: BTreeSet<usize> = queries.iter().copied().collect();
            let runs = scored.runs[*task].iter().enumerate();
            for (number, run) in runs.filter(|(_, run)| run.shots == headline) {
                let kept: Vec<usize> =
                    (0..run.queries.len()).filter(|&index| counted.contains(&run.queries[index])).collect();
                let of_query =
                    |&index: &usize| scored.benchmark.tasks[*task].queries[run.queries[index]].anomalous;
                let anomalous: Vec<bool> = kept.iter().map(of_query).collect();
                for &position in &positions {
                    let scores = kept.iter().map(|&index| run.scores[position][index]).collect();
                    let (kept, anomalous) = (kept.clone(), anomalous.clone());
                    groups.push(Group { task: *task, run: number, kept, scores, anomalous });
                }
            }
        }
        Self { groups }
    }

    /// Recall at even false-positive rates, averaged over categories, draws and heads: its area is the mean AUROC.
    pub(super) fn roc(&self) -> Vec<(f64, f64)> {
        let curves: Vec<Vec<OperatingPoint>> = self
            .groups
            .iter()
            .filter_map(|group| operating_points(&group.scores, &group.anomalous).ok())
            .collect();
        (0..=POINTS)
            .map(|step| {
                let rate = step as f64 / POINTS as f64;
                let recalls: f64 = curves.iter().map(|curve| recall_at(curve, rate)).sum();
                (rate, recalls / curves.len().max(1) as f64)
            })
            .collect()
    }

    /// All scores of one label.
    pub(super) fn of_label(&self, anomalous: bool) -> Vec<f32> {
        let of_group = |group: &Group| {
            let pairs = group.scores.iter().zip(&group.anomalous).filter(|(_, label)| **label == anomalous);
            pairs.map(|(score, _)| *score).collect::<Vec<f32>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// The images of the first draw that tell most.
    pub(super) fn examples(&self, runs: &[Vec<Run>]) -> Examples {
        let (mut found, mut missed, mut false_alarms) = (Vec::new(), Vec::new(), Vec::new());
        for group in self.groups.iter().filter(|group| runs[group.task][group.run].draw == 0) {
            let Ok(best) = f1_max(&group.scores, &group.anomalous) else { continue };
            for (index, (&score, &anomalous)) in group.scores.iter().zip(&group.anomalous).enumerate() {
                let flagged = best.threshold <= score;
                let (task, run, position) = (group.task, group.run, group.kept[index]);
                let example = Example { task, run, position, score, threshold: best.threshold };
                match (anomalous, flagged) {
                    (true, true) => found.push(example),
                    (true, false) => missed.push(example),
                    (false, true) => false_alarms.push(example),
                    (false, false) => {}
                }
            }
        }
        let margin = |example: &Example| example.score - example.threshold;
        missed.sort_by(|one, other| margin(one).total_cmp(&margin(other)));
        false_alarms.sort_by(|one, other| margin(other).total_cmp(&margin(one)));
        found.sort_by(|one, other| margin(one).total_cmp(&margin(other)));
        let skipped = found.len().saturating_sub(EXAMPLES) / 2;
        let typical = found.into_iter().skip(skipped).take(EXAMPLES).collect();
        missed.truncate(EXAMPLES);
        false_alarms.truncate(EXAMPLES);
        Examples { missed, false_alarms, typical }
    }
}

/// Recall of a ROC curve at a false-positive rate, between its points by a straight line.
fn recall_at(curve: &[OperatingPoint], rate: f64) -> f64 {
    let mut before = (0.0, 0.0);
    for point in curve {
        let next = (point.false_positive_rate, point.recall);
        if rate < next.0 {
            return before.1 + (next.1 - before.1) * (rate - before.0) / (next.0 - before.0);
        }
        before = next;
    }
    before.1
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn a_curve_is_straight_between_its_points() {
        let curve = operating_points(&[0.9, 0.5, 0.5, 0.1], &[true, true, false, false]).unwrap();
        assert_abs_diff_eq!(recall_at(&curve, 0.0), 0.5);
        assert_abs_diff_eq!(recall_at(&curve, 0.25), 0.75);
        assert_abs_diff_eq!(recall_at(&curve, 1.0), 1.0);
    }
}
