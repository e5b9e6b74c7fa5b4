//! Where to compute: CUDA where it is wanted and can be had, and why not where it cannot.
//!
//! The programs link libtorch's CPU library only. Its CUDA half registers itself when it is opened, which must happen
//! before libtorch is first asked for a device.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tch::{Cuda, Device};

const CUDA_LIBRARY: &str = "libtorch_cuda.so";
/// Any of libtorch's libraries that this program is linked with.
const LINKED_LIBRARY: &str = "libtorch_cpu.so";

/// Where to compute, as users write it: `auto`, `cpu` or `cuda:N`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum DeviceChoice {
    /// CUDA where it can be had, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of that number, or an error.
    Cuda(usize),
}

/// The device that a choice came to.
#[derive(Debug)]
pub struct Chosen {
    /// Where to compute.
    pub device: Device,
    /// Why it is the CPU although [`DeviceChoice::Auto`] would rather have had CUDA.
    pub instead_of_cuda: Option<DeviceError>,
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A word that names none.
    #[error("{word:?} is no device; write auto, cpu or cuda:N")]
    Word {
        /// The word.
        word: String,
    },
    /// The CUDA half of libtorch is not at hand.
    #[error(
        "device {device} needs {CUDA_LIBRARY}, which cannot be opened ({reason}); run `make libtorch CUDA=1`, or choose --device cpu"
    )]
    NoLibrary {
        /// The device asked for.
        device: String,
        /// What was looked at.
        reason: String,
    },
    /// libtorch sees fewer devices.
    #[error(
        "device {device} is not there: libtorch sees {count} CUDA devices; look at nvidia-smi, or choose --device cpu"
    )]
    NoDevice {
        /// The device asked for.
        device: String,
        /// Devices that libtorch sees.
        count: i64,
    },
}

impl DeviceChoice {
    /// Finds the device, and opens the CUDA half of libtorch where it is needed.
    pub fn open(self) -> Result<Chosen, DeviceError> {
        let chosen = |device| Chosen { device, instead_of_cuda: None };
        match self {
            Self::Cpu => Ok(chosen(Device::Cpu)),
            Self::Cuda(index) => cuda(index).map(chosen),
            Self::Auto => Ok(cuda(0)
                .map_or_else(|error| Chosen { device: Device::Cpu, instead_of_cuda: Some(error) }, chosen)),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(word: &str) -> Result<Self, DeviceError> {
        match (word, word.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(Ok(index))) => Ok(Self::Cuda(index)),
            _ => Err(DeviceError::Word { word: word.to_owned() }),
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

/// Reads the word in place, so that errors tell line and column.
impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = DeviceChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto, cpu or cuda:N")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<DeviceChoice, E> {
                word.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Word)
    }
}

/// The word for a device.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Cpu | Device::Mps | Device::Vulkan => "cpu".to_owned(),
    }
}

/// Waits until a device has done what it was given; a CPU always has.
pub fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

fn cuda(index: usize) -> Result<Device, DeviceError> {
    let device = format!("cuda:{index}");
    open_library().map_err(|reason| DeviceError::NoLibrary { device: device.clone(), reason })?;
    let count = Cuda::device_count();
    if count <= index as i64 {
        return Err(DeviceError::NoDevice { device, count });
    }
    Ok(Device::Cuda(index))
}

/// Opens the CUDA half of libtorch and leaves it open; tells what was wrong with each file tried.
fn open_library() -> Result<(), String> {
    let mut reasons = Vec::new();
    for path in candidates() {
        if path.is_absolute() && !path.is_file() {
            reasons.push(format!("{} is not there", path.display()));
            continue;
        }
        match open(&path) {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(reasons.join("; "))
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "opening a library runs its initialisers")]
fn open(path: &Path) -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the initialisers are those of libtorch's own CUDA library, which registers itself with the CPU library
    // that this program is linked with; it is never closed.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL)? };
    std::mem::forget(library);
    Ok(())
}

/// Beside the library that this program runs with, in `cuda/` beside its folder, and wherever the system looks.
fn candidates() -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    if let Some(folder) = linked_folder() {
        candidates.push(folder.join(CUDA_LIBRARY));
        candidates.extend(folder.parent().map(|libtorch| libtorch.join("cuda").join(CUDA_LIBRARY)));
    }
    candidates.push(PathBuf::from(CUDA_LIBRARY));
    candidates
}

/// The folder of the libtorch that this program runs with, read from the process' map of its memory.
fn linked_folder() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut paths = maps.lines().filter_map(|line| line.find('/').and_then(|start| line.get(start..)));
    let library = paths.find(|path| path.ends_with(LINKED_LIBRARY))?;
    Path::new(library).parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_devices_and_others_are_refused_with_those_that_do() {
        for word in ["auto", "cpu", "cuda:3"] {
            assert_eq!(word.parse::<DeviceChoice>().unwrap().to_string(), word);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for word in ["gpu", "cuda:", "cuda:-1", "CPU"] {
            let error = word.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("auto, cpu or cuda:N"), "{error}");
        }
    }

    #[test]
    fn the_cpu_can_always_be_had() {
        assert_eq!(DeviceChoice::Cpu.open().unwrap().device, Device::Cpu);
        assert_eq!(name(Device::Cpu), "cpu");
    }

    #[test]
    fn a_device_beyond_those_there_are_is_refused_with_the_way_out() {
        let error = DeviceChoice::Cuda(4096).open().unwrap_err().to_string();
        assert!(error.contains("cuda:4096") && error.contains("--device cpu"), "{error}");
    }

    #[test]
    fn auto_finds_some_device_and_says_why_it_is_the_cpu() {
        let Chosen { device, instead_of_cuda } = DeviceChoice::Auto.open().unwrap();
        assert_eq!(device == Device::Cpu, instead_of_cuda.is_some());
    }
}
