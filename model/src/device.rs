//! Where to compute: CUDA where it is wanted and can be had, and why not where it cannot.
//!
//! The programs link libtorch's CPU library only. Its CUDA half registers itself when it is opened, which must happen
//! before libtorch is first asked for a device.

use std::path::{Path, PathBuf};

use tch::{Cuda, Device};

use crate::config::DeviceChoice;

const CUDA_LIBRARY: &str = "libtorch_cuda.so";
/// Any of libtorch's libraries that this program is linked with.
const LINKED_LIBRARY: &str = "libtorch_cpu.so";

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
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

/// The device of the choice. `auto` falls back to the CPU, and the log says why.
pub(crate) fn choose(choice: DeviceChoice) -> Result<Device, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(index) => cuda(index),
        DeviceChoice::Auto => Ok(cuda(0).unwrap_or_else(|error| {
            tracing::info!(reason = %error, "computing on the CPU");
            Device::Cpu
        })),
    }
}

/// The word for a device.
pub(crate) fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Cpu | Device::Mps | Device::Vulkan => "cpu".to_owned(),
    }
}

fn cuda(index: usize) -> Result<Device, DeviceError> {
    let device = format!("cuda:{index}");
    let library =
        open_library().map_err(|reason| DeviceError::NoLibrary { device: device.clone(), reason })?;
    let count = Cuda::device_count();
    if count <= index as i64 {
        return Err(DeviceError::NoDevice { device, count });
    }
    tracing::info!(device, library = %library.display(), "computing on CUDA");
    Ok(Device::Cuda(index))
}

/// Opens the CUDA half of libtorch and leaves it open; tells which file it was, or what was wrong with each.
fn open_library() -> Result<PathBuf, String> {
    let mut reasons = Vec::new();
    for path in candidates() {
        if path.is_absolute() && !path.is_file() {
            reasons.push(format!("{} is not there", path.display()));
            continue;
        }
        match open(&path) {
            Ok(()) => return Ok(path),
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
    fn the_cpu_can_always_be_had() {
        assert_eq!(choose(DeviceChoice::Cpu).unwrap(), Device::Cpu);
        assert_eq!(name(Device::Cpu), "cpu");
    }

    #[test]
    fn a_device_beyond_those_there_are_is_refused_with_the_way_out() {
        let error = choose(DeviceChoice::Cuda(4096)).unwrap_err().to_string();
        assert!(error.contains("cuda:4096") && error.contains("--device cpu"), "{error}");
    }

    #[test]
    fn auto_finds_some_device() {
        choose(DeviceChoice::Auto).unwrap();
    }
}
