//! How well scores tell anomalous from normal: exact by sorting, ties shared, no tensors.
//!
//! Last step of an evaluation. Scores are float32 as heads give them, larger is more anomalous; counts are integers and
//! sums float64. A number that the data does not define is an error, never 0.5: a gate that reads it must not pass.
//!
//! | here | scikit-learn |
//! |---|---|
//! | [`auroc`] | `roc_auc_score` |
//! | [`average_precision`] (step rule) | `average_precision_score` |
//! | [`f1_max`] | largest F1 over `precision_recall_curve` |

mod components;
mod pixels;

pub use pixels::{ScoredMask, aupro, pixel_auroc};

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Only one label is there.
    #[error("the metric needs anomalous and normal scores, got {anomalous} anomalous and {normal} normal")]
    OneLabel {
        /// Anomalous scores (or pixels).
        anomalous: u64,
        /// Normal scores (or pixels).
        normal: u64,
    },
    /// A score is NaN or infinite.
    #[error("score {position} is not a finite number")]
    NotFinite {
        /// Its position.
        position: usize,
    },
    /// Scores and labels are not in pairs.
    #[error("{scores} scores for {labels} labels")]
    Unpaired {
        /// Number of scores.
        scores: usize,
        /// Number of labels.
        labels: usize,
    },
}

/// Everything above a threshold: what a detector with it would flag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// Flagged iff the score is not below it.
    pub threshold: f32,
    /// Share of the normal ones that are flagged, in 0..=1.
    pub false_positive_rate: f64,
    /// Share of the anomalous ones that are flagged, in 0..=1.
    pub recall: f64,
    /// Share of the flagged ones that are anomalous, in 0..=1.
    pub precision: f64,
}

impl OperatingPoint {
    /// Harmonic mean of precision and recall; 0 where both are.
    pub fn f1(&self) -> f64 {
        let sum = self.precision + self.recall;
        if sum == 0.0 { 0.0 } else { 2.0 * self.precision * self.recall / sum }
    }
}

/// The best F1 that a threshold chosen on these very scores can reach: optimistic, to be quoted as such.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct F1Max {
    /// F1 in 0..=1.
    pub f1: f64,
    /// The lowest threshold that reaches it.
    pub threshold: f32,
}

/// Probability that an anomalous score exceeds a normal one, a tie counting half.
pub fn auroc(scores: &[f32], anomalous: &[bool]) -> Result<f64, MetricError> {
    let groups = Groups::new(scores, anomalous)?;
    Ok(groups.auroc())
}

/// Average precision: precision at each distinct score, weighted by the recall that it adds (no interpolation; the
/// trapezoid rule gives another, larger number).
pub fn average_precision(scores: &[f32], anomalous: &[bool]) -> Result<f64, MetricError> {
    let mut before = 0.0;
    let mut sum = 0.0;
    for point in operating_points(scores, anomalous)? {
        sum += (point.recall - before) * point.precision;
        before = point.recall;
    }
    Ok(sum)
}

/// Largest F1 over all thresholds, and the lowest threshold that reaches it.
pub fn f1_max(scores: &[f32], anomalous: &[bool]) -> Result<F1Max, MetricError> {
    let mut best = F1Max { f1: 0.0, threshold: f32::INFINITY };
    for point in operating_points(scores, anomalous)? {
        if point.f1() >= best.f1 {
            best = F1Max { f1: point.f1(), threshold: point.threshold };
        }
    }
    Ok(best)
}

/// One point a distinct score, thresholds falling: the ROC and the precision-recall curve.
pub fn operating_points(scores: &[f32], anomalous: &[bool]) -> Result<Vec<OperatingPoint>, MetricError> {
    let groups = Groups::new(scores, anomalous)?;
    let (positives, negatives) = (groups.anomalous as f64, groups.normal as f64);
    let (mut hits, mut alarms) = (0, 0);
    let point = |group: &Group| {
        hits += group.anomalous;
        alarms += group.normal;
        OperatingPoint {
            threshold: group.score,
            false_positive_rate: alarms as f64 / negatives,
            recall: hits as f64 / positives,
            precision: hits as f64 / (hits + alarms) as f64,
        }
    };
    Ok(groups.falling.iter().map(point).collect())
}

/// Largest recall of any threshold that flags at most the share `most` of the normal ones; 0 where none does.
pub fn recall_at_false_positive_rate(
    scores: &[f32],
    anomalous: &[bool],
    most: f64,
) -> Result<f64, MetricError> {
    let points = operating_points(scores, anomalous)?;
    let allowed = points.iter().filter(|point| point.false_positive_rate <= most);
    Ok(allowed.map(|point| point.recall).fold(0.0, f64::max))
}

/// Smallest share of the normal ones flagged by a threshold that finds at least the share `least` of the anomalous.
pub fn false_positive_rate_at_recall(
    scores: &[f32],
    anomalous: &[bool],
    least: f64,
) -> Result<f64, MetricError> {
    let points = operating_points(scores, anomalous)?;
    let enough = points.iter().filter(|point| point.recall >= least);
    Ok(enough.map(|point| point.false_positive_rate).fold(1.0, f64::min))
}

/// Scores of one value.
#[derive(Debug, Clone, Copy)]
struct Group {
    score: f32,
    anomalous: u64,
    normal: u64,
}

/// Scores by value.
struct Groups {
    /// One group a distinct score, largest first.
    falling: Vec<Group>,
    anomalous: u64,
    normal: u64,
}

impl Groups {
    fn new(scores: &[f32], anomalous: &[bool]) -> Result<Self, MetricError> {
        if scores.len() != anomalous.len() {
            return Err(MetricError::Unpaired { scores: scores.len(), labels: anomalous.len() });
        }
        check_finite(scores)?;
        let mut pairs: Vec<(f32, bool)> = scores.iter().copied().zip(anomalous.iter().copied()).collect();
        pairs.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let mut groups = Self { falling: Vec::new(), anomalous: 0, normal: 0 };
        for chunk in pairs.chunk_by(|one, other| tied(one.0, other.0)) {
            let anomalous = chunk.iter().filter(|pair| pair.1).count() as u64;
            let normal = chunk.len() as u64 - anomalous;
            groups.anomalous += anomalous;
            groups.normal += normal;
            groups.falling.push(Group { score: chunk[0].0, anomalous, normal });
        }
        let Self { anomalous, normal, .. } = groups;
        if anomalous == 0 || normal == 0 {
            return Err(MetricError::OneLabel { anomalous, normal });
        }
        Ok(groups)
    }

    fn auroc(&self) -> f64 {
        let mut normal_above = 0;
        let mut won_twice: u128 = 0;
        for group in &self.falling {
            let below = self.normal - normal_above - group.normal;
            won_twice += u128::from(group.anomalous) * u128::from(2 * below + group.normal);
            normal_above += group.normal;
        }
        won_twice as f64 / (2.0 * self.anomalous as f64 * self.normal as f64)
    }
}

/// Whether two scores are the same value (not the same bits: 0 and -0 are tied).
fn tied(one: f32, other: f32) -> bool {
    one.partial_cmp(&other) == Some(std::cmp::Ordering::Equal)
}

fn check_finite(scores: &[f32]) -> Result<(), MetricError> {
    match scores.iter().position(|score| !score.is_finite()) {
        Some(position) => Err(MetricError::NotFinite { position }),
        None => Ok(()),
    }
}
