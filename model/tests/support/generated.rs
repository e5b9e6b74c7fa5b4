//! A ViT-B-16-plus-240 whose weights are drawn, not read: the same as in
//! `tests/oracles/open_clip_vit_b_16_plus_240.py`, so that both sides have them without a file of 835 MB. Likewise an
//! EfficientNet-Lite0.

pub(crate) mod efficientnet;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use inctrl_model::{BackboneInfo, Device, Head, HeadKind, HeadMetadata};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tch::Tensor;

/// open_clip's `model_cfg` of that name.
pub(crate) const MODEL_CFG: &str = r#"{
    "embed_dim": 640,
    "vision_cfg": {"image_size": 240, "layers": 12, "width": 896, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 640, "heads": 10, "layers": 12}
}"#;

/// Values in -1..1, multiples of 2^-23: SplitMix64 from the FNV-1a hash of `name`.
pub(crate) fn draw(name: &str) -> impl Iterator<Item = f32> {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = (z ^ (z >> 31)) >> 40;
        (top as i32 - (1 << 23)) as f32 / (1 << 23) as f32
    })
}

/// Images drawn the same way, `[count, 3, 240, 240]` in -2..2.
pub(crate) fn images(count: i64) -> Tensor {
    let values: Vec<f32> =
        draw("pixels").take(count as usize * 3 * 240 * 240).map(|value| 2.0 * value).collect();
    Tensor::from_slice(&values).view([count, 3, 240, 240])
}

/// A paper head of drawn weights; running variances near 1.
pub(crate) fn head(backbone: &BackboneInfo, device: Device) -> Head {
    let metadata = HeadMetadata::new(HeadKind::Paper, backbone.clone());
    let tensor = |(name, shape): (String, Vec<i64>)| {
        let centre = if name.ends_with("running_var") { 1.0 } else { 0.0 };
        let count = shape.iter().product::<i64>() as usize;
        let values: Vec<f32> = draw(&name).take(count).map(|value| centre + 0.1 * value).collect();
        (name, Tensor::from_slice(&values).view(shape.as_slice()))
    };
    Head::from_tensors(&metadata, metadata.layout().into_iter().map(tensor), device).unwrap()
}

/// Writes the backbone's folder; the vocabulary is CLIP's.
pub(crate) fn write_backbone(folder: &Path) {
    let config = format!(r#"{{"model_cfg": {MODEL_CFG}, "preprocess_cfg": {{}}}}"#);
    std::fs::write(folder.join("open_clip_config.json"), config).unwrap();
    let vocabulary = "bpe_simple_vocab_16e6.txt.gz";
    std::fs::copy(super::vocabulary_folder().join(vocabulary), folder.join(vocabulary)).unwrap();
    write_weights(&folder.join("open_clip_model.safetensors"), &shapes(), spread);
}

/// Streams the weights into a file, so that they are never in memory together.
fn write_weights(path: &Path, shapes: &[(String, Vec<usize>)], spread: fn(&str, &[usize]) -> (f32, f32)) {
    let mut end = 0;
    let describe = |(name, shape): &(String, Vec<usize>)| {
        let start = end;
        end += shape.iter().product::<usize>() * size_of::<f32>();
        (name.clone(), TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets: (start, end) })
    };
    let metadata = Metadata::new(None, shapes.iter().map(describe).collect()).unwrap();
    let header = serde_json::to_vec(&metadata).unwrap();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    for (name, shape) in shapes {
        let (offset, scale) = spread(name, shape);
        for value in draw(name).take(shape.iter().product()) {
            file.write_all(&(offset + scale * value).to_le_bytes()).unwrap();
        }
    }
    file.flush().unwrap();
}

/// Centre and half-width of a weight's values: variance 1 / fan-in, layer norms near 1, small offsets.
fn spread(name: &str, shape: &[usize]) -> (f32, f32) {
    if name.ends_with("bias") {
        (0.0, 0.1)
    } else if shape.len() == 1 && name.ends_with("weight") {
        (1.0, 0.1)
    } else if name.contains("embedding") {
        (0.0, 0.5)
    } else {
        let input_first = name.ends_with("proj") || name.ends_with("projection");
        let fan_in = if input_first { shape[0] } else { shape[1..].iter().product() };
        (0.0, (3.0 / fan_in as f64).sqrt() as f32)
    }
}

/// Names and shapes of open_clip's state dict without `logit_scale`.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let (embed, vision, text) = (640, 896, 640);
    let mut shapes = vec![
        ("positional_embedding".to_owned(), vec![77, text]),
        ("text_projection".to_owned(), vec![text, embed]),
        ("token_embedding.weight".to_owned(), vec![49_408, text]),
        ("visual.class_embedding".to_owned(), vec![vision]),
        ("visual.conv1.weight".to_owned(), vec![vision, 3, 16, 16]),
        ("visual.positional_embedding".to_owned(), vec![226, vision]),
        ("visual.proj".to_owned(), vec![vision, embed]),
    ];
    let mut norm = |name: String, width: usize| {
        shapes.push((format!("{name}.weight"), vec![width]));
        shapes.push((format!("{name}.bias"), vec![width]));
    };
    norm("ln_final".to_owned(), text);
    norm("visual.ln_pre".to_owned(), vision);
    norm("visual.ln_post".to_owned(), vision);
    for (tower, width) in [("", text), ("visual.", vision)] {
        for block in (0..12).map(|i| format!("{tower}transformer.resblocks.{i}")) {
            norm(format!("{block}.ln_1"), width);
            norm(format!("{block}.ln_2"), width);
        }
    }
    for (tower, width) in [("", text), ("visual.", vision)] {
        for block in (0..12).map(|i| format!("{tower}transformer.resblocks.{i}")) {
            for (name, output, input) in [
                ("attn.in_proj_", 3 * width, width),
                ("attn.out_proj.", width, width),
                ("mlp.c_fc.", 4 * width, width),
                ("mlp.c_proj.", width, 4 * width),
            ] {
                shapes.push((format!("{block}.{name}weight"), vec![output, input]));
                shapes.push((format!("{block}.{name}bias"), vec![output]));
            }
        }
    }
    shapes
}
