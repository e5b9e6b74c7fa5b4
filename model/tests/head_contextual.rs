//! The contextual head: its statistics, its context, and prompt sets of one image.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

#[expect(dead_code, reason = "each test binary uses its part of the shared fixtures")]
mod fixtures;

use approx::assert_abs_diff_eq;
use fixtures::{backbone, features, head};
use inctrl_model::head::contextual::{relative, statistics};
use inctrl_model::{Device, Features, Head, HeadError, HeadKind, HeadMetadata, PromptFeatures, Residuals};
use tch::{Kind, Tensor};

fn row(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.get(0)).unwrap()
}

/// A head whose logit is the sum of the log-ratios.
fn summing() -> Head {
    let metadata = HeadMetadata::new(HeadKind::Contextual, backbone(false));
    let tensors = metadata.layout().into_iter().map(|(name, shape)| {
        let one = name == "linear.weight" || name == "standard.deviation";
        (name, Tensor::full(&shape, i64::from(one), (Kind::Float, Device::Cpu)))
    });
    Head::from_tensors(&metadata, tensors.collect::<Vec<_>>(), Device::Cpu).unwrap()
}

#[test]
fn statistics_of_a_known_map_are_those_of_the_definition() {
    // 0.00, 0.01, ..., 0.99 in another order.
    let shuffled = (Tensor::arange(100, (Kind::Int64, Device::Cpu)) * 37i64).remainder(100);
    let map = (shuffled.to_kind(Kind::Float) / 100.0).unsqueeze(0);
    let actual = row(&statistics(&map, &Tensor::from_slice(&[0.25f32])));
    let expected = [0.99, 0.99, 0.98, 0.945, 0.495, 0.495, 0.099, 0.25];
    for (actual, expected) in actual.iter().zip(expected) {
        assert_abs_diff_eq!(*actual, expected, epsilon = 1e-6);
    }
}

#[test]
fn a_query_as_far_off_as_the_context_has_ratio_zero_and_twice_as_far_log_two() {
    let context = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6., 7., 8.]).unsqueeze(0);
    let same = row(&relative(&context, &context));
    assert!(same.iter().all(|&ratio| ratio == 0.0), "{same:?}");
    for ratio in row(&relative(&(&context * 2.0), &context)) {
        assert_abs_diff_eq!(ratio, std::f32::consts::LN_2, epsilon = 1e-3);
    }
}

#[test]
fn leave_one_out_context_is_each_image_against_the_others() {
    let images = features(4, 3.0);
    let prompts = PromptFeatures::new(&images, None, None);
    assert_eq!(prompts.context_maps.size(), [4, 30]);
    for image in 0..4 {
        let others: Vec<i64> = (0..4).filter(|&other| other != image).collect();
        let rest = PromptFeatures::new(&images.select(&others), None, None);
        let alone = Residuals::new(&images.select(&[image]), &rest);
        let off = (alone.map.get(0) - prompts.context_maps.get(image)).abs().max();
        assert!(f64::try_from(off).unwrap() <= 1e-6, "map of image {image} must not see the image itself");
        let expected = f64::try_from(alone.class_distance).unwrap();
        assert_abs_diff_eq!(prompts.context_class_distance.double_value(&[image]), expected, epsilon = 1e-6);
    }
}

#[test]
fn one_image_takes_its_context_from_the_mirrored_copy() {
    let (image, mirrored) = (features(1, 3.0), features(1, 4.0));
    let prompts = PromptFeatures::new(&image, Some(&mirrored), None);
    assert_eq!(prompts.shots(), 1);
    let expected = Residuals::new(&mirrored, &prompts);
    assert_eq!(prompts.context_maps, expected.map);
    assert_eq!(prompts.context_class_distance, expected.class_distance);
    let scores = summing().score(&Residuals::new(&features(1, 9.0), &prompts), &prompts).unwrap();
    assert!(scores[0].score.is_finite());
}

#[test]
fn one_image_without_its_mirrored_copy_has_no_context() {
    let prompts = PromptFeatures::new(&features(1, 3.0), None, None);
    let residuals = Residuals::new(&features(2, 4.0), &prompts);
    let refused = summing().score(&residuals, &prompts).unwrap_err();
    assert!(matches!(refused, HeadError::NoContext));
    head(HeadKind::Paper, false, 1.0).score(&residuals, &prompts).unwrap();
}

#[test]
fn a_copy_of_a_prompt_image_scores_below_anything_else() {
    let images = features(4, 3.0);
    let prompts = PromptFeatures::new(&images, None, None);
    let queries = Features::concat(&[&images.select(&[2]), &features(3, 8.0)]);
    let scores = summing().score(&Residuals::new(&queries, &prompts), &prompts).unwrap();
    let (copy, others) = (scores[0].score, &scores[1..]);
    assert!(copy < 0.01, "a residual of zero must be far below the context, scored {copy}");
    assert!(others.iter().all(|other| other.score > copy));
    assert!(scores.iter().all(|scores| scores.image_score.is_none() && scores.holistic_score.is_none()));
}
