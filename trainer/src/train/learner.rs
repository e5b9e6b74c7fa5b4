//! The head while it is trained: named tensors, their first values, and the loss of a batch.

use std::collections::BTreeMap;

use inctrl_model::head::paper::is_running_statistic;
use inctrl_model::head::{ContextualHead, PaperHead};
use inctrl_model::{HeadKind, HeadMetadata};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::batch::{Batch, Inputs};
use crate::loss::{PaperLoss, Sigmoids, focal};

/// Stream of the generator that first values are drawn from; epochs count up from 0.
const INITIAL_STREAM: u64 = u64::MAX - 1;

/// Smallest deviation that ratios are divided by: a statistic that hardly varies must not be blown up.
const SMALLEST_DEVIATION: f64 = 1e-2;

/// A head being trained.
#[derive(Debug)]
pub struct Learner {
    head: TrainedHead,
    sigmoids: Sigmoids,
    tensors: BTreeMap<String, Tensor>,
}

/// Views of the learner's tensors.
#[derive(Debug)]
enum TrainedHead {
    Paper(Box<PaperHead>),
    Contextual(ContextualHead),
}

/// What a head says of a batch.
#[derive(Debug)]
pub struct Outcome {
    /// What is minimised, a scalar.
    pub loss: Tensor,
    /// Final scores `[B]`.
    pub scores: Tensor,
}

impl Learner {
    /// Before the first step.
    pub fn new(metadata: &HeadMetadata, sigmoids: Sigmoids, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(INITIAL_STREAM);
        let layout: BTreeMap<String, Vec<i64>> = metadata.layout().into_iter().collect();
        let tensors = layout.iter().map(|(name, shape)| {
            let value = match metadata.kind {
                HeadKind::Paper => paper_value(name, shape, &layout, &mut rng),
                HeadKind::Contextual => contextual_value(name, shape),
            };
            (name.clone(), value)
        });
        Self::of(metadata.kind, sigmoids, tensors.collect())
    }

    /// As it was: `tensors` are those of [`Self::tensors`].
    pub fn of(kind: HeadKind, sigmoids: Sigmoids, mut tensors: BTreeMap<String, Tensor>) -> Self {
        for (name, tensor) in &mut tensors {
            *tensor = tensor.detach().set_requires_grad(is_trained(name));
        }
        let head = match kind {
            HeadKind::Paper => TrainedHead::Paper(Box::new(PaperHead::from_tensors(&tensors))),
            HeadKind::Contextual => TrainedHead::Contextual(ContextualHead::from_tensors(&tensors)),
        };
        Self { head, sigmoids, tensors }
    }

    /// The head's tensors; an optimiser changes them in place.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The same for an optimiser.
    pub fn tensors_mut(&mut self) -> &mut BTreeMap<String, Tensor> {
        &mut self.tensors
    }

    /// A copy that later steps do not change.
    pub fn snapshot(&self) -> BTreeMap<String, Tensor> {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect()
    }

    /// Takes mean and deviation of log-ratios `[M, 8]` as what contextual heads standardise with; others need none.
    pub fn standardise(&mut self, ratios: &Tensor) {
        tch::no_grad(|| {
            let mean = ratios.mean_dim([0].as_slice(), false, Kind::Float);
            let deviation = ratios.std_dim([0].as_slice(), false, false).clamp_min(SMALLEST_DEVIATION);
            for (name, value) in [("standard.mean", mean), ("standard.deviation", deviation)] {
                if let Some(tensor) = self.tensors.get_mut(name) {
                    tensor.copy_(&value);
                }
            }
        });
    }

    /// Sets negative weights of a contextual head to zero; called after every step, others stay as they are. A larger
    /// residual never makes an image less anomalous: without this, the fit plays correlated statistics off against
    /// each other in ways that hold for the auxiliary images alone.
    pub fn constrain(&mut self) {
        if let TrainedHead::Contextual(_) = self.head
            && let Some(weight) = self.tensors.get_mut("linear.weight")
        {
            tch::no_grad(|| {
                let _ = weight.clamp_min_(0.0);
            });
        }
    }

