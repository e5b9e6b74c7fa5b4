//! What keeps the benchmark honest: controls that fail when something other than the defect, seen against the prompts,
//! tells an anomaly from a normal image.

use image::ImageFormat;
use rayon::prelude::*;

use super::Options;
use super::canvas::{Canvas, Rgb};
use super::plan::{Plan, Planned, Role, Set};
use crate::metrics::auroc;

mod patches;
mod probe;

/// Small enough for a debug build: every held-out category, 20 auxiliary ones.
fn plan() -> Plan {
    Plan::new(&Options { seed: 11, size: 96, instances: 26, images: 6, held_out_images: 6 })
}

/// As an evaluation sees it: out of its file.
fn picture(plan: &Plan, planned: &Planned) -> Canvas {
    let file = plan.draw(planned).file;
    let decoded = image::load_from_memory_with_format(&file, ImageFormat::Jpeg).unwrap();
    Canvas::from_bytes(plan.side, decoded.into_rgb8().as_raw())
}

#[test]
fn a_null_edit_changes_no_bit() {
    let plan = plan();
    let anomalous = |planned: &&Planned| matches!(planned.role, Role::Anomaly { .. });
    let anomalies: Vec<&Planned> = plan.images.iter().filter(anomalous).step_by(3).collect();
    anomalies.into_par_iter().for_each(|planned| {
        let staged = plan.stage(planned);
        let (operator, _, _, edit) = staged.edit.unwrap();
        let null = edit.nulled(&staged.scene).blended(&staged.scene);
        let normal = staged.nuisance.develop(&staged.scene);
        assert_eq!(
            staged.nuisance.develop(&null),
            normal,
            "{} leaves a trace without content",
            operator.name
        );
    });
}

#[test]
fn every_defect_is_visible_and_every_operator_has_its_turn() {
    let plan = plan();
    let defects = plan.images.par_iter().filter(|planned| matches!(planned.role, Role::Anomaly { .. }));
    let names: std::collections::BTreeSet<&str> = defects
        .map(|planned| {
            let staged = plan.stage(planned);
            let (operator, _, _, edit) = staged.edit.unwrap();
            assert!(edit.is_visible(&staged.scene), "{} cannot be seen", operator.name);
            operator.name
        })
        .collect();
    let all: std::collections::BTreeSet<&str> =
        super::defects::all().iter().map(|operator| operator.name).collect();
    assert_eq!(names, all, "every operator must occur");
}

#[test]
fn an_anomaly_is_its_twin_away_from_the_defect() {
    let plan = plan();
    let held_out = |planned: &&Planned| plan.categories[planned.category].set == Set::HeldOut;
    let anomalous = |planned: &&Planned| matches!(planned.role, Role::Anomaly { .. });
    let anomalies: Vec<&Planned> = plan.images.iter().filter(held_out).filter(anomalous).step_by(3).collect();
    anomalies.into_par_iter().for_each(|planned| {
        let twin = Planned { role: Role::NormalQuery, ..*planned };
        assert!(plan.images.iter().any(|image| {
            (image.category, image.role, image.nuisance) == (twin.category, twin.role, twin.nuisance)
        }));
        let (anomaly, normal) = (picture(&plan, planned), picture(&plan, &twin));
        let cover = plan.stage(planned).edit.unwrap().3.cover;
        // Blocks of the compression reach further than the blur: 16 pixels where colour is stored at half size.
        let blocks = |index: usize| (index % plan.side / 16, index / plan.side / 16);
        let touched: std::collections::BTreeSet<(usize, usize)> = (0..cover.len())
            .filter(|index| cover[*index] > 0.0)
            .flat_map(|index| {
                let (x, y) = blocks(index);
                let near = |at: usize| at.saturating_sub(1)..=at + 1;
                near(y).flat_map(move |y| near(x).map(move |x| (x, y)))
            })
            .collect();
        for index in (0..cover.len()).filter(|index| !touched.contains(&blocks(*index))) {
            let difference = anomaly.pixels[index].distance(normal.pixels[index]);
            assert!(
                difference < 1e-6,
                "pixel {index} of a twin differs by {difference} away from the defect"
            );
        }
    });
}

