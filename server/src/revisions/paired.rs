//! How a candidate's scores differ from the active head's on the same images, in bounded memory.
//!
//! Means and counts are of all images; quantiles of a uniform sample of them, all as long as there are few; the rank
//! correlation of the newest.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::request::Decision;

/// Differences that quantiles are taken of: a percentile of 4096 is off by less than half a percent of rank.
const SAMPLE: usize = 4096;
/// Pairs that are ranked: enough for a correlation to two digits, sorted in a fraction of a millisecond.
const NEWEST: usize = 1024;
/// Fewer pairs have no rank correlation worth telling.
const LEAST_RANKED: usize = 16;
/// Probabilities of the quantiles told.
const PROBABILITIES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

/// Paired statistics of one candidate and one active head.
#[derive(Debug)]
pub(crate) struct Paired {
    active: String,
    candidate: String,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    count: u64,
    sum: f64,
    absolute_sum: f64,
    flips: u64,
    sample: Vec<f64>,
    /// Active and candidate scores.
    newest: VecDeque<(f32, f32)>,
    draws: StdRng,
}

/// What paired statistics stand at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PairedView {
    pub(crate) count: u64,
    pub(crate) mean_difference: f64,
    pub(crate) mean_absolute_difference: f64,
    /// Probability and value, by rising probability; empty without images.
    pub(crate) quantiles: Vec<(f64, f64)>,
    pub(crate) rank_correlation: Option<f64>,
    pub(crate) flips: u64,
}

impl Paired {
    /// Of two heads by their digests.
    pub(crate) fn new(active: &str, candidate: &str) -> Self {
        let seen = Seen {
            count: 0,
            sum: 0.0,
            absolute_sum: 0.0,
            flips: 0,
            sample: Vec::new(),
            newest: VecDeque::new(),
            draws: StdRng::seed_from_u64(0),
        };
        Self { active: active.to_owned(), candidate: candidate.to_owned(), seen: Mutex::new(seen) }
    }

    pub(crate) fn active(&self) -> &str {
        &self.active
    }

    pub(crate) fn candidate(&self) -> &str {
        &self.candidate
    }

    /// Takes in the scores of one image; `threshold` is that of its decision, where there is one.
    pub(super) fn observe(&self, active: f32, candidate: f32, threshold: Option<f32>) {
        let difference = f64::from(candidate) - f64::from(active);
        let flips = Decision::new(active, threshold) != Decision::new(candidate, threshold);
        self.with(|seen| {
            seen.count += 1;
            seen.sum += difference;
            seen.absolute_sum += difference.abs();
            seen.flips += u64::from(flips);
            if seen.sample.len() < SAMPLE {
                seen.sample.push(difference);
            } else if let Some(place) = seen.sample.get_mut(seen.draws.random_range(0..seen.count) as usize) {
                // Each of the images seen so far is in the sample with the same chance.
                *place = difference;
            }
            if seen.newest.len() == NEWEST {
                seen.newest.pop_front();
            }
            seen.newest.push_back((active, candidate));
        });
    }

    /// What they stand at.
    pub(crate) fn view(&self) -> PairedView {
        let (mut view, mut sample, newest) = self.with(|seen| {
            let images = seen.count.max(1) as f64;
            let view = PairedView {
                count: seen.count,
                mean_difference: seen.sum / images,
                mean_absolute_difference: seen.absolute_sum / images,
                quantiles: Vec::new(),
                rank_correlation: None,
                flips: seen.flips,
            };
            (view, seen.sample.clone(), seen.newest.iter().copied().collect::<Vec<_>>())
        });
        sample.sort_by(f64::total_cmp);
        if !sample.is_empty() {
            view.quantiles = PROBABILITIES.map(|p| (p, quantile(&sample, p))).to_vec();
        }
        view.rank_correlation = rank_correlation(&newest);
        view
    }

