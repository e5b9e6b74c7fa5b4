//! Metrics against worked examples and against scikit-learn's and `SciPy`'s answers (`tests/oracles/{metrics,pro}.py`).
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read fails its test")]

use std::path::Path;

use approx::assert_abs_diff_eq;
use inctrl_trainer::metrics::{
    MetricError, ScoredMask, aupro, auroc, average_precision, f1_max, false_positive_rate_at_recall,
    pixel_auroc, recall_at_false_positive_rate,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Both sides compute in float64 from exact counts.
const TOLERANCE: f64 = 1e-9;

/// Worked examples are written with six digits.
const SIX_DIGITS: f64 = 5e-7;

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/metrics").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bits(labels: &[u8]) -> Vec<bool> {
    labels.iter().map(|&label| label == 1).collect()
}

struct Golden {
    labels: &'static [u8],
    scores: &'static [f32],
    auroc: f64,
    average_precision: f64,
    f1: f64,
    threshold: f32,
}

const GOLDEN: [Golden; 6] = [
    Golden {
        labels: &[0, 1, 1, 1, 0, 0, 0, 0, 1, 1],
        scores: &[0.59, 0.35, 0.72, 0.33, 0.73, 0.81, 0.30, 0.05, 0.04, 0.48],
        auroc: 0.36,
        average_precision: 0.460_952,
        f1: 0.666_667,
        threshold: 0.04,
    },
    Golden {
        labels: &[0, 0, 1, 1],
        scores: &[0.1, 0.2, 0.8, 0.9],
        auroc: 1.0,
        average_precision: 1.0,
        f1: 1.0,
        threshold: 0.8,
    },
    Golden {
        labels: &[0, 0, 1, 1],
        scores: &[0.1, 0.4, 0.35, 0.8],
        auroc: 0.75,
        average_precision: 0.833_333,
        f1: 0.8,
        threshold: 0.35,
    },
    Golden {
        labels: &[0, 1, 0, 1, 1],
        scores: &[0.5; 5],
        auroc: 0.5,
        average_precision: 0.6,
        f1: 0.75,
        threshold: 0.5,
    },
    Golden {
        labels: &[0, 1, 0, 1, 1, 0],
        scores: &[0.5, 0.5, 0.2, 0.9, 0.9, 0.9],
        auroc: 0.722_222,
        average_precision: 0.644_444,
        f1: 0.75,
        threshold: 0.5,
    },
    Golden {
        labels: &[1, 1, 0, 0],
        scores: &[0.1, 0.2, 0.8, 0.9],
        auroc: 0.0,
        average_precision: 0.416_667,
        f1: 0.666_667,
        threshold: 0.1,
    },
];

#[test]
fn worked_examples_come_out_as_by_hand() {
    for golden in &GOLDEN {
        let (scores, labels) = (golden.scores, bits(golden.labels));
        assert_abs_diff_eq!(auroc(scores, &labels).unwrap(), golden.auroc, epsilon = SIX_DIGITS);
        let precision = average_precision(scores, &labels).unwrap();
        assert_abs_diff_eq!(precision, golden.average_precision, epsilon = SIX_DIGITS);
        let best = f1_max(scores, &labels).unwrap();
        assert_abs_diff_eq!(best.f1, golden.f1, epsilon = SIX_DIGITS);
        assert_abs_diff_eq!(best.threshold, golden.threshold);
    }
}

#[derive(Deserialize)]
struct ImageCase {
    name: String,
    scores: Vec<f32>,
    anomalous: Vec<bool>,
    expected: ImageAnswers,
}

#[derive(Deserialize)]
struct ImageAnswers {
    auroc: f64,
    average_precision: f64,
    f1_max: f64,
    f1_threshold: f32,
    recall_at_false_positive_rate_5: f64,
    false_positive_rate_at_recall_100: f64,
}

#[test]
fn image_metrics_equal_those_of_scikit_learn() {
    for case in fixture::<Vec<ImageCase>>("image_level.json") {
        let ImageCase { name, scores, anomalous, expected } = case;
        let best = f1_max(&scores, &anomalous).unwrap();
        let pairs = [
            (auroc(&scores, &anomalous), expected.auroc),
            (average_precision(&scores, &anomalous), expected.average_precision),
            (Ok(best.f1), expected.f1_max),
            (Ok(f64::from(best.threshold)), f64::from(expected.f1_threshold)),
            (
                recall_at_false_positive_rate(&scores, &anomalous, 0.05),
                expected.recall_at_false_positive_rate_5,
            ),
            (
                false_positive_rate_at_recall(&scores, &anomalous, 1.0),
                expected.false_positive_rate_at_recall_100,
            ),
        ];
        for (position, (actual, expected)) in pairs.into_iter().enumerate() {
            let difference = (actual.unwrap() - expected).abs();
            assert!(difference < TOLERANCE, "{name}: metric {position} differs by {difference}");
        }
    }
}

#[derive(Deserialize)]
struct PixelCase {
    name: String,
    width: usize,
    masks: Vec<Vec<usize>>,
    maps: Vec<Vec<f32>>,
    expected: PixelAnswers,
}

#[derive(Deserialize)]
struct PixelAnswers {
    pixel_auroc: f64,
    #[serde(rename = "aupro_0.05")]
    aupro_5: f64,
    #[serde(rename = "aupro_0.3")]
    aupro_30: f64,
    #[serde(rename = "aupro_1.0")]
    aupro_100: f64,
}

