//! The independent axes of the benchmark, each with random numbers of its own.
//!
//! F family, I instance of a family, N nuisance of an image, D defect, S severity. A stream is a function of version,
//! seed, axis and place alone, so that drawing more on one axis leaves the others as they are.

use inctrl_storage::Digest;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Changes whenever the same seed would give other images.
pub const VERSION: u32 = 1;

/// What random numbers are for. Families (F) are a fixed table: nothing is drawn for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    /// I: colours, scales and layout of an instance, and which variation is legal for it.
    Instance,
    /// N: pose, light, blur, noise, compression and fine detail of an image.
    Nuisance,
    /// D: place and shape of a defect.
    Defect,
    /// S: how strong a defect is within its bin.
    Severity,
}

/// Random numbers by axis and place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeds {
    seed: u64,
}

impl Seeds {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The numbers of one place (a category, an image) on one axis.
    pub(crate) fn stream(self, axis: Axis, place: &str) -> ChaCha8Rng {
        let name = format!("inctrl synth {VERSION}/{}/{axis:?}/{place}", self.seed);
        ChaCha8Rng::from_seed(*Digest::of(name).as_bytes())
    }
}

/// How strong a defect is. Every operator is asked for each bin equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Hard to see.
    Low,
    /// Seen by who looks for it.
    Medium,
    /// Seen at a glance.
    High,
}

impl Severity {
    /// The bin of the n-th defect.
    pub(crate) fn of(number: usize) -> Self {
        [Self::Low, Self::Medium, Self::High][number % 3]
    }

    /// A strength in 0..=1 within the bin.
    pub(crate) fn draw(self, rng: &mut ChaCha8Rng) -> f32 {
        match self {
            Self::Low => rng.random_range(0.1..0.35),
            Self::Medium => rng.random_range(0.35..0.65),
            Self::High => rng.random_range(0.65..1.0),
        }
    }
}
