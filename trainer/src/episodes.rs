//! What a training step sees: queries, each with a prompt set of its own.
//!
//! An epoch's episodes are a function of the seed and the epoch's number alone, so that a resumed run draws what the
//! interrupted one would have drawn.

use rand::seq::{IndexedRandom as _, SliceRandom as _, index};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The images of one class, as indices into the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassImages {
    /// Name, for messages.
    pub name: String,
    /// Images without anomaly.
    pub normal: Vec<usize>,
    /// Images with one.
    pub anomalous: Vec<usize>,
}

/// One query with its prompt set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The image scored.
    pub image: usize,
    /// Position of the class that the prompt set is of.
    pub class: usize,
    /// Images of the prompt set.
    pub prompts: Vec<usize>,
    /// Label.
    pub anomalous: bool,
}

/// How episodes are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct EpisodePlan {
    /// Queries in a step; half of them normal.
    pub batch: usize,
    /// Steps in an epoch.
    pub steps: usize,
    /// Numbers of prompt images; every step draws one of them.
    pub shots: Vec<usize>,
    /// Share of the anomalous queries that are normal images of another class than their prompt set's.
    pub other_class: f64,
    /// Whether a normal query may stand in its own prompt set, as in the authors' code.
    pub query_among_prompts: bool,
}

/// Why no episodes can be drawn from a data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpisodeError {
    /// Nothing to learn from.
    #[error("the data set has no anomalous images; training needs some in at least one class")]
    NoAnomalies,
    /// A class cannot fill a prompt set beside the query.
    #[error(
        "class {class:?} has {normals} normal images, {shots} shots need {needed}; \
         lower `shots` or add normal images"
    )]
    TooFewNormals {
        /// Its name.
        class: String,
        /// Its normal images.
        normals: usize,
        /// Largest number of shots asked for.
        shots: usize,
        /// Normal images needed.
        needed: usize,
    },
    /// Anomalies of other classes were asked for and there is one class.
    #[error("the data set has one class, {class:?}; set `other_class: 0` or add another class")]
    OneClass {
        /// Its name.
        class: String,
    },
}

/// Draws episodes from a data set.
#[derive(Debug)]
pub struct Episodes {
    classes: Vec<ClassImages>,
    plan: EpisodePlan,
    seed: u64,
}

/// A normal or anomalous image and the position of its class.
type Member = (usize, usize);

impl Episodes {
    /// Checks that `plan` can be fulfilled. The plan's numbers must be positive, its batch even.
    pub fn new(classes: Vec<ClassImages>, plan: EpisodePlan, seed: u64) -> Result<Self, EpisodeError> {
        let shots = plan.shots.iter().copied().max().unwrap_or(1);
        let needed = if plan.query_among_prompts { shots } else { shots + 1 };
        if let Some(class) = classes.iter().find(|class| class.normal.len() < needed) {
            let (class, normals) = (class.name.clone(), class.normal.len());
            return Err(EpisodeError::TooFewNormals { class, normals, shots, needed });
        }
        if classes.iter().all(|class| class.anomalous.is_empty()) {
            return Err(EpisodeError::NoAnomalies);
        }
        if let ([class], true) = (classes.as_slice(), plan.other_class > 0.0) {
            return Err(EpisodeError::OneClass { class: class.name.clone() });
        }
        Ok(Self { classes, plan, seed })
    }

    /// The steps of an epoch, counted from 0: each holds half a batch of normal, then half a batch of anomalous
    /// queries. Images come in the order of a permutation that starts anew when it ends.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<Query>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch);
        let half = self.plan.batch / 2;
        let draws = half * self.plan.steps;
        let normals = cycled(self.members(|class| &class.normal), draws, &mut rng);
        let anomalies = cycled(self.members(|class| &class.anomalous), draws, &mut rng);
        let steps = normals.chunks(half).zip(anomalies.chunks(half));
        steps
            .map(|(normals, anomalies)| {
                let shots = *self.plan.shots.choose(&mut rng).unwrap_or(&1);
                let normals = normals.iter().map(|member| (*member, false));
                let anomalies = anomalies.iter().map(|member| (*member, true));
                let queries = normals.chain(anomalies);
                queries.map(|(member, anomalous)| self.query(member, anomalous, shots, &mut rng)).collect()
            })
            .collect()
    }

    fn members(&self, images: impl Fn(&ClassImages) -> &Vec<usize>) -> Vec<Member> {
        let classes = self.classes.iter().enumerate();
        classes.flat_map(|(class, of)| images(of).iter().map(move |&image| (class, image))).collect()
    }

    fn query(&self, member: Member, anomalous: bool, shots: usize, rng: &mut ChaCha8Rng) -> Query {
        let (class, image) = member;
        if anomalous && rng.random_bool(self.plan.other_class) {
            return self.other_class_query(shots, rng);
        }
        let normal = &self.classes[class].normal;
        let prompts = match normal.iter().position(|&other| other == image) {
            Some(own) if !self.plan.query_among_prompts => {
                let others = index::sample(rng, normal.len() - 1, shots);
                others.into_iter().map(|other| normal[if other < own { other } else { other + 1 }]).collect()
            }
            _ => index::sample(rng, normal.len(), shots).into_iter().map(|prompt| normal[prompt]).collect(),
        };
        Query { image, class, prompts, anomalous }
    }

    /// A normal image of one class before the prompt set of another.
    fn other_class_query(&self, shots: usize, rng: &mut ChaCha8Rng) -> Query {
        let two = index::sample(rng, self.classes.len(), 2).into_vec();
        let (class, of_image) = (two[0], two[1]);
        let images = &self.classes[of_image].normal;
        let image = images[rng.random_range(0..images.len())];
        let normal = &self.classes[class].normal;
        let prompts =
            index::sample(rng, normal.len(), shots).into_iter().map(|prompt| normal[prompt]).collect();
        Query { image, class, prompts, anomalous: true }
    }
}

