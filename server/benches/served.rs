//! Throughput through gRPC against the bare backbone loop at the same precision, and what a call costs besides.
//!
//! `make bench-server`, or `cargo bench --workspace --bench served -- --device cuda:0` on a GPU. Server, client and loop share one process and its cores, in turns, so that whatever else the
//! machine does meets both. Clients send decoded pixels of the backbone's own size: sending costs little, and decoding
//! is no part of the question.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop")]

#[expect(dead_code, reason = "only the drawn backbone of the shared support is used here")]
#[path = "../../model/tests/support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use inctrl_model::device::{self, DeviceChoice};
use inctrl_model::head::contextual::STATISTICS;
use inctrl_model::{Backbone, Device, Head, HeadKind, HeadMetadata, Precision};
use inctrl_proto::v1::anomaly_detection_service_client::AnomalyDetectionServiceClient;
use inctrl_proto::v1::detect_anomaly_request::Prompts;
use inctrl_proto::v1::image::Source;
use inctrl_proto::v1::prompt_set_service_client::PromptSetServiceClient;
use inctrl_proto::v1::{CreatePromptSetRequest, DetectAnomalyRequest, Image, InlinePrompts, RawImage};
use inctrl_server::app::{App, Running};
use inctrl_server::config::{Config, PrecisionChoice, Settings};
use inctrl_server::scorer::fake::FakeScorer;
use inctrl_server::scorer::{Scorer, TorchError, TorchScorer, TorchSpec};
use tch::{Kind, Tensor};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tonic::transport::Channel;

/// Images of a batch, of the server and of the loop: on a CPU, on a GPU.
const BATCHES: [usize; 2] = [8, 64];
/// Batches in flight: one is computed, one waits, one is on its way.
const IN_FLIGHT: usize = 3;
/// Images of the prompt set.
const SHOTS: usize = 4;
/// Turns of each side; the median counts.
const TURNS: usize = 5;
/// How long a turn takes at least.
const SECONDS_PER_TURN: f64 = 8.0;
/// Calls of the latency row.
const CALLS: usize = 2000;
const STARTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.backbones/efficientnet-lite0");

#[expect(clippy::print_stdout, reason = "the table is what a benchmark is run for")]
fn main() {
    inctrl_model::allocator::keep_freed_memory();
    let runtime = Runtime::new().unwrap();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let choice = device_choice();
    let device = choice.open().unwrap().device;
    let place = Place { choice, device, batch: BATCHES[usize::from(device.is_cuda())], threads };
    println!(
        "{}, batches of {}, {} requests in flight, {threads} threads, median of {TURNS} turns",
        device::name(device),
        place.batch,
        place.in_flight()
    );
    let drawn = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    support::generated::write_backbone(drawn.path());
    let backbones = [
        ("ViT-B-16-plus-240, drawn weights", drawn.path().to_owned()),
        ("efficientnet-lite0", PathBuf::from(STARTER)),
    ];
    // A CPU without bfloat16 instructions emulates it; the server does not choose it there.
    let precisions = [("fp32", Precision::Fp32), ("bf16", Precision::Bf16)];
    let precisions = &precisions[..=usize::from(device.is_cuda())];
    println!("{:<34} {:>9} {:>14} {:>14} {:>6}", "backbone", "precision", "backbone loop", "served", "ratio");
    for (name, folder) in backbones {
        if !folder.is_dir() {
            println!("{name:<34} left out: {} is not there; run make backbone", folder.display());
            continue;
        }
        for &(word, precision) in precisions {
            let (bare, served) = compare(&runtime, &folder, precision, place);
            let ratio = served / bare;
            println!("{name:<34} {word:>9} {bare:>10.2} im/s {served:>10.2} im/s {ratio:>6.3}");
        }
    }
    let [median, late] = runtime.block_on(call_latency(place));
    println!(
        "a call with a scorer that answers at once: p50 {median:.0} us, p99 {late:.0} us, one at a time"
    );
}

/// Where both sides compute, and how.
#[derive(Clone, Copy)]
struct Place {
    choice: DeviceChoice,
    device: Device,
    batch: usize,
    threads: usize,
}

impl Place {
    fn in_flight(self) -> usize {
        IN_FLIGHT * self.batch
    }
}

/// `--device cpu|cuda:N` after `--`; the CPU where none is given.
fn device_choice() -> DeviceChoice {
    let words: Vec<String> = std::env::args().collect();
    let named = words.iter().position(|word| word == "--device").map(|flag| words[flag + 1].parse());
    named.unwrap_or(Ok(DeviceChoice::Cpu)).unwrap()
}

