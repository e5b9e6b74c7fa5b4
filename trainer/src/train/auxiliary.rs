//! The auxiliary data: classes of all data sets in one list of images, some of them held out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use inctrl_storage::{Digest, Fingerprint, FingerprintMode};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::config::Training;
use crate::data::{self, DataError, Dataset, DatasetSpec, Sample};
use crate::episodes::ClassImages;

/// Fewest classes of which some are held out: of fewer, each is worth more in training.
const FEWEST_CLASSES_TO_SPLIT: usize = 5;

/// Stream of the generator that the split is drawn from; epochs count up from 0.
const SPLIT_STREAM: u64 = u64::MAX;

/// A class with the name of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Images and the class's name in messages.
    pub images: ClassImages,
    /// What text prompts are made of.
    pub object: String,
}

/// All images that a run reads, and which class they belong to.
#[derive(Debug)]
pub struct AuxiliaryData {
    /// Folder that all images lie below.
    pub root: PathBuf,
    /// The images that [`Class::images`] point to.
    pub paths: Vec<PathBuf>,
    /// Classes to train on.
    pub training: Vec<Class>,
    /// Classes held out.
    pub held_out: Vec<Class>,
    /// Digest of all images and masks.
    pub fingerprint: Fingerprint,
    /// Digest of what is said of the images.
    pub labels: Digest,
}

impl AuxiliaryData {
    /// Reads the data sets and splits their classes. Data sets that cannot give the run's episodes are refused.
    pub fn open(specs: &[DatasetSpec], training: &Training, seed: u64) -> Result<Self, DataError> {
        let datasets: Vec<Dataset> = specs.iter().map(data::open).collect::<Result<_, _>>()?;
        let anomalous = |dataset: &Dataset| dataset.samples.iter().any(Sample::is_anomalous);
        if !datasets.iter().any(anomalous)
            && let Some(first) = datasets.first()
        {
            first.require_anomalies()?;
        }
        let most = training.shots.iter().max().copied().unwrap_or(1);
        let needed = if training.query_among_prompts { most } else { most + 1 };
        datasets.iter().try_for_each(|dataset| dataset.require_normals(needed))?;
        let classes = classes(&datasets);
        let whole = merge(datasets)?;
        let (training, held_out) = split(classes, training.validation_share, seed);
        Ok(Self {
            fingerprint: fingerprint(&whole)?,
            labels: whole.labels(),
            paths: whole.paths(),
            root: whole.root,
            training,
            held_out,
        })
    }

    /// Classes to train on, then those held out: the order that queries name them by.
    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.training.iter().chain(&self.held_out)
    }
}

/// Classes in order of data sets and names; images count on through the data sets.
fn classes(datasets: &[Dataset]) -> Vec<Class> {
    let mut classes = Vec::new();
    let mut first = 0;
    for dataset in datasets {
        for (category, positions) in dataset.by_category() {
            let (anomalous, normal) =
                positions.into_iter().partition(|&position| dataset.samples[position].is_anomalous());
            let shifted = |positions: Vec<usize>| positions.into_iter().map(|at| first + at).collect();
            let name = if datasets.len() == 1 {
                category.to_owned()
            } else {
                format!("{}/{category}", dataset.name)
            };
            let images = ClassImages { name, normal: shifted(normal), anomalous: shifted(anomalous) };
            classes.push(Class { images, object: category.to_owned() });
        }
        first += dataset.samples.len();
    }
    classes
}

/// One data set of several, below the nearest folder that holds them all.
fn merge(mut datasets: Vec<Dataset>) -> Result<Dataset, DataError> {
    if datasets.len() == 1 {
        return Ok(datasets.remove(0));
    }
    let absolute = |path: &Path| {
        path.canonicalize().map_err(|source| DataError::ReadFolder { path: path.to_owned(), source })
    };
    let mut root: Option<PathBuf> = None;
    let mut samples = Vec::new();
    let mut seen = BTreeSet::new();
    for dataset in datasets {
        let below = absolute(&dataset.root)?;
        for mut sample in dataset.samples {
            sample.path = moved(&sample.path, &dataset.root, &below);
            sample.mask = sample.mask.map(|mask| moved(&mask, &dataset.root, &below));
            if !seen.insert(sample.path.clone()) {
                return Err(DataError::Twice { path: sample.path });
            }
            samples.push(sample);
        }
        root = Some(match root {
            Some(root) => common(&root, &below),
            None => below,
        });
    }
    let root = root.unwrap_or_default();
    Ok(Dataset { name: "auxiliary".to_owned(), root, samples })
}

fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    path.strip_prefix(from).map_or_else(|_| path.to_owned(), |below| to.join(below))
}

fn common(one: &Path, other: &Path) -> PathBuf {
    let shared = one.components().zip(other.components()).take_while(|(one, other)| one == other);
    shared.map(|(part, _)| part).collect()
}

/// Content, number and size of all images and masks.
fn fingerprint(dataset: &Dataset) -> Result<Fingerprint, DataError> {
    let files = dataset.samples.iter().flat_map(|sample| [Some(&sample.path), sample.mask.as_ref()]);
    let mut sizes = BTreeMap::new();
    for path in files.flatten() {
        let metadata = std::fs::metadata(path);
        let metadata = metadata.map_err(|source| DataError::ReadFile { path: path.clone(), source })?;
        sizes.insert(path, metadata.len());
    }
    Ok(Fingerprint {
        fingerprint: dataset.fingerprint()?,
        mode: FingerprintMode::Content,
        objects: sizes.len() as u64,
        bytes: sizes.values().sum(),
    })
}

/// Holds out a share of the classes, drawn by the seed, as long as both sides keep anomalies.
fn split(classes: Vec<Class>, share: f64, seed: u64) -> (Vec<Class>, Vec<Class>) {
    let count = (classes.len() as f64 * share).round() as usize;
    if count == 0 || classes.len() < FEWEST_CLASSES_TO_SPLIT {
        return (classes, Vec::new());
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(SPLIT_STREAM);
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.shuffle(&mut rng);
    let chosen: BTreeSet<usize> = order.into_iter().take(count).collect();
    let (held_out, training): (Vec<_>, Vec<_>) =
        classes.iter().cloned().enumerate().partition(|(position, _)| chosen.contains(position));
    let plain = |side: Vec<(usize, Class)>| side.into_iter().map(|(_, class)| class).collect::<Vec<_>>();
    let (held_out, training) = (plain(held_out), plain(training));
    let anomalies = |side: &[Class]| side.iter().any(|class| !class.images.anomalous.is_empty());
    if anomalies(&held_out) && anomalies(&training) && training.len() > 1 {
        (training, held_out)
    } else {
        (classes, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, anomalous: usize) -> Class {
        let images = ClassImages {
            name: name.to_owned(),
            normal: vec![0, 1, 2],
            anomalous: (0..anomalous).map(|image| 10 + image).collect(),
        };
        Class { images, object: name.to_owned() }
    }

    #[test]
    fn a_share_of_the_classes_is_held_out_and_none_is_on_both_sides() {
        let classes: Vec<Class> =
            ["bolts", "tiles", "cables", "rugs", "pills"].map(|name| class(name, 2)).to_vec();
        let (training, held_out) = split(classes.clone(), 0.4, 3);
        assert_eq!((training.len(), held_out.len()), (3, 2));
        assert!(held_out.iter().all(|class| !training.contains(class)));
        assert_eq!(split(classes.clone(), 0.4, 3), (training, held_out));
        assert_eq!(split(classes.clone(), 0.0, 3), (classes, Vec::new()));
    }

    #[test]
    fn few_classes_are_all_trained_on_and_a_side_without_anomalies_is_not_made() {
        let four: Vec<Class> = ["bolts", "tiles", "cables", "rugs"].map(|name| class(name, 2)).to_vec();
        assert_eq!(split(four.clone(), 0.5, 1), (four, Vec::new()));
        let mut one_sided: Vec<Class> = ["a", "b", "c", "d", "e"].map(|name| class(name, 0)).to_vec();
        one_sided[2] = class("c", 3);
        assert_eq!(split(one_sided.clone(), 0.4, 1), (one_sided, Vec::new()));
    }
}
