//! Tensors as the bytes and shapes of a file.

use tch::{Device, Kind, Tensor};

/// Little-endian float32 values of a tensor on any device.
pub fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut bytes = vec![0; tensor.numel() * size_of::<f32>()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// Lengths of the dimensions.
pub fn shape_of(tensor: &Tensor) -> Vec<usize> {
    tensor.size().into_iter().map(|length| length as usize).collect()
}
