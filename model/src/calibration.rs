//! From scores to decisions with a stated false-alarm rate: split conformal p-values over scores of normal images.
//!
//! Valid for normals that are exchangeable with those of the calibration, whatever the score means. Without enough
//! normals there is no decision: that is said by a type, not by a number.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF as _};

/// Probability that the reported interval of the realised false-alarm rate holds.
const INTERVAL_COVERAGE: f64 = 0.95;

/// Scores of normal images that took no part in making the prompt set: the null distribution of one prompt set and
/// one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f32>", into = "Vec<f32>")]
pub struct NullScores {
    /// Ascending, finite, at least one.
    sorted: Vec<f32>,
}

/// Whether scores can be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// No normal images were scored: scores rank, nothing more.
    Uncalibrated,
    /// Against these.
    Calibrated(NullScores),
}

/// A threshold with what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// A query whose score is larger than this is called anomalous.
    pub score: f32,
    /// Stated false-alarm rate: at most this share of normal images is called anomalous, on average over calibrations.
    pub false_alarm_rate: f64,
    /// Normal images of the calibration.
    pub images: usize,
    /// Ends of the 95 % interval of the rate that this very calibration realises: quantiles of Beta(n + 1 - j, j),
    /// j being the rank of the threshold among the scores.
    pub realised_rate: (f64, f64),
}

/// Verdict on a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Not above the threshold.
    Normal,
    /// Above the threshold.
    Anomalous,
}

/// Why scores cannot calibrate.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// No scores.
    #[error("calibration needs the scores of normal images, none were given")]
    NoScores,
    /// A score is NaN or infinite.
    #[error("calibration score {index} is not finite")]
    NonFinite {
        /// Position of the score.
        index: usize,
    },
    /// A rate outside 0..1.
    #[error("false-alarm rate {rate} must lie between 0 and 1, both excluded")]
    Rate {
        /// The rate asked for.
        rate: f64,
    },
    /// The rate is finer than the images can certify.
    #[error(
        "a false-alarm rate of {rate} needs at least {needed} normal images, the calibration has {images}"
    )]
    TooFewImages {
        /// The rate asked for.
        rate: f64,
        /// Images needed for it.
        needed: usize,
        /// Images at hand.
        images: usize,
    },
}

impl NullScores {
    /// From scores of normal images, in any order.
    pub fn new(mut scores: Vec<f32>) -> Result<Self, CalibrationError> {
        if scores.is_empty() {
            return Err(CalibrationError::NoScores);
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(CalibrationError::NonFinite { index });
        }
        scores.sort_by(f32::total_cmp);
        Ok(Self { sorted: scores })
    }

    /// n.
    pub fn images(&self) -> usize {
        self.sorted.len()
    }

    /// Probability that a normal image scores at least `score`: (1 + number of calibration scores of at least it) /
    /// (n + 1). Never below 1 / (n + 1): with K leave-one-out scores alone, no better than 1 / (K + 1) is certified.
    pub fn p_value(&self, score: f32) -> f64 {
        let below = self.sorted.partition_point(|&other| other < score);
        (1 + self.images() - below) as f64 / (self.images() + 1) as f64
    }

    /// The smallest threshold whose false-alarm rate is at most `rate`: the ceil((n + 1)(1 - rate))-th smallest score.
    pub fn threshold(&self, rate: f64) -> Result<Threshold, CalibrationError> {
        if !(rate > 0.0 && rate < 1.0) {
            return Err(CalibrationError::Rate { rate });
        }
        let images = self.images();
        let rank = whole((images + 1) as f64 * (1.0 - rate)).max(1);
        let Some(&score) = self.sorted.get(rank - 1) else {
            let needed = whole(1.0 / rate) - 1;
            return Err(CalibrationError::TooFewImages { rate, needed, images });
        };
        let realised = Beta::new((images + 1 - rank) as f64, rank as f64)
            .expect("1 <= rank <= n, so that both parameters are positive");
        let tail = (1.0 - INTERVAL_COVERAGE) / 2.0;
        let realised_rate = (realised.inverse_cdf(tail), realised.inverse_cdf(1.0 - tail));
        Ok(Threshold { score, false_alarm_rate: rate, images, realised_rate })
    }
}

