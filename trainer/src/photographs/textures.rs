//! Windows of texture photographs: prompts from the left half, queries from the right, defects on some of these.

use std::path::Path;

use image::{ExtendedColorType, ImageReader};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Output, PhotographsError, SIDE};
use crate::synth::axes::{Axis, Seeds, Severity};
use crate::synth::canvas::{Canvas, Point, Rgb};
use crate::synth::defects::{self, Action, Edit, Operator, Paint, Scene};
use crate::synth::png;

const PHOTOGRAPHS: [&str; 3] = ["brick", "grass", "gravel"];

/// Defects that a grey surface can have: four kinds that training may see on other surfaces, two that it may not.
const DEFECTS: [&str; 6] = ["scratch", "stain", "hole", "foreign", "blur", "contrast"];

const PROMPTS: usize = 16;
const NORMAL_QUERIES: usize = 24;
const QUERIES_OF_A_DEFECT: usize = 9;

/// Draws of place and shape until a defect can be seen; the last one is taken as it is.
const ATTEMPTS: usize = 8;

/// A grey photograph.
struct Photograph {
    name: &'static str,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Files of the data set `textures`.
pub(super) fn draw(from: &Path, seed: u64) -> Result<Vec<Output>, PhotographsError> {
    let photographs: Result<Vec<Photograph>, _> =
        PHOTOGRAPHS.iter().map(|name| Photograph::read(from, name)).collect();
    let photographs = photographs?;
    let seeds = Seeds::new(seed);
    let paints: Vec<(Operator, Paint)> = defects::all().into_iter().filter_map(paint_of).collect();
    let jobs: Vec<(usize, Job)> = (0..photographs.len())
        .flat_map(|photograph| {
            let prompts = (0..PROMPTS).map(Job::Prompt);
            let normals = (0..NORMAL_QUERIES).map(Job::Normal);
            let defects = (0..paints.len() * QUERIES_OF_A_DEFECT).map(Job::Defect);
            prompts.chain(normals).chain(defects).map(move |job| (photograph, job))
        })
        .collect();
    let files = jobs.into_par_iter().map(|(number, job)| {
        let photograph = &photographs[number];
        let other = &photographs[(number + 1) % photographs.len()];
        photograph.draw(job, seeds, &paints, other)
    });
    Ok(files.collect::<Vec<_>>().concat())
}

fn paint_of(operator: Operator) -> Option<(Operator, Paint)> {
    match operator.action {
        Action::Surface(paint) if DEFECTS.contains(&operator.name) => Some((operator, paint)),
        Action::Surface(_) | Action::DirectedSurface(_) | Action::Parts(_) | Action::Turn | Action::Hue => {
            None
        }
    }
}

/// What to draw, with its number among its kind.
#[derive(Debug, Clone, Copy)]
enum Job {
    Prompt(usize),
    Normal(usize),
    Defect(usize),
}

impl Photograph {
    fn read(from: &Path, name: &'static str) -> Result<Self, PhotographsError> {
        let path = from.join(format!("{name}.png"));
        let failed = |source| PhotographsError::Read { path: path.clone(), source };
        let reader = ImageReader::open(&path).map_err(failed)?.with_guessed_format().map_err(failed)?;
        let image = reader
            .decode()
            .map_err(|error| PhotographsError::Content { path: path.clone(), reason: error.to_string() })?
            .into_luma8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width < 2 * SIDE || height < SIDE {
            let reason =
                format!("it has {width} x {height} pixels and must have two windows of {SIDE} side by side");
            return Err(PhotographsError::Content { path, reason });
        }
        Ok(Self { name, width, height, pixels: image.into_raw() })
    }

    /// A window of one half; halves share no pixel.
    fn window(&self, right: bool, rng: &mut ChaCha8Rng) -> Canvas {
        let half = self.width / 2;
        let left = if right { half } else { 0 } + rng.random_range(0..=(half - SIDE) as u32) as usize;
        let top = rng.random_range(0..=(self.height - SIDE) as u32) as usize;
        let row = |y: usize| &self.pixels[(top + y) * self.width + left..][..SIDE];
        let pixels = (0..SIDE).flat_map(row).map(|value| Rgb::gray(f32::from(*value) / 255.0)).collect();
        Canvas { side: SIDE, pixels }
    }

    fn draw(&self, job: Job, seeds: Seeds, paints: &[(Operator, Paint)], other: &Self) -> Vec<Output> {
        let name = self.name;
        let mut place = seeds.stream(Axis::Nuisance, &format!("photographs/{name}/{job:?}"));
        match job {
            Job::Prompt(number) => {
                let window = self.window(false, &mut place);
                vec![(format!("textures/{name}/train/good/{number:03}.png"), grey_png(&window))]
            }
            Job::Normal(number) => {
                let window = self.window(true, &mut place);
                vec![(format!("textures/{name}/test/good/{number:03}.png"), grey_png(&window))]
            }
            Job::Defect(number) => {
                let (operator, paint) = paints[number % paints.len()];
                let number = number / paints.len();
                let window = self.window(true, &mut place);
                let place = format!("photographs/{name}/{}/{number}", operator.name);
                let edit = painted(&window, paint, Severity::of(number), (seeds, &place), other);
                let kind = operator.name;
                vec![
                    (
                        format!("textures/{name}/test/{kind}/{number:03}.png"),
                        grey_png(&edit.blended(&window)),
                    ),
                    (
                        format!("textures/{name}/ground_truth/{kind}/{number:03}_mask.png"),
                        crate::synth::mask_file(&edit.mask(), SIDE),
                    ),
                ]
            }
        }
    }
}

/// A visible defect on a window, in grey like the photograph: colour would tell it at once.
fn painted(
    window: &Canvas,
    paint: Paint,
    severity: Severity,
    (seeds, place): (Seeds, &str),
    other: &Photograph,
) -> Edit {
    let strength = severity.draw(&mut seeds.stream(Axis::Severity, place));
    let edit = |attempt: usize| {
        let mut rng = seeds.stream(Axis::Defect, &format!("{place}/{attempt}"));
        let stranger = other.window(true, &mut rng);
        let margin = 0.2 * SIDE as f32..0.8 * SIDE as f32;
        let scene = Scene {
            canvas: window,
            place: &|rng| Point::new(rng.random_range(margin.clone()), rng.random_range(margin.clone())),
            foreign: &|| stranger.clone(),
        };
        let mut edit = paint(&scene, &mut rng, strength);
        for pixel in &mut edit.content.pixels {
            *pixel = Rgb::gray(pixel.luma());
        }
        edit
    };
    let visible = (0..ATTEMPTS).map(edit).find(|edit| edit.is_visible(window));
    visible.unwrap_or_else(|| edit(ATTEMPTS))
}

fn grey_png(canvas: &Canvas) -> Vec<u8> {
    let bytes: Vec<u8> = canvas.to_bytes().chunks_exact(3).map(|pixel| pixel[0]).collect();
    png(&bytes, SIDE, ExtendedColorType::L8)
}