/// `count` members of a permutation, repeated as often as need be.
fn cycled(mut members: Vec<Member>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Member> {
    members.shuffle(rng);
    members.iter().copied().cycle().take(count).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn classes(normals: usize) -> Vec<ClassImages> {
        let class = |(position, name): (usize, &str)| {
            let first = position * 100;
            ClassImages {
                name: name.to_owned(),
                normal: (first..first + normals).collect(),
                anomalous: (first + 50..first + 53).collect(),
            }
        };
        ["bolts", "tiles", "cables"].into_iter().enumerate().map(class).collect()
    }

    fn plan(shots: &[usize]) -> EpisodePlan {
        let shots = shots.to_vec();
        EpisodePlan { batch: 16, steps: 5, shots, other_class: 0.5, query_among_prompts: false }
    }

    proptest! {
        #[test]
        fn prompts_are_distinct_normals_of_one_class_without_the_query(seed: u64, epoch in 0u64..9) {
            let classes = classes(9);
            let episodes = Episodes::new(classes.clone(), plan(&[2, 8]), seed).unwrap();
            for step in episodes.epoch(epoch) {
                prop_assert_eq!(step.len(), 16);
                prop_assert!(step[..8].iter().all(|query| !query.anomalous));
                prop_assert!(step[8..].iter().all(|query| query.anomalous));
                for query in step {
                    let class = &classes[query.class];
                    let mut prompts = query.prompts.clone();
                    prompts.sort_unstable();
                    prompts.dedup();
                    prop_assert!(prompts.len() == 2 || prompts.len() == 8);
                    prop_assert_eq!(prompts.len(), query.prompts.len());
                    prop_assert!(prompts.iter().all(|prompt| class.normal.contains(prompt)));
                    prop_assert!(!prompts.contains(&query.image));
                    let of_class = class.normal.contains(&query.image);
                    prop_assert_eq!(of_class, !query.anomalous);
                }
            }
        }
    }

    #[test]
    fn an_epoch_is_drawn_again_the_same_and_another_differs() {
        let draw = |seed, epoch| Episodes::new(classes(9), plan(&[4]), seed).unwrap().epoch(epoch);
        assert_eq!(draw(3, 7), draw(3, 7));
        assert_ne!(draw(3, 7), draw(3, 8));
        assert_ne!(draw(3, 7), draw(4, 7));
    }

    #[test]
    fn half_of_the_anomalies_are_normal_images_of_another_class() {
        let classes = classes(9);
        let mut plan = plan(&[2]);
        plan.steps = 200;
        let steps = Episodes::new(classes.clone(), plan, 1).unwrap().epoch(0);
        let anomalies: Vec<&Query> = steps.iter().flatten().filter(|query| query.anomalous).collect();
        let normal_elsewhere =
            |query: &&&Query| classes.iter().any(|class| class.normal.contains(&query.image));
        let share = anomalies.iter().filter(normal_elsewhere).count() as f64 / anomalies.len() as f64;
        assert!((share - 0.5).abs() < 0.05, "share of other-class anomalies must be near a half, is {share}");
    }

    #[test]
    fn the_authors_way_lets_a_query_stand_among_its_prompts() {
        let plan = EpisodePlan { query_among_prompts: true, other_class: 0.0, ..plan(&[9]) };
        let steps = Episodes::new(classes(9), plan, 1).unwrap().epoch(0);
        let normals = steps.iter().flatten().filter(|query| !query.anomalous);
        assert!(normals.into_iter().all(|query| query.prompts.contains(&query.image)));
    }

    #[test]
    fn a_class_with_too_few_normals_is_named() {
        let refused = Episodes::new(classes(8), plan(&[2, 8]), 1).unwrap_err();
        let expected =
            "class \"bolts\" has 8 normal images, 8 shots need 9; lower `shots` or add normal images";
        assert_eq!(refused.to_string(), expected);
    }

    #[test]
    fn a_data_set_without_anomalies_is_refused() {
        let mut classes = classes(9);
        for class in &mut classes {
            class.anomalous.clear();
        }
        assert_eq!(Episodes::new(classes, plan(&[2]), 1).unwrap_err(), EpisodeError::NoAnomalies);
    }

    #[test]
    fn one_class_has_no_anomalies_of_other_classes() {
        let classes = classes(9)[..1].to_vec();
        let class = "bolts".to_owned();
        assert_eq!(Episodes::new(classes, plan(&[2]), 1).unwrap_err(), EpisodeError::OneClass { class });
    }
}