    fn with<T>(&self, work: impl FnOnce(&mut Seen) -> T) -> T {
        // Sums are whole whatever panicked beside them.
        work(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Of sorted values, at least one: linear between its neighbours.
fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let place = probability * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Spearman's: the correlation of ranks, equal values sharing theirs. None for few pairs, or where one side is constant.
fn rank_correlation(pairs: &[(f32, f32)]) -> Option<f64> {
    if pairs.len() < LEAST_RANKED {
        return None;
    }
    let ranked = |side: fn(&(f32, f32)) -> f32| ranks(&pairs.iter().map(side).collect::<Vec<_>>());
    let (active, candidate) = (ranked(|pair| pair.0), ranked(|pair| pair.1));
    let mean = (pairs.len() - 1) as f64 / 2.0;
    let moment = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = (moment(&active, &active) * moment(&candidate, &candidate)).sqrt();
    (0.0 < spread).then(|| moment(&active, &candidate) / spread)
}

/// Rank of each value from 0; equal values have the mean of their ranks.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut begin = 0;
    for equal in order.chunk_by(|&a, &b| values[a].total_cmp(&values[b]).is_eq()) {
        let shared = begin as f64 + (equal.len() - 1) as f64 / 2.0;
        for &index in equal {
            ranks[index] = shared;
        }
        begin += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores that neither rise nor fall: multiples of 1/97 in another order.
    fn pair(index: u32) -> (f32, f32) {
        let active = (index * 31 % 97) as f32 / 97.0;
        (active, (active * 0.5 + (index * 57 % 97) as f32 / 194.0).min(1.0))
    }

    #[test]
    fn few_images_are_told_exactly() {
        let paired = Paired::new("a", "b");
        let pairs: Vec<_> = (0..400).map(pair).collect();
        for &(active, candidate) in &pairs {
            paired.observe(active, candidate, Some(0.5));
        }
        let mut differences: Vec<f64> = pairs.iter().map(|&(a, b)| f64::from(b) - f64::from(a)).collect();
        let view = paired.view();
        assert_eq!(view.count, 400);
        let mean = differences.iter().sum::<f64>() / 400.0;
        assert!((view.mean_difference - mean).abs() < 1e-12);
        let absolute = differences.iter().map(|it| it.abs()).sum::<f64>() / 400.0;
        assert!((view.mean_absolute_difference - absolute).abs() < 1e-12);
        let flips = pairs.iter().filter(|(a, b)| (0.5 <= *a) != (0.5 <= *b)).count() as u64;
        assert!(0 < flips && view.flips == flips, "{flips} {view:?}");
        differences.sort_by(f64::total_cmp);
        let median = f64::midpoint(differences[199], differences[200]);
        let (probability, told) = view.quantiles[3];
        assert!((probability - 0.5).abs() < 1e-12 && (told - median).abs() < 1e-12, "{told} {median}");
    }

    #[test]
    fn without_a_threshold_no_decision_flips() {
        let paired = Paired::new("a", "b");
        paired.observe(0.1, 0.9, None);
        assert_eq!(paired.view().flips, 0);
    }

    #[test]
    fn the_rank_correlation_is_that_of_ranks_with_ties_shared() {
        let told = |pairs: &[(f32, f32)]| rank_correlation(pairs);
        let rising: Vec<_> = (0..20_u8).map(|i| (f32::from(i), f32::from(i).powi(3))).collect();
        let falling: Vec<_> = rising.iter().map(|&(a, b)| (a, -b)).collect();
        assert!((told(&rising).unwrap() - 1.0).abs() < 1e-12);
        assert!((told(&falling).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(told(&rising[..LEAST_RANKED - 1]), None, "too few");
        assert_eq!(told(&[(1.0, 2.0); 20]), None, "constant");
        // Four times over, ranks go as -1.5, 0, 0, 1.5 and -1.5, 0.5, -0.5, 1.5: 4.5 / sqrt(4.5 * 5).
        let tied: Vec<_> = [(1.0, 1.0), (2.0, 3.0), (2.0, 2.0), (3.0, 4.0)].repeat(4);
        assert!((told(&tied).unwrap() - 4.5 / 22.5_f64.sqrt()).abs() < 1e-12, "{:?}", told(&tied));
    }

    #[test]
    fn memory_is_bounded_and_the_sample_stays_representative() {
        let paired = Paired::new("a", "b");
        for index in 0..20_000_u32 {
            // Differences rise from 0 to 1 as images come.
            paired.observe(0.0, index as f32 / 20_000.0, None);
        }
        let view = paired.view();
        assert_eq!(view.count, 20_000);
        paired.with(|seen| assert_eq!((seen.sample.len(), seen.newest.len()), (SAMPLE, NEWEST)));
        for (probability, value) in view.quantiles {
            assert!((probability - value).abs() < 0.03, "{probability}: {value}");
        }
    }
}
