//! Mean and deviation over draws and seeds.

use serde::{Deserialize, Serialize};

/// A number measured several times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of a sample (n - 1); absent where there is one value.
    pub deviation: Option<f64>,
    /// How many values.
    pub runs: usize,
}

impl Stat {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let runs = values.len();
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (1 < runs).then(|| (squares / (runs - 1) as f64).sqrt());
        Some(Self { mean, deviation, runs })
    }
}

/// Mean; NaN of none.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let stat = Stat::of(&[0.7, 0.8, 0.9]).unwrap();
        assert_abs_diff_eq!(stat.mean, 0.8, epsilon = 1e-12);
        assert_abs_diff_eq!(stat.deviation.unwrap(), 0.1, epsilon = 1e-12);
        assert_eq!(stat.runs, 3);
    }

    #[test]
    fn one_value_has_no_deviation_and_none_no_mean() {
        assert_eq!(Stat::of(&[0.5]), Some(Stat { mean: 0.5, deviation: None, runs: 1 }));
        assert_eq!(Stat::of(&[]), None);
    }
}
