//! What a query costs at the full ViT-B-16-plus-240 size: the backbone alone, a whole query with warm caches, and the
//! authors' way, which encodes all text prompts and the prompt set again for every query.
//!
//! `cargo bench --workspace --bench query`, with `-- --device cuda:0` on a GPU; a few minutes on two cores. Weights are
//! drawn: they cost what trained ones do.
#![expect(clippy::unwrap_used, reason = "what a benchmark cannot do must end it")]

#[expect(dead_code, reason = "only what the shared support draws is used here")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
#[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
use std::time::Instant;

use inctrl_model::device::{self, DeviceChoice};
use inctrl_model::{
    Backbone, Device, Head, ImageLimits, Pixels, Precision, PromptFeatures, Residuals, Scores,
};
use support::generated;
use tch::{Kind, Tensor};

/// The prompt set, and the query.
const PROMPTS: [&str; 4] = ["n0.png", "n1.jpg", "n2.png", "n3.jpg"];
const QUERY: &str = "q1.jpg";

/// Each time is the median of as many runs as fit into this, of at least three.
const SECONDS_PER_TIME: f64 = 6.0;

/// The authors pad every sentence to the 77 tokens of the context, this crate encodes its tokens alone. A name this
/// long fills the context, so that encoding it is the authors' work.
const FILLING_OBJECT_WORDS: usize = 80;

/// Multiplications and additions of the image tower for one image: eleven whole blocks, and of the last one keys, values
/// and the class token's row, over 226 tokens of width 896.
const OPERATIONS_PER_IMAGE: f64 = {
    let (tokens, width) = (226.0, 896.0);
    let block = 2.0 * 12.0 * tokens * width * width + 4.0 * tokens * tokens * width;
    let last = 2.0 * 2.0 * tokens * width * width;
    let patches = 2.0 * 225.0 * 768.0 * width;
    11.0 * block + last + patches
};

/// Side of the matrices whose product is the ceiling on a GPU; a quarter of it on a CPU.
const PRODUCT_SIDE: i64 = 8192;

/// A backbone with all that scoring needs.
struct Bench {
    backbone: Backbone,
    precision: Precision,
    head: Head,
    prompts: PromptFeatures,
}

