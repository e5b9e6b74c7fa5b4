//! The contextual head: how much larger than the prompt set's own spread a query's residuals are.
//!
//! Statistics of the query's map and class feature enter as log-ratios to the mean of the same statistics over the
//! prompt set's leave-one-out maps; a linear layer on the standardised ratios gives the logit. Needs no particular
//! grid; what transfers between domains is the ratio, not its direction in feature space.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::{BatchScores, HeadError};
use crate::{PromptFeatures, Residuals};

/// The statistics, in the order of the head's tensors.
pub const STATISTICS: [&str; 8] = [
    "largest",
    "mean of the top 1 %",
    "mean of the top 3 %",
    "mean of the top 10 %",
    "mean",
    "median",
    "10th percentile",
    "class-feature distance",
];

/// Shares of the map whose largest values are averaged.
const TOP_SHARES: [f64; 3] = [0.01, 0.03, 0.10];

/// The low quantile.
const LOW_QUANTILE: f64 = 0.10;

/// Added to both sides of a ratio: a tenth of the smallest residuals between distinct images, so that copies of a
/// prompt image (residual 0 up to rounding) neither divide by zero nor outweigh everything else.
const RATIO_EPSILON: f64 = 1e-3;

/// The tensor that standardised ratios are divided by.
pub(super) const DEVIATION: &str = "standard.deviation";

/// Names and shapes of the tensors of a contextual head; the same for every backbone.
pub fn layout() -> Vec<(String, Vec<i64>)> {
    let size = STATISTICS.len() as i64;
    [("linear.weight", size), ("linear.bias", 1), ("standard.mean", size), (DEVIATION, size)]
        .map(|(name, size)| (name.to_owned(), vec![size]))
        .to_vec()
}

/// Statistics `[B, 8]` of maps `[B, N]` and class-feature distances `[B]`, in the order of [`STATISTICS`].
pub fn statistics(map: &Tensor, class_distance: &Tensor) -> Tensor {
    let (sorted, _) = map.sort(1, true);
    let patches = map.size()[1];
    let mean_of_first = |count: i64| sorted.narrow(1, 0, count).mean_dim([1].as_slice(), true, Kind::Float);
    let at = |quantile: f64| interpolated(&sorted, (1.0 - quantile) * (patches - 1) as f64);
    let mut columns = vec![sorted.narrow(1, 0, 1)];
    columns.extend(TOP_SHARES.map(|share| mean_of_first(((share * patches as f64).round() as i64).max(1))));
    columns.extend([mean_of_first(patches), at(0.5), at(LOW_QUANTILE), class_distance.unsqueeze(1)]);
    Tensor::cat(&columns, 1)
}

/// Column at a fractional `position` of sorted rows, `[B, 1]`.
fn interpolated(sorted: &Tensor, position: f64) -> Tensor {
    let (below, above) = (position.floor() as i64, position.ceil() as i64);
    let share = position - position.floor();
    sorted.narrow(1, below, 1) * (1.0 - share) + sorted.narrow(1, above, 1) * share
}

/// Log-ratios `[B, 8]` of the statistics of queries to the mean over a context `[K', 8]`, or over one context a query
/// `[B, K', 8]`.
pub fn relative(queries: &Tensor, context: &Tensor) -> Tensor {
    let usual = context.mean_dim([-2].as_slice(), false, Kind::Float);
    (queries + RATIO_EPSILON).log() - (usual + RATIO_EPSILON).log()
}

/// A linear layer over standardised log-ratios.
#[derive(Debug)]
pub struct ContextualHead {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    deviation: Tensor,
}

impl ContextualHead {
    /// Over tensors named and shaped as [`layout`] says; they are shared, not copied.
    ///
    /// # Panics
    ///
    /// When a name is missing; tensors of a file are checked before.
    pub fn from_tensors(tensors: &BTreeMap<String, Tensor>) -> Self {
        let [weight, bias, mean, deviation] = ["linear.weight", "linear.bias", "standard.mean", DEVIATION]
            .map(|name| tensors.get(name).unwrap_or_else(|| panic!("tensor {name} must be given")))
            .map(Tensor::shallow_clone);
        Self { weight, bias, mean, deviation }
    }

    /// Logits `[B]` of log-ratios `[B, 8]`.
    pub fn logits(&self, ratios: &Tensor) -> Tensor {
        let standard = (ratios - &self.mean) / &self.deviation;
        standard.matmul(&self.weight) + &self.bias
    }

    pub(super) fn score(
        &self,
        residuals: &Residuals,
        prompts: &PromptFeatures,
    ) -> Result<BatchScores, HeadError> {
        if prompts.context_maps.size()[0] == 0 {
            return Err(HeadError::NoContext);
        }
        let context = statistics(&prompts.context_maps, &prompts.context_class_distance);
        let queries = statistics(&residuals.map, &residuals.class_distance);
        let score = self.logits(&relative(&queries, &context)).sigmoid();
        Ok(BatchScores { score, image_score: None, holistic_score: None })
    }
}
