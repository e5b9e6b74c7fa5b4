//! The device of a backbone.

use std::sync::Once;

use inctrl_model::Device;
use inctrl_model::device::{self, Chosen, DeviceChoice, DeviceError};

/// A job opens its device for each of its parts.
static TOLD: Once = Once::new();

/// Opens what was chosen, and tells the log, once, which device it came to.
pub(crate) fn open(choice: DeviceChoice) -> Result<Device, DeviceError> {
    let Chosen { device, instead_of_cuda } = choice.open()?;
    TOLD.call_once(|| {
        if let Some(reason) = instead_of_cuda {
            tracing::info!(%reason, "the backbone computes on the CPU");
        } else {
            tracing::info!(device = device::name(device), "the backbone computes");
        }
    });
    Ok(device)
}
