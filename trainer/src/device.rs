//! The device of a backbone.

use inctrl_model::Device;
use inctrl_model::device::{self, Chosen, DeviceChoice, DeviceError};

/// Opens what was chosen, and tells the log which device it came to.
pub(crate) fn open(choice: DeviceChoice) -> Result<Device, DeviceError> {
    let Chosen { device, instead_of_cuda } = choice.open()?;
    if let Some(reason) = instead_of_cuda {
        tracing::debug!(%reason, "the backbone computes on the CPU");
    } else {
        tracing::info!(device = device::name(device), "the backbone computes");
    }
    Ok(device)
}