#[expect(clippy::print_stdout, reason = "the table is what a benchmark is run for")]
fn main() {
    inctrl_model::allocator::keep_freed_memory();
    let device = device();
    let batches: &[usize] = if device.is_cuda() { &[1, 8, 64] } else { &[1, 8] };
    let precisions: &[Precision] = match device {
        device if device.is_cuda() => &[Precision::Fp32, Precision::Bf16, Precision::Fp16],
        _ => &[Precision::Fp32, Precision::Bf16],
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    generated::write_backbone(folder.path());
    println!(
        "ViT-B-16-plus-240 with drawn weights, K = {}, {}, {} threads",
        PROMPTS.len(),
        device::name(device),
        tch::get_num_threads()
    );
    println!("per image; the last column is the share of the rate of one large matrix product");
    println!(
        "{:>9} {:>6} {:>13} {:>13} {:>13} {:>13} {:>8} {:>8}",
        "precision", "batch", "backbone", "from pixels", "whole query", "authors' way", "ratio", "rate"
    );
    let mut scores = Vec::new();
    for &precision in precisions {
        let bench = Bench::open(folder.path(), device, precision);
        let authors = bench.seconds(1, || bench.authors_way());
        let ceiling = bench.matrix_product_rate();
        for &batch in batches {
            let pixels = bench.stack(&vec![bench.load(QUERY); batch]);
            let encode = || bench.backbone.encode_images(&pixels).unwrap();
            let backbone = bench.seconds(3, encode) / batch as f64;
            let loaded: Vec<Pixels> = (0..batch).map(|_| bench.load(QUERY)).collect();
            let decoded = bench.seconds(3, || bench.score(&loaded, &bench.prompts)) / batch as f64;
            let query = bench.seconds(3, || bench.queries(batch)) / batch as f64;
            println!(
                "{:>9} {batch:>6} {:>10.2} ms {:>10.2} ms {:>10.2} ms {:>11.2} s {:>6.0} x {:>6.0} %",
                format!("{precision:?}"),
                1e3 * backbone,
                1e3 * decoded,
                1e3 * query,
                authors,
                authors / query,
                100.0 * OPERATIONS_PER_IMAGE / backbone / ceiling
            );
        }
        println!("{:>9} one large matrix product: {:.3} TFLOP/s", "", ceiling / 1e12);
        scores.push(bench.queries(1)[0].score);
    }
    for (precision, score) in precisions.iter().zip(&scores).skip(1) {
        println!("score in {precision:?} differs from fp32 by {:.1e}", (score - scores[0]).abs());
    }
}

/// `--device cpu|cuda:N` after `--`; the CPU where none is given.
fn device() -> Device {
    let words: Vec<String> = std::env::args().collect();
    let named = words.iter().position(|word| word == "--device").map(|flag| words[flag + 1].parse());
    named.unwrap_or(Ok(DeviceChoice::Cpu)).unwrap().open().unwrap().device
}

impl Bench {
    fn open(folder: &Path, device: Device, precision: Precision) -> Self {
        let backbone = Backbone::open(folder, device, precision).unwrap();
        let head = generated::head(backbone.info(), device);
        let prompts = encode_prompts(&backbone, "metal_nut");
        Self { backbone, precision, head, prompts }
    }

    fn load(&self, name: &str) -> Pixels {
        load(&self.backbone, name)
    }

    fn stack(&self, images: &[Pixels]) -> Tensor {
        self.backbone.stack(&images.iter().collect::<Vec<_>>()).unwrap()
    }

    /// From encoded images to scores; prompt set and text features are at hand.
    fn queries(&self, batch: usize) -> Vec<Scores> {
        let images: Vec<Pixels> = (0..batch).map(|_| self.load(QUERY)).collect();
        self.score(&images, &self.prompts)
    }

    /// One query, for which everything is encoded.
    fn authors_way(&self) -> Vec<Scores> {
        let prompts = encode_prompts(&self.backbone, &"part ".repeat(FILLING_OBJECT_WORDS));
        self.score(&[self.load(QUERY)], &prompts)
    }

    fn score(&self, images: &[Pixels], prompts: &PromptFeatures) -> Vec<Scores> {
        let features = self.backbone.encode_images(&self.stack(images)).unwrap();
        self.head.score(&Residuals::new(&features, prompts), prompts).unwrap()
    }

    /// Operations a second of a product of random matrices, in this precision.
    fn matrix_product_rate(&self) -> f64 {
        let device = self.backbone.device();
        let side = if device.is_cuda() { PRODUCT_SIDE } else { PRODUCT_SIDE / 4 };
        let kind = match self.precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::Fp16 => Kind::Half,
        };
        let matrix = || Tensor::randn([side, side], (Kind::Float, device)).to_kind(kind);
        let (left, right) = (matrix(), matrix());
        2.0 * (side as f64).powi(3) / self.seconds(3, || left.matmul(&right))
    }

    /// Median seconds of `work`, run at least `least` times after one run to warm up.
    #[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
    fn seconds<T>(&self, least: usize, work: impl Fn() -> T) -> f64 {
        let run = || {
            let start = Instant::now();
            std::hint::black_box(work());
            device::synchronise(self.backbone.device());
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
}

/// Reads and decodes one of the photographs of the parity data.
fn load(backbone: &Backbone, name: &str) -> Pixels {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/official-parity/images");
    let limits = ImageLimits { max_bytes: 1 << 24, max_pixels: 1 << 24 };
    backbone.info().preprocess.load(&std::fs::read(images.join(name)).unwrap(), &limits).unwrap()
}

fn encode_prompts(backbone: &Backbone, object: &str) -> PromptFeatures {
    let images = PROMPTS.map(|name| load(backbone, name));
    PromptFeatures::encode(backbone, &images.each_ref(), object).unwrap()
}
