//! What a query costs at the full ViT-B-16-plus-240 size: the backbone alone, a whole query with warm caches, and the
//! authors' way, which encodes all text prompts and the prompt set again for every query.
//!
//! `cargo bench -p inctrl-model`; a few minutes on two cores. Weights are drawn: they cost what trained ones do.
#![expect(clippy::unwrap_used, reason = "what a benchmark cannot do must end it")]

#[expect(dead_code, reason = "only what the shared support draws is used here")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
#[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
use std::time::Instant;

use inctrl_model::{
    Backbone, Device, Head, ImageLimits, Pixels, Precision, PromptFeatures, Residuals, Scores,
};
use support::generated;
use tch::Tensor;

/// Images of the prompt set.
const SHOTS: usize = 4;

/// Queries that travel together in the batched rows.
const BATCH: usize = 8;

/// Each time is the median of as many runs as fit into this, of at least three.
const SECONDS_PER_TIME: f64 = 6.0;

/// The authors pad every sentence to the 77 tokens of the context, this crate encodes its tokens alone. A name this
/// long fills the context, so that encoding it is the authors' work.
const FILLING_OBJECT_WORDS: usize = 80;

/// A backbone with all that scoring needs.
struct Bench {
    backbone: Backbone,
    head: Head,
    /// An encoded photograph.
    image: Vec<u8>,
    prompts: PromptFeatures,
}

#[expect(clippy::print_stdout, reason = "the table is what a benchmark is run for")]
fn main() {
    inctrl_model::allocator::keep_freed_memory();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    generated::write_backbone(folder.path());
    println!("ViT-B-16-plus-240 with drawn weights, K = {SHOTS}, {} threads", tch::get_num_threads());
    println!(
        "{:>9} {:>6} {:>14} {:>14} {:>14}",
        "precision", "batch", "backbone", "whole query", "authors' way"
    );
    let mut scores = Vec::new();
    for precision in [Precision::Fp32, Precision::Bf16] {
        let bench = Bench::open(folder.path(), precision);
        let authors = seconds(1, || bench.authors_way());
        for batch in [1, BATCH] {
            let pixels = bench.stack(batch);
            let backbone = seconds(3, || bench.backbone.encode_images(&pixels).unwrap()) / batch as f64;
            let query = seconds(3, || bench.queries(batch)) / batch as f64;
            let times = format!("{:>11.1} ms {:>11.1} ms {authors:>12.2} s", 1e3 * backbone, 1e3 * query);
            println!(
                "{precision:>9?} {batch:>6} {times}   {:.0} x less than the authors' way",
                authors / query
            );
        }
        scores.push(bench.queries(1)[0].score);
    }
    println!("score in bf16 differs from fp32 by {:.1e}", (scores[1] - scores[0]).abs());
}

impl Bench {
    fn open(folder: &Path, precision: Precision) -> Self {
        let backbone = Backbone::open(folder, Device::Cpu, precision).unwrap();
        let head = generated::head(backbone.info());
        let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/official-parity/images/q1.jpg");
        let image = std::fs::read(image).unwrap();
        let prompts = encode_prompts(&backbone, &image, "metal_nut");
        Self { backbone, head, image, prompts }
    }

    /// The photograph several times over, as a batch.
    fn stack(&self, batch: usize) -> Tensor {
        let pixels: Vec<Pixels> = (0..batch).map(|_| load(&self.backbone, &self.image)).collect();
        self.backbone.stack(&pixels.iter().collect::<Vec<_>>()).unwrap()
    }

    /// From encoded images to scores; prompt set and text features are at hand.
    fn queries(&self, batch: usize) -> Vec<Scores> {
        self.score(batch, &self.prompts)
    }

    /// One query, for which everything is encoded.
    fn authors_way(&self) -> Vec<Scores> {
        let prompts = encode_prompts(&self.backbone, &self.image, &"part ".repeat(FILLING_OBJECT_WORDS));
        self.score(1, &prompts)
    }

    fn score(&self, batch: usize, prompts: &PromptFeatures) -> Vec<Scores> {
        let features = self.backbone.encode_images(&self.stack(batch)).unwrap();
        self.head.score(&Residuals::new(&features, prompts), prompts).unwrap()
    }
}

fn load(backbone: &Backbone, image: &[u8]) -> Pixels {
    let limits = ImageLimits { max_bytes: 1 << 24, max_pixels: 1 << 24 };
    backbone.info().preprocess.load(image, &limits).unwrap()
}

fn encode_prompts(backbone: &Backbone, image: &[u8], object: &str) -> PromptFeatures {
    let images: Vec<Pixels> = (0..SHOTS).map(|_| load(backbone, image)).collect();
    PromptFeatures::encode(backbone, &images.iter().collect::<Vec<_>>(), object).unwrap()
}

/// Median seconds of `work`, run at least `least` times after one run to warm up.
#[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
fn seconds<T>(least: usize, work: impl Fn() -> T) -> f64 {
    let run = || {
        let start = Instant::now();
        std::hint::black_box(work());
        start.elapsed().as_secs_f64()
    };
    if least > 1 {
        run();
    }
    let mut times = vec![];
    while times.len() < least || times.iter().sum::<f64>() < SECONDS_PER_TIME {
        times.push(run());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
