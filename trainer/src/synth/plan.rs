//! Which images there are: categories of the two sets, and of each its normal images and its defects.
//!
//! ```text
//! auxiliary    seen families,            seen operators            what a head is trained on
//! held-out     new instances of seen     seen and unseen operators what it is judged by: a 2 x 2 table
//!              families, unseen families
//! ```

use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};

use super::Options;
use super::axes::{Axis, Seeds, Severity};
use super::defects::{self, Action, Operator};
use super::families::{self, Family, Instance};
use super::nuisance::Legal;

/// The two halves of the benchmark, each a data set of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Set {
    /// Seen families with seen defects: for training.
    Auxiliary,
    /// Seen and unseen families with seen and unseen defects: for evaluation.
    HeldOut,
}

impl Set {
    /// Name of its folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Auxiliary => "auxiliary",
            Self::HeldOut => "held-out",
        }
    }
}

/// Instances of every unseen family among the held-out ones; seen families, which matter less there, have one.
const UNSEEN_INSTANCES: usize = 2;

/// A member of a family: what a prompt set is of.
pub(crate) struct Category {
    pub(crate) set: Set,
    /// `<family>-<number>`.
    pub(crate) name: String,
    pub(crate) family: Family,
    pub(crate) number: usize,
    pub(crate) legal: Legal,
    pub(crate) instance: Box<dyn Instance>,
    /// Defects that it can have, in the order in which they are asked for: training's, then held-out ones.
    pub(crate) operators: [Vec<Operator>; 2],
}

/// An image to be drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    /// Position of its category.
    pub(crate) category: usize,
    pub(crate) role: Role,
    /// Which nuisance of the category it has; an anomaly with that of a normal image is its twin.
    pub(crate) nuisance: usize,
}

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Normal, in `train`.
    Prompt,
    /// Normal, in `test`.
    NormalQuery,
    /// With a defect.
    Anomaly {
        /// Position among the category's anomalies.
        number: usize,
        /// Whether of a held-out operator.
        unseen: bool,
        /// The operator to begin with; the next one has its turn where this one leaves no visible trace.
        first: usize,
        severity: Severity,
    },
}

/// The benchmark before it is drawn.
pub(crate) struct Plan {
    pub(crate) seeds: Seeds,
    pub(crate) side: usize,
    pub(crate) categories: Vec<Category>,
    pub(crate) images: Vec<Planned>,
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Self {
        let Options { seed, size, instances, images, held_out_images } = *options;
        let seeds = Seeds::new(seed);
        let families = families::all();
        let seen: Vec<Family> = families.iter().copied().filter(|family| family.seen).collect();
        let mut plan = Self { seeds, side: size, categories: Vec::new(), images: Vec::new() };
        for number in 0..instances {
            plan.add_category(Set::Auxiliary, seen[number % seen.len()], number / seen.len());
            // Half of the normal images may serve as prompts where the set is evaluated; training takes both halves.
            plan.add_images(images.div_ceil(2), images / 2, [images, 0]);
        }
        for family in families {
            for number in 0..if family.seen { 1 } else { UNSEEN_INSTANCES } {
                plan.add_category(Set::HeldOut, family, number);
                plan.add_images(held_out_images, held_out_images, [held_out_images; 2]);
            }
        }
        plan
    }

    fn add_category(&mut self, set: Set, family: Family, number: usize) {
        let name = format!("{}-{number}", family.name);
        let place = format!("{}/{name}", set.folder());
        let mut rng = self.seeds.stream(Axis::Instance, &place);
        let legal = Legal::draw(&mut rng);
        let instance = family.instance(&mut rng);
        let applies = |operator: &Operator| match operator.action {
            Action::Surface(_) => true,
            Action::DirectedSurface(_) => family.directed,
            Action::Parts(_) => instance.has_parts(),
            Action::Turn => family.directed && !legal.any_turn,
            Action::Hue => !legal.any_hue,
        };
        let (mut seen, mut unseen): (Vec<_>, Vec<_>) =
            defects::all().into_iter().filter(applies).partition(|operator| operator.seen);
        let mut order = self.seeds.stream(Axis::Defect, &place);
        seen.shuffle(&mut order);
        unseen.shuffle(&mut order);
        let operators = [seen, unseen];
        self.categories.push(Category { set, name, family, number, legal, instance, operators });
    }

    /// Images of the last category: prompts, normal queries, anomalies of seen and of unseen operators.
    fn add_images(&mut self, prompts: usize, normals: usize, anomalies: [usize; 2]) {
        let category = self.categories.len() - 1;
        let planned = |role, nuisance| Planned { category, role, nuisance };
        self.images.extend((0..prompts).map(|number| planned(Role::Prompt, number)));
        self.images.extend((0..normals).map(|number| planned(Role::NormalQuery, prompts + number)));
        let Category { set, operators, .. } = &self.categories[category];
        let mut number = 0;
        for (unseen, count) in [(false, anomalies[0]), (true, anomalies[1])] {
            for position in 0..count {
                let operators = operators[usize::from(unseen)].len();
                // The second time round an operator has another severity than the first.
                let severity = Severity::of(position + position / operators + category);
                // In training an anomaly's twin among its prompts would be easier than life: there are none.
                let nuisance = match set {
                    Set::Auxiliary => prompts + normals + number,
                    Set::HeldOut => prompts + position % normals,
                };
                let first = position % operators;
                self.images.push(planned(Role::Anomaly { number, unseen, first, severity }, nuisance));
                number += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { seed: 3, size: 64, instances: 14, images: 6, held_out_images: 4 }
    }

    #[test]
    fn training_sees_no_held_out_family_and_no_held_out_operator() {
        let plan = Plan::new(&options());
        let auxiliary = |planned: &&Planned| plan.categories[planned.category].set == Set::Auxiliary;
        for planned in plan.images.iter().filter(auxiliary) {
            assert!(plan.categories[planned.category].family.seen);
            assert!(!matches!(planned.role, Role::Anomaly { unseen: true, .. }));
        }
        assert!(defects::all().iter().filter(|operator| operator.seen).count() >= 6);
        assert!(defects::all().iter().filter(|operator| !operator.seen).count() >= 6);
        assert!(families::all().len() >= 20);
    }

    #[test]
    fn every_cell_of_the_table_has_images_and_prompts_share_no_nuisance_with_queries() {
        let plan = Plan::new(&options());
        for family_seen in [false, true] {
            for defect_unseen in [false, true] {
                let in_cell = |planned: &Planned| {
                    let category = &plan.categories[planned.category];
                    category.set == Set::HeldOut
                        && category.family.seen == family_seen
                        && matches!(planned.role, Role::Anomaly { unseen, .. } if unseen == defect_unseen)
                };
                assert!(plan.images.iter().any(in_cell));
            }
        }
        for query in plan.images.iter().filter(|planned| planned.role != Role::Prompt) {
            let shared = |other: &Planned| {
                other.category == query.category
                    && other.role == Role::Prompt
                    && other.nuisance == query.nuisance
            };
            assert!(!plan.images.iter().any(shared));
        }
    }
}