    /// Loss and scores of a batch. With `train`, batch norm takes the batch's statistics and updates the running ones.
    ///
    /// # Panics
    ///
    /// When the batch was made for the other kind of head.
    pub fn outcome(&self, batch: &Batch, train: bool) -> Outcome {
        match (&self.head, &batch.inputs) {
            (TrainedHead::Paper(head), Inputs::Paper(inputs)) => {
                let logits = head.logits(inputs, train);
                let loss = PaperLoss::new(&logits, &inputs.map, &batch.labels, self.sigmoids).total();
                Outcome { loss, scores: logits.final_score(&inputs.map) }
            }
            (TrainedHead::Contextual(head), Inputs::Contextual(ratios)) => {
                let logits = head.logits(ratios);
                Outcome { loss: focal(&logits, &batch.labels), scores: logits.sigmoid() }
            }
            (TrainedHead::Paper(_), Inputs::Contextual(_))
            | (TrainedHead::Contextual(_), Inputs::Paper(_)) => {
                panic!("a batch must be made for the kind of head that it is given to")
            }
        }
    }
}

/// Whether gradients change a tensor.
fn is_trained(name: &str) -> bool {
    !is_running_statistic(name) && !name.starts_with("standard.")
}

/// torch's defaults: linear layers uniform in +-1/sqrt(inputs), batch norm the identity.
fn paper_value(
    name: &str,
    shape: &[i64],
    layout: &BTreeMap<String, Vec<i64>>,
    rng: &mut ChaCha8Rng,
) -> Tensor {
    let is_norm = name.contains(".bn");
    if is_norm {
        let one = name.ends_with(".weight") || name.ends_with(".running_var");
        return Tensor::full(shape, i64::from(one), (Kind::Float, Device::Cpu));
    }
    let weight =
        name.strip_suffix(".bias").map_or_else(|| name.to_owned(), |layer| format!("{layer}.weight"));
    let inputs = layout.get(&weight).and_then(|shape| shape.last()).copied().unwrap_or(1);
    let bound = 1.0 / (inputs as f32).sqrt();
    let count: i64 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-bound..bound)).collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// All statistics weigh the same; until ratios were seen they stand as they are.
fn contextual_value(name: &str, shape: &[i64]) -> Tensor {
    let value = match name {
        "linear.weight" => 1.0 / shape.iter().product::<i64>() as f64,
        "standard.deviation" => 1.0,
        _ => 0.0,
    };
    Tensor::full(shape, value, (Kind::Float, Device::Cpu))
}

#[cfg(test)]
mod tests {
    use inctrl_model::head::contextual::{STATISTICS, layout};

    use super::*;
    use crate::optimiser::AdamW;

    #[test]
    fn no_statistic_ever_counts_against_an_anomaly() {
        let size = STATISTICS.len() as i64;
        let first = layout().into_iter().map(|(name, shape)| {
            let value = contextual_value(&name, &shape);
            (name, value)
        });
        let mut learner = Learner::of(HeadKind::Contextual, Sigmoids::Single, first.collect());
        // The first statistic is larger for normal images, the last for anomalies; the others say nothing.
        let ratios = Tensor::zeros([2, size], (Kind::Float, Device::Cpu));
        let _ = ratios.get(0).get(0).fill_(1.0);
        let _ = ratios.get(1).get(size - 1).fill_(1.0);
        let batch = Batch { inputs: Inputs::Contextual(ratios), labels: Tensor::from_slice(&[0.0_f32, 1.0]) };
        let mut optimiser = AdamW::new(0.1, 0.0);
        for _ in 0..20 {
            learner.outcome(&batch, true).loss.backward();
            optimiser.step(learner.tensors_mut());
            learner.constrain();
        }
        let weights = Vec::<f32>::try_from(learner.tensors()["linear.weight"].detach()).unwrap();
        assert!(weights[0].abs() < f32::EPSILON, "{weights:?}");
        assert!(weights[STATISTICS.len() - 1] > 1.0, "{weights:?}");
    }
}