#[test]
fn pixel_metrics_equal_an_independent_reference() {
    for PixelCase { name, width, masks, maps, expected } in fixture::<Vec<PixelCase>>("pixel_level.json") {
        let masks: Vec<Vec<bool>> = masks
            .iter()
            .zip(&maps)
            .map(|(marked, map)| (0..map.len()).map(|pixel| marked.contains(&pixel)).collect())
            .collect();
        let pairs = maps.iter().zip(&masks);
        let images: Vec<ScoredMask<'_>> = pairs.map(|(map, mask)| ScoredMask { map, mask, width }).collect();
        let answers = [
            (pixel_auroc(&images), expected.pixel_auroc),
            (aupro(&images, 0.05), expected.aupro_5),
            (aupro(&images, 0.3), expected.aupro_30),
            (aupro(&images, 1.0), expected.aupro_100),
        ];
        for (position, (actual, expected)) in answers.into_iter().enumerate() {
            let difference = (actual.unwrap() - expected).abs();
            assert!(difference < TOLERANCE, "{name}: metric {position} differs by {difference}");
        }
    }
}

/// A 4 x 4 map and the pixels of its mask, as (row, column).
fn aupro_of(map: &[f32; 16], marked: &[(usize, usize)], limit: f64) -> f64 {
    let mask: Vec<bool> = (0..16).map(|pixel| marked.contains(&(pixel / 4, pixel % 4))).collect();
    aupro(&[ScoredMask { map, mask: &mask, width: 4 }], limit).unwrap()
}

#[test]
fn worked_examples_of_the_region_overlap_come_out() {
    let ramp = std::array::from_fn(|pixel| pixel as f32 / 15.0);
    let thirds = ramp.map(|score: f32| (score * 3.0).round() / 3.0);
    let corners = [(0, 0), (3, 2), (3, 3)];
    let diagonal = [(0, 0), (1, 1), (3, 3)];
    let perfect = std::array::from_fn(|pixel| f32::from(pixel == 0 || pixel >= 14));
    for (map, marked, limit, expected) in [
        (ramp, corners, 0.3, 0.5),
        (ramp, diagonal, 0.3, 0.5),
        (ramp, diagonal, 1.0, 0.576_923),
        (thirds, diagonal, 0.3, 0.371_795),
        (thirds, diagonal, 1.0, 0.557_692),
        (perfect, corners, 0.3, 1.0),
        ([0.5; 16], corners, 0.3, 0.15),
    ] {
        assert_abs_diff_eq!(aupro_of(&map, &marked, limit), expected, epsilon = SIX_DIGITS);
    }
}

#[test]
fn what_the_data_does_not_define_is_an_error() {
    let one_label = MetricError::OneLabel { anomalous: 0, normal: 2 };
    assert_eq!(auroc(&[0.1, 0.2], &[false, false]), Err(one_label));
    assert_eq!(average_precision(&[0.1, 0.2], &[false, false]), Err(one_label));
    assert_eq!(f1_max(&[0.1, 0.2], &[false, false]), Err(one_label));
    assert_eq!(auroc(&[], &[]), Err(MetricError::OneLabel { anomalous: 0, normal: 0 }));
    assert_eq!(auroc(&[0.1, f32::NAN], &[false, true]), Err(MetricError::NotFinite { position: 1 }));
    assert_eq!(auroc(&[0.1], &[false, true]), Err(MetricError::Unpaired { scores: 1, labels: 2 }));
}

#[test]
fn a_region_overlap_without_regions_or_background_is_an_error() {
    let map = [0.5; 4];
    for (marked, anomalous, normal) in [(false, 0, 4), (true, 4, 0)] {
        let mask = [marked; 4];
        let refused = aupro(&[ScoredMask { map: &map, mask: &mask, width: 2 }], 0.3);
        assert_eq!(refused, Err(MetricError::OneLabel { anomalous, normal }));
    }
}

proptest! {
    #[test]
    fn turning_the_scores_round_turns_the_auroc_round(
        cases in prop::collection::vec((0_u8..9, any::<bool>()), 2..60)
    ) {
        let scores: Vec<f32> = cases.iter().map(|case| f32::from(case.0)).collect();
        let turned: Vec<f32> = scores.iter().map(|score| -score).collect();
        let labels: Vec<bool> = cases.iter().map(|case| case.1).collect();
        prop_assume!(labels.iter().any(|&label| label) && labels.iter().any(|&label| !label));
        let sum = auroc(&scores, &labels).unwrap() + auroc(&turned, &labels).unwrap();
        prop_assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_region_overlap_stays_between_nothing_and_all(
        cases in prop::collection::vec((0_u8..5, prop::bool::weighted(0.3)), 36)
    ) {
        let map: Vec<f32> = cases.iter().map(|case| f32::from(case.0)).collect();
        let mask: Vec<bool> = cases.iter().map(|case| case.1).collect();
        prop_assume!(mask.iter().any(|&pixel| pixel) && mask.iter().any(|&pixel| !pixel));
        let area = aupro(&[ScoredMask { map: &map, mask: &mask, width: 6 }], 0.3).unwrap();
        prop_assert!((0.0..=1.0 + 1e-12).contains(&area), "area under the curve is {area}");
    }
}
