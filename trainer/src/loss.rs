//! The focal loss of the paper, as published and corrected.
//!
//! FL = mean[(1 - exp(-B))^2 B] with B the binary cross entropy. The authors' code hands probabilities to a function
//! that takes logits, so that a second sigmoid squeezes everything into 0.5..0.73; corrected, logits are handed over.

use inctrl_model::head::paper::PaperLogits;
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

/// What the loss is fed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sigmoids {
    /// Logits: one sigmoid.
    Single,
    /// Probabilities as if they were logits: the authors' published loss.
    Double,
}

/// Both terms of the paper head's loss; the sum is what is minimised.
#[derive(Debug)]
pub struct PaperLoss {
    /// On the final score (published) or the holistic logit (corrected).
    pub holistic: Tensor,
    /// On the image-level score.
    pub image: Tensor,
}

impl PaperLoss {
    /// Of a batch: logits and labels `[B]`, maps `[B, N]`.
    pub fn new(logits: &PaperLogits, map: &Tensor, labels: &Tensor, sigmoids: Sigmoids) -> Self {
        match sigmoids {
            Sigmoids::Single => {
                Self { holistic: focal(&logits.holistic, labels), image: focal(&logits.image, labels) }
            }
            Sigmoids::Double => Self {
                holistic: focal(&logits.final_score(map), labels),
                image: focal(&logits.image.sigmoid(), labels),
            },
        }
    }

    /// The sum of both terms.
    pub fn total(&self) -> Tensor {
        &self.holistic + &self.image
    }
}

/// Focal loss with gamma 2 and alpha 1 over `logits` and `labels` (0 normal, 1 anomalous), both `[B]`; a scalar.
pub fn focal(logits: &Tensor, labels: &Tensor) -> Tensor {
    let entropy =
        logits.binary_cross_entropy_with_logits(labels, None::<&Tensor>, None::<&Tensor>, Reduction::None);
    let surprise = 1.0_f64 - (-&entropy).exp();
    (&surprise * &surprise * entropy).mean(tch::Kind::Float)
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    fn focal_of(logit: f32, label: f32) -> f64 {
        f64::try_from(focal(&Tensor::from_slice(&[logit]), &Tensor::from_slice(&[label]))).unwrap()
    }

    #[test]
    fn with_the_second_sigmoid_the_published_values_are_reached() {
        for (probability, label, expected) in
            [(0.0, 1.0, 0.1733), (1.0, 1.0, 0.0227), (0.0, 0.0, 0.1733), (1.0, 0.0, 0.7019)]
        {
            assert_abs_diff_eq!(focal_of(probability, label), expected, epsilon = 5e-5);
        }
    }

    #[test]
    fn extreme_logits_have_finite_losses() {
        assert_abs_diff_eq!(focal_of(80.0, 1.0), 0.0, epsilon = 1e-12);
        assert_abs_diff_eq!(focal_of(80.0, 0.0), 80.0, epsilon = 1e-4);
        assert_abs_diff_eq!(focal_of(-80.0, 1.0), 80.0, epsilon = 1e-4);
    }
}