impl Threshold {
    /// Anomalous above the threshold.
    pub fn decide(&self, score: f32) -> Decision {
        if score > self.score { Decision::Anomalous } else { Decision::Normal }
    }
}

impl Calibration {
    /// p-value of a score; None where uncalibrated.
    pub fn p_value(&self, score: f32) -> Option<f64> {
        match self {
            Self::Uncalibrated => None,
            Self::Calibrated(null) => Some(null.p_value(score)),
        }
    }

    /// Threshold at a stated false-alarm rate; None where uncalibrated.
    pub fn threshold(&self, rate: f64) -> Option<Result<Threshold, CalibrationError>> {
        match self {
            Self::Uncalibrated => None,
            Self::Calibrated(null) => Some(null.threshold(rate)),
        }
    }
}

impl TryFrom<Vec<f32>> for NullScores {
    type Error = CalibrationError;

    fn try_from(scores: Vec<f32>) -> Result<Self, Self::Error> {
        Self::new(scores)
    }
}

impl From<NullScores> for Vec<f32> {
    fn from(null: NullScores) -> Self {
        null.sorted
    }
}

/// Rounded up to a whole number, forgiving what rounding errors put above one: 100 * (1 - 0.01) is 99, not 100.
fn whole(value: f64) -> usize {
    (value - 1e-9).ceil() as usize
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    use super::*;

    fn hundredths(n: u16) -> NullScores {
        NullScores::new((1..=n).rev().map(|i| f32::from(i) / 100.0).collect()).unwrap()
    }

    #[test]
    fn the_p_value_counts_calibration_scores_of_at_least_the_query() {
        let null = hundredths(9);
        assert_relative_eq!(null.p_value(1.0), 0.1);
        assert_relative_eq!(null.p_value(0.09), 0.2);
        assert_relative_eq!(null.p_value(0.0), 1.0);
    }

    #[test]
    fn one_percent_needs_ninety_nine_images() {
        let threshold = hundredths(99).threshold(0.01).unwrap();
        assert_relative_eq!(threshold.score, 0.99);
        assert_eq!(threshold.images, 99);
        assert_eq!(
            hundredths(98).threshold(0.01),
            Err(CalibrationError::TooFewImages { rate: 0.01, needed: 99, images: 98 })
        );
    }

    #[test]
    fn the_interval_is_that_of_the_beta_distribution() {
        // n = 100, rate 5 %: rank 96, Beta(5, 96); scipy.stats.beta.ppf([0.025, 0.975], 5, 96).
        let (low, high) = hundredths(100).threshold(0.05).unwrap().realised_rate;
        assert_relative_eq!(low, 0.016_431_88, epsilon = 1e-6);
        assert_relative_eq!(high, 0.099_257_16, epsilon = 1e-6);
    }

    #[test]
    fn empty_non_finite_and_senseless_input_is_refused() {
        assert_eq!(NullScores::new(vec![]), Err(CalibrationError::NoScores));
        assert_eq!(NullScores::new(vec![0.5, f32::NAN]), Err(CalibrationError::NonFinite { index: 1 }));
        assert_eq!(hundredths(3).threshold(1.0), Err(CalibrationError::Rate { rate: 1.0 }));
    }

    #[test]
    fn uncalibrated_gives_no_number() {
        assert_eq!(Calibration::Uncalibrated.p_value(0.9), None);
        assert_eq!(Calibration::Uncalibrated.threshold(0.01), None);
    }

    proptest! {
        #[test]
        fn a_score_is_called_anomalous_exactly_when_its_p_value_is_within_the_rate(
            scores in prop::collection::vec(0.0f32..1.0, 20..60), query in 0.0f32..1.0, rate in 0.05f64..0.5,
        ) {
            let null = NullScores::new(scores).unwrap();
            let threshold = null.threshold(rate).unwrap();
            let anomalous = threshold.decide(query) == Decision::Anomalous;
            prop_assert_eq!(anomalous, null.p_value(query) <= rate + 1e-9);
        }
    }
}