/// AUROC on unseen families of a probe that was fitted on the auxiliary set, all anomalies changed by `plant` before.
fn probed(plan: &Plan, plant: fn(&mut Canvas)) -> f64 {
    let of = |set: Set, seen: bool| -> Vec<(Vec<f32>, bool)> {
        let chosen = plan.images.par_iter().filter(|planned| {
            let category = &plan.categories[planned.category];
            category.set == set && category.family.seen == seen
        });
        let row = |planned: &Planned| {
            let anomalous = matches!(planned.role, Role::Anomaly { .. });
            let mut picture = picture(plan, planned);
            if anomalous {
                plant(&mut picture);
            }
            (probe::statistics(&picture), anomalous)
        };
        chosen.map(row).collect()
    };
    let probe = probe::Probe::fit(&of(Set::Auxiliary, true));
    let (scores, labels): (Vec<f32>, Vec<bool>) =
        of(Set::HeldOut, false).iter().map(|(row, anomalous)| (probe.score(row), *anomalous)).unzip();
    auroc(&scores, &labels).unwrap()
}

#[test]
fn global_statistics_do_not_tell_anomalies_of_unseen_families() {
    let area = probed(&plan(), |_| {});
    assert!(area < 0.6, "global statistics give {area:.3} on unseen families, must be at most 0.6");
}

#[test]
fn a_trace_that_all_anomalies_carry_would_be_found() {
    let area = probed(&plan(), |picture| {
        for (number, pixel) in picture.pixels.iter_mut().enumerate() {
            let sign = if number % 2 == 0 { 1.0 } else { -1.0 };
            *pixel = *pixel + Rgb::gray(0.06 * sign);
        }
    });
    assert!(
        area > 0.7,
        "a planted trace gives {area:.3}: the probe is blind, and shows nothing about the benchmark"
    );
}

#[test]
fn prompts_of_another_product_do_not_do() {
    let plan = plan();
    let held_out: Vec<usize> =
        (0..plan.categories.len()).filter(|at| plan.categories[*at].set == Set::HeldOut).collect();
    let prompts: Vec<patches::Bank> = held_out
        .par_iter()
        .map(|category| {
            let of_category =
                plan.images.iter().filter(|image| image.category == *category && image.role == Role::Prompt);
            patches::Bank::new(of_category.map(|planned| picture(&plan, planned)))
        })
        .collect();
    let area = |unseen_family: bool, shift: usize| {
        let chosen =
            (0..held_out.len()).filter(|at| plan.categories[held_out[*at]].family.seen != unseen_family);
        let areas: Vec<f64> = chosen
            .map(|at| {
                let queries = plan.images.par_iter().filter(|image| {
                    image.category == held_out[at]
                        && matches!(image.role, Role::NormalQuery | Role::Anomaly { unseen: true, .. })
                });
                let bank = &prompts[(at + shift) % prompts.len()];
                let scored: Vec<(f32, bool)> = queries
                    .map(|planned| (bank.score(&picture(&plan, planned)), planned.role != Role::NormalQuery))
                    .collect();
                let (scores, labels): (Vec<f32>, Vec<bool>) = scored.into_iter().unzip();
                auroc(&scores, &labels).unwrap()
            })
            .collect();
        areas.iter().sum::<f64>() / areas.len() as f64
    };
    let (own, swapped) = (area(true, 0), area(true, 3));
    assert!(own > 0.65, "with its own prompts a patch residual gives {own:.3}: defects are too faint");
    assert!(
        swapped < 0.6,
        "with prompts of another product a patch residual gives {swapped:.3}, must be at most 0.6"
    );
}
