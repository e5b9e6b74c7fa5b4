//! `--precision auto`: measures the number formats that a device has instructions for, and keeps fp32 unless one is
//! clearly faster: having the instructions says little about speed.

use std::time::Duration;

use inctrl_model::{Backbone, Precision, device};
use tch::{Device, Kind, Tensor};
use tokio::time::Instant;

use crate::config::precision_name;

/// Runs that are timed; the fastest counts, since whatever else runs can only slow one down.
const RUNS: usize = 3;
/// A format must save this share of fp32's time: scores differ a little between formats, which is not worth less.
const WORTHWHILE: f64 = 0.15;

/// Opens the backbone in the number format that computes fastest on its device.
pub(super) fn fastest<E>(
    open: impl Fn(Precision) -> Result<Backbone, E>,
    batch_size: usize,
) -> Result<(Backbone, Precision), E> {
    let full = open(Precision::Fp32)?;
    let candidates = candidates(full.device());
    if candidates.is_empty() {
        return Ok((full, Precision::Fp32));
    }
    let pixels = blank(full.info().preprocess.size, batch_size).to_device(full.device());
    let Some(full_time) = time(&full, &pixels) else { return Ok((full, Precision::Fp32)) };
    let mut best = (full, Precision::Fp32);
    let mut best_time = full_time.mul_f64(1.0 - WORTHWHILE);
    for &precision in candidates {
        let backbone = open(precision)?;
        let taken = time(&backbone, &pixels);
        tracing::info!(
            precision = precision_name(precision),
            batch_ms = taken.map(|time| time.as_millis() as u64),
            fp32_batch_ms = full_time.as_millis() as u64,
            images = batch_size,
            "measured a precision"
        );
        if let Some(taken) = taken
            && taken < best_time
        {
            (best, best_time) = ((backbone, precision), taken);
        }
    }
    Ok(best)
}

/// Normalised pixels of `batch` grey images of side `size`.
pub(super) fn blank(size: u32, batch: usize) -> Tensor {
    let side = i64::from(size);
    Tensor::zeros([batch as i64, 3, side, side], (Kind::Float, Device::Cpu))
}

/// Formats beside fp32 worth a try. A CPU without bf16 instructions emulates it, slower by an order of magnitude: not
/// even one batch is tried there, since a server has to start.
fn candidates(device: Device) -> &'static [Precision] {
    match device {
        device if device.is_cuda() => &[Precision::Bf16, Precision::Fp16],
        _ if cpu_computes_bf16() => &[Precision::Bf16],
        _ => &[],
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_computes_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "aarch64")]
fn cpu_computes_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_computes_bf16() -> bool {
    false
}

/// Time of a batch after one to warm up; none when the backbone cannot compute in this format.
fn time(backbone: &Backbone, pixels: &Tensor) -> Option<Duration> {
    let run = || {
        let started = Instant::now();
        let features = backbone.encode_images(pixels).ok()?;
        device::synchronise(backbone.device());
        let is_finite = features.class.isfinite().all().int64_value(&[]) == 1;
        is_finite.then(|| started.elapsed())
    };
    run()?;
    (0..RUNS).map(|_| run()).collect::<Option<Vec<Duration>>>()?.into_iter().min()
}