/// Images a second of the bare loop and of the server, taken in turns.
fn compare(runtime: &Runtime, folder: &Path, precision: Precision, place: Place) -> (f64, f64) {
    let Place { choice, device, batch, threads } = place;
    tch::set_num_threads(threads as i32);
    let backbone = Backbone::open(folder, device, precision).unwrap();
    let state = tempfile::tempdir().unwrap();
    let head = state.path().join("head");
    std::fs::write(&head, untrained_head(&backbone)).unwrap();
    let spec = TorchSpec {
        backbone: folder.to_owned(),
        device: choice,
        precision: PrecisionChoice::Fixed(precision),
        threads,
    };
    let make = move || Ok::<Box<dyn Scorer>, TorchError>(Box::new(TorchScorer::open(&spec)?));
    let app = App::bind(Config::new(settings(&state, head, place.batch)).unwrap()).unwrap();
    let server = runtime.block_on(app.start(make)).unwrap();
    let side = backbone.info().preprocess.size;
    let channel = runtime.block_on(prepared(server.address(), side, place));

    let pixels =
        Tensor::rand([batch as i64, 3, i64::from(side), i64::from(side)], (Kind::Float, Device::Cpu));
    let batches = batches_per_turn(&backbone, &pixels);
    let (mut bare, mut served) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        bare.push(rate(batches * batch, || (0..batches).for_each(|_| encode(&backbone, &pixels))));
        served.push(runtime.block_on(score(&channel, side, batches * batch, place.in_flight())));
    }
    (median(bare), median(served))
}

fn settings(state: &TempDir, head: PathBuf, batch: usize) -> Settings {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = Settings {
        listen: anywhere,
        admin_listen: anywhere,
        backbone: Some(state.path().to_owned()),
        head: Some(head),
        state_dir: state.path().join("state"),
        ..Settings::default()
    };
    settings.batching.max_size = batch;
    settings
}

/// A contextual head that weighs every statistic alike.
fn untrained_head(backbone: &Backbone) -> Vec<u8> {
    let metadata = HeadMetadata::new(HeadKind::Contextual, backbone.info().clone());
    let each = [1.0_f32; STATISTICS.len()];
    let tensors = [
        ("linear.weight", Tensor::from_slice(&each)),
        ("linear.bias", Tensor::from_slice(&[-2.0_f32])),
        ("standard.mean", Tensor::from_slice(&[0.0_f32; STATISTICS.len()])),
        ("standard.deviation", Tensor::from_slice(&each)),
    ];
    Head::from_tensors(&metadata, tensors, Device::Cpu).unwrap().to_bytes()
}

fn encode(backbone: &Backbone, pixels: &Tensor) {
    std::hint::black_box(backbone.encode_images(pixels).unwrap());
    device::synchronise(backbone.device());
}

/// So many that a turn takes its time; the first batch warms up.
fn batches_per_turn(backbone: &Backbone, pixels: &Tensor) -> usize {
    encode(backbone, pixels);
    let began = Instant::now();
    encode(backbone, pixels);
    (SECONDS_PER_TURN / began.elapsed().as_secs_f64()).ceil() as usize
}

fn rate(images: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    images as f64 / began.elapsed().as_secs_f64()
}

/// A connection to a server that has a prompt set and is warm.
async fn prepared(address: SocketAddr, side: u32, place: Place) -> Channel {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let normal_images = (0..SHOTS).map(|seed| noise(side, seed as u8)).collect();
    let prompts = Some(InlinePrompts { normal_images, object_class: "nut".to_owned() });
    let create = CreatePromptSetRequest { prompt_set_id: "nut".to_owned(), prompts };
    PromptSetServiceClient::new(channel.clone()).create_prompt_set(create).await.unwrap();
    score(&channel, side, 2 * place.batch, place.in_flight()).await;
    channel
}

/// Scores `images` with a fixed number of requests in flight; images a second.
async fn score(channel: &Channel, side: u32, images: usize, in_flight: usize) -> f64 {
    let request = request(side);
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let senders = (0..in_flight).map(|_| {
        let (mut detector, request, next) =
            (AnomalyDetectionServiceClient::new(channel.clone()), request.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < images {
                detector.detect_anomaly(request.clone()).await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    images as f64 / began.elapsed().as_secs_f64()
}

fn request(side: u32) -> DetectAnomalyRequest {
    let prompts = Some(Prompts::PromptSet("promptSets/nut".to_owned()));
    DetectAnomalyRequest { image: Some(noise(side, 99)), prompts, options: None }
}

fn noise(side: u32, seed: u8) -> Image {
    let bytes = (side * side * 3) as usize;
    let rgb: Vec<u8> = (0..bytes)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8 ^ seed.wrapping_mul(37))
        .collect();
    let raw = RawImage { width: side as i32, height: side as i32, rgb: rgb.into() };
    Image { source: Some(Source::Raw(raw)) }
}

/// Median and 99th percentile of a call, in microseconds.
async fn call_latency(place: Place) -> [f64; 2] {
    let state = tempfile::tempdir().unwrap();
    let head = state.path().join("head");
    std::fs::write(&head, "of-the-fake").unwrap();
    let app = App::bind(Config::new(settings(&state, head, place.batch)).unwrap()).unwrap();
    let make = || Ok::<Box<dyn Scorer>, Infallible>(Box::new(FakeScorer::new().0));
    let server: Running = app.start(make).await.unwrap();
    let channel = prepared(server.address(), 8, place).await;
    let (mut detector, request) = (AnomalyDetectionServiceClient::new(channel), request(8));
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        detector.detect_anomaly(request.clone()).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    [CALLS / 2, CALLS * 99 / 100].map(|place| Duration::as_secs_f64(&times[place]) * 1e6)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
