//! In-context residuals (paper section 3; no parameters): how far a query is from its prompt set.
//!
//! Between the backbone and the heads. Every function works on float32 rows; nothing here depends on which queries
//! share a batch.

use tch::{Device, Tensor};

use crate::{Features, PromptFeatures};

/// Most similarities held at a time on a CPU: 16 MiB of float32, small enough to stay near the caches.
const MAX_SIMILARITIES_CPU: i64 = 1 << 22;

/// Most similarities held at a time on an accelerator: 256 MiB of float32, a batch of 64 with K = 4 in one product.
const MAX_SIMILARITIES_ACCELERATOR: i64 = 1 << 26;

/// Temperature of the text softmax; a constant of the authors' code, not CLIP's learned scale.
const TEXT_TEMPERATURE: f64 = 100.0;

/// Residuals of B queries against one prompt set; float32.
#[derive(Debug)]
pub struct Residuals {
    /// Patch residual map `[B, N]`, mean over the taps of the smallest half cosine distance; in 0..=1.
    pub map: Tensor,
    /// Class features of the queries `[B, D]`.
    pub class: Tensor,
    /// 1 - largest cosine of the class feature to those of the prompt set, `[B]`.
    pub class_distance: Tensor,
    /// Text score `[B]` in 0..=1, where the prompt set has text features.
    pub text_score: Option<Tensor>,
}

impl Residuals {
    /// Matches every patch of every query with the nearest of the bank: one GEMM a tap (cut into row blocks where the
    /// bank is large).
    ///
    /// Queries and prompt set must come from the same backbone, on the same device.
    pub fn new(queries: &Features, prompts: &PromptFeatures) -> Self {
        let taps = queries.taps.iter().zip(&prompts.bank);
        let maps: Vec<Tensor> = taps.map(|(tap, bank)| patch_residual(tap, bank)).collect();
        Self {
            map: mean_over_taps(&maps),
            class: queries.class.shallow_clone(),
            class_distance: class_distance(&queries.class, &prompts.class),
            text_score: prompts.text.as_ref().map(|text| text_score(&queries.class, text)),
        }
    }

    /// Of the same queries against several prompt sets, rising in size, of which each is the beginning of the last: one
    /// pass over the last one's bank serves all. Equal to [`Self::new`] of each set, up to rounding.
    ///
    /// # Panics
    ///
    /// When `sets` is empty.
    pub fn nested(queries: &Features, sets: &[&PromptFeatures]) -> Vec<Self> {
        let largest = sets.last().expect("at least one prompt set must be given");
        let taps = queries.taps.iter().zip(&largest.bank);
        let by_tap: Vec<Vec<Tensor>> = taps
            .map(|(tap, bank)| {
                let (batch, patches, _) = dimensions(tap);
                let (running, _) = nearest_by_image(tap, bank).cummax(1);
                let of_first = |shots: usize| running.select(1, shots as i64 - 1);
                sets.iter()
                    .map(|set| half_distance(&of_first(set.shots())).reshape([batch, patches]))
                    .collect()
            })
            .collect();
        let residuals = sets.iter().enumerate().map(|(position, set)| {
            let maps: Vec<Tensor> = by_tap.iter().map(|of_sets| of_sets[position].shallow_clone()).collect();
            Self {
                map: mean_over_taps(&maps),
                class: queries.class.shallow_clone(),
                class_distance: class_distance(&queries.class, &set.class),
                text_score: set.text.as_ref().map(|text| text_score(&queries.class, text)),
            }
        });
        residuals.collect()
    }

    /// The queries `indices`, in that order.
    #[must_use]
    pub fn select(&self, indices: &[i64]) -> Self {
        let Self { map, class, class_distance, text_score } = self;
        let rows = Tensor::from_slice(indices).to_device(map.device());
        let pick = |tensor: &Tensor| tensor.index_select(0, &rows);
        Self {
            map: pick(map),
            class: pick(class),
            class_distance: pick(class_distance),
            text_score: text_score.as_ref().map(pick),
        }
    }

    /// B.
    pub fn queries(&self) -> usize {
        self.map.size()[0] as usize
    }
}

/// Rows brought to unit length over the last dimension. A zero row stays zero, so that its cosine to anything is 0.
pub fn normalised(rows: &Tensor) -> Tensor {
    let length = rows.norm_scalaropt_dim(2.0, [-1].as_slice(), true);
    rows / length.clamp_min(f64::from(f32::MIN_POSITIVE))
}

