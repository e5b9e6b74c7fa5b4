//! The folders: MVTec's layout and a description of what is in them, there whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};
use rayon::prelude::*;

use super::axes::VERSION;
use super::draw::{Defect, Drawn};
use super::manifest::{CategoryRecord, DefectRecord, ImageRecord, MANIFEST_FILE, Manifest};
use super::plan::{Plan, Planned, Role, Set};
use super::{Options, SynthError};
use crate::files::{Durability, write_whole};
use crate::progress::Progress;

/// Draws all images of `plan` into the folders of both sets below `root`.
pub(super) fn write(plan: &Plan, options: &Options, root: &Path) -> Result<(), SynthError> {
    let progress = Mutex::new(Progress::new("drawing the benchmark", plan.images.len()));
    let records: Result<Vec<(Set, ImageRecord)>, SynthError> = plan
        .images
        .par_iter()
        .map(|planned| {
            let record = write_image(plan, planned, root)?;
            progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).advance(1);
            Ok(record)
        })
        .collect();
    let mut by_set: [(Set, Vec<ImageRecord>); 2] =
        [Set::Auxiliary, Set::HeldOut].map(|set| (set, Vec::new()));
    for (set, record) in records? {
        by_set[usize::from(set == Set::HeldOut)].1.push(record);
    }
    for (set, images) in by_set {
        let path = root.join(set.folder()).join(MANIFEST_FILE);
        let text = serde_json::to_vec_pretty(&describe(plan, options, set, images))
            .expect("names and numbers can always be written as JSON");
        write_whole(&path, &text, Durability::Durable)
            .map_err(|source| SynthError::Write { path, source })?;
    }
    Ok(())
}

fn write_image(plan: &Plan, planned: &Planned, root: &Path) -> Result<(Set, ImageRecord), SynthError> {
    let category = &plan.categories[planned.category];
    let Drawn { file, defect } = plan.draw(planned);
    let kind = defect.as_ref().map_or("good", |defect| defect.operator.name);
    let (split, number) = match planned.role {
        Role::Prompt => ("train", planned.nuisance),
        Role::NormalQuery => ("test", planned.nuisance),
        Role::Anomaly { number, .. } => ("test", number),
    };
    let image = format!("{}/{split}/{kind}/{number:03}.jpg", category.name);
    let folder = root.join(category.set.folder());
    put(&folder.join(&image), &file)?;
    let defect = match defect {
        None => None,
        Some(Defect { operator, severity, strength, mask }) => {
            let path = format!("{}/ground_truth/{kind}/{number:03}_mask.png", category.name);
            put(&folder.join(&path), &mask_file(&mask, plan.side))?;
            let twin = match category.set {
                Set::Auxiliary => None,
                Set::HeldOut => Some(format!("{}/test/good/{:03}.jpg", category.name, planned.nuisance)),
            };
            let pixels = mask.iter().filter(|pixel| **pixel).count();
            let (operator, seen) = (operator.name.to_owned(), operator.seen);
            Some(DefectRecord { operator, seen, severity, strength, mask: path, pixels, twin })
        }
    };
    Ok((category.set, ImageRecord { path: image, category: category.name.clone(), defect }))
}

/// The temporary root gets its name when it is whole, so that its files need none of their own.
fn put(path: &Path, bytes: &[u8]) -> Result<(), SynthError> {
    let failed = |source| SynthError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}

/// 8-bit grey PNG, 255 where anomalous.
pub(crate) fn mask_file(mask: &[bool], side: usize) -> Vec<u8> {
    let bytes: Vec<u8> = mask.iter().map(|pixel| if *pixel { 255 } else { 0 }).collect();
    png(&bytes, side, ExtendedColorType::L8)
}

/// A square PNG, packed for speed.
pub(crate) fn png(bytes: &[u8], side: usize, colour: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Up)
        .write_image(bytes, side as u32, side as u32, colour)
        .expect("a square picture in memory can be encoded");
    file
}

fn describe(plan: &Plan, options: &Options, set: Set, images: Vec<ImageRecord>) -> Manifest {
    let of_set = || plan.categories.iter().filter(|category| category.set == set);
    let defects: BTreeMap<String, bool> = images
        .iter()
        .filter_map(|image| image.defect.as_ref())
        .map(|defect| (defect.operator.clone(), defect.seen))
        .collect();
    let instance = |category: &super::plan::Category| CategoryRecord {
        family: category.family.name.to_owned(),
        seen: category.family.seen,
        object: category.family.object,
        instance: category.number,
        legal: category.legal,
    };
    Manifest {
        benchmark: super::BENCHMARK.to_owned(),
        version: VERSION,
        set,
        options: options.clone(),
        categories: of_set().map(|category| (category.name.clone(), category.family.seen)).collect(),
        defects,
        instances: of_set().map(|category| (category.name.clone(), instance(category))).collect(),
        images,
    }
}

/// What is at the place where the benchmark shall be.
pub(super) enum Found {
    /// Nothing, or an empty folder.
    Free,
    /// This benchmark with these options.
    Same,
    /// This benchmark with other options, or of another version.
    Other,
}

/// Looks at the place; a folder with anything else in it, however deep, is refused.
pub(super) fn look(out: &Path, options: &Options) -> Result<Found, SynthError> {
    let failed = |source| SynthError::Read { path: out.to_owned(), source };
    let entries = match std::fs::read_dir(out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Free),
        entries => entries.map_err(failed)?,
    };
    let names: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let names = names.map_err(failed)?;
    if names.is_empty() {
        return Ok(Found::Free);
    }
    let sets = [Set::Auxiliary, Set::HeldOut].map(|set| out.join(set.folder()));
    if let Some(stranger) = names.iter().find(|name| !sets.contains(name)) {
        return Err(SynthError::NotOurs { out: out.to_owned(), found: stranger.clone() });
    }
    let mut same = names.len() == sets.len();
    let mut manifests = Vec::new();
    for set in &names {
        let known = std::fs::read(set.join(MANIFEST_FILE)).ok();
        let known: Option<Manifest> = known.and_then(|text| serde_json::from_slice(&text).ok());
        let Some(known) = known.filter(|known| known.benchmark == super::BENCHMARK) else {
            return Err(SynthError::NotOurs { out: out.to_owned(), found: set.clone() });
        };
        same &= known.version == VERSION && known.options == *options;
        manifests.push((set, known));
    }
    if same {
        return Ok(Found::Same);
    }
    for (set, known) in manifests {
        if let Some(stranger) = stranger(set, set, &listed(&known)).map_err(failed)? {
            return Err(SynthError::NotOurs { out: out.to_owned(), found: stranger });
        }
    }
    Ok(Found::Other)
}

/// The files that a set's description speaks of, and itself.
fn listed(manifest: &Manifest) -> BTreeSet<PathBuf> {
    let files = manifest.images.iter().flat_map(|image| {
        [Some(&image.path), image.defect.as_ref().map(|defect| &defect.mask)].into_iter().flatten()
    });
    files.map(PathBuf::from).chain([MANIFEST_FILE.into()]).collect()
}

/// A file below `folder`, itself below `root`, that is not among those `listed`.
fn stranger(root: &Path, folder: &Path, listed: &BTreeSet<PathBuf>) -> std::io::Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let found = if entry.file_type()?.is_dir() {
            stranger(root, &path, listed)?
        } else {
            let known = path.strip_prefix(root).is_ok_and(|below| listed.contains(below));
            (!known).then_some(path)
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