/// Half cosine distance of the largest cosine, kept in 0..=1 against rounding.
pub fn half_distance(largest_cosine: &Tensor) -> Tensor {
    ((1.0_f64 - largest_cosine) * 0.5).clamp(0.0, 1.0)
}

/// Mean of per-tap maps of one shape.
pub(crate) fn mean_over_taps(maps: &[Tensor]) -> Tensor {
    Tensor::stack(maps, 0).mean_dim([0].as_slice(), false, tch::Kind::Float)
}

/// `[B, N, C]` against a normalised bank `[P, C]`: half distance of each patch to the nearest, `[B, N]`.
fn patch_residual(tap: &Tensor, bank: &Tensor) -> Tensor {
    let (batch, patches, _) = dimensions(tap);
    let largest = over_cosines(tap, bank, |cosines| cosines.amax([1].as_slice(), false));
    half_distance(&largest).reshape([batch, patches])
}

/// `[B, N, C]` against a normalised bank of K images `[K * N, C]`: the largest cosine of each patch to those of each
/// image, `[B * N, K]`.
fn nearest_by_image(tap: &Tensor, bank: &Tensor) -> Tensor {
    let (_, patches, _) = dimensions(tap);
    over_cosines(tap, bank, |cosines| {
        cosines.reshape([cosines.size()[0], -1, patches]).amax([2].as_slice(), false)
    })
}

/// What `reduce` makes of the cosines `[rows, P]` of all patches of `[B, N, C]` to a normalised bank `[P, C]`, block by
/// block of rows.
fn over_cosines(tap: &Tensor, bank: &Tensor, reduce: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let (batch, patches, channels) = dimensions(tap);
    let rows = normalised(&tap.reshape([batch * patches, channels]));
    let transposed = bank.tr();
    let block = block_rows(bank);
    let blocks: Vec<Tensor> = (0..batch * patches)
        .step_by(block as usize)
        .map(|start| {
            let length = block.min(batch * patches - start);
            reduce(&rows.narrow(0, start, length).matmul(&transposed))
        })
        .collect();
    Tensor::cat(&blocks, 0)
}

/// How many rows of queries meet a bank in one product.
fn block_rows(bank: &Tensor) -> i64 {
    let most = if bank.device() == Device::Cpu { MAX_SIMILARITIES_CPU } else { MAX_SIMILARITIES_ACCELERATOR };
    (most / bank.size()[0].max(1)).max(1)
}

fn dimensions(tap: &Tensor) -> (i64, i64, i64) {
    tap.size3().expect("taps are [B, N, C] by the contract of Features")
}

/// 1 - largest cosine of each row of `queries` `[.., B, D]` to the rows of `prompts` `[.., K, D]`: `[.., B]` in 0..=2.
pub fn class_distance(queries: &Tensor, prompts: &Tensor) -> Tensor {
    let cosines = normalised(queries).matmul(&normalised(prompts).transpose(-2, -1));
    (1.0_f64 - cosines.amax([-1].as_slice(), false)).clamp_min(0.0)
}

/// Probability `[B]` that the anomalous text prompts describe the query better than the normal ones: softmax over
/// cosines times 100, `text` being `[2, D]` of unit length (normal, anomalous).
pub fn text_score(class: &Tensor, text: &Tensor) -> Tensor {
    let cosines = normalised(class).matmul(&text.tr());
    ((cosines.select(1, 1) - cosines.select(1, 0)) * TEXT_TEMPERATURE).sigmoid()
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn drawn(images: i64) -> Features {
        let tensor = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        Features { taps: vec![tensor(&[images, 9, 4]), tensor(&[images, 9, 7])], class: tensor(&[images, 5]) }
    }

    #[test]
    fn nested_prompt_sets_give_what_each_gives_alone() {
        tch::manual_seed(11);
        let (queries, images) = (drawn(3), drawn(4));
        let set =
            |shots: i64| PromptFeatures::new(&images.select(&(0..shots).collect::<Vec<_>>()), None, None);
        let sets = [set(1), set(2), set(4)];
        let nested = Residuals::nested(&queries, &sets.each_ref());
        for (nested, set) in nested.iter().zip(&sets) {
            let alone = Residuals::new(&queries, set);
            for (one, other) in [(&nested.map, &alone.map), (&nested.class_distance, &alone.class_distance)] {
                let difference = f64::try_from((one - other).abs().max()).expect("a scalar is a number");
                assert!(difference < 1e-6, "residuals differ by {difference}");
            }
        }
    }
}
