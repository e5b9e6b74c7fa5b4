//! An EfficientNet-Lite0 of drawn weights: the same as in `tests/oracles/efficientnet_lite0.py`.

use std::path::Path;

use super::write_weights;

/// Kernel, expansion, channels and repeats of each stage.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (3, 1, 16, 1),
    (3, 6, 24, 2),
    (5, 6, 40, 2),
    (3, 6, 80, 3),
    (5, 6, 112, 3),
    (5, 6, 192, 4),
    (3, 6, 320, 1),
];

/// Writes the backbone's folder.
pub(crate) fn write_backbone(folder: &Path) {
    let config = r#"{"architecture": "efficientnet-lite0"}"#;
    std::fs::write(folder.join("backbone_config.json"), config).unwrap();
    write_weights(&folder.join("model.safetensors"), &shapes(), spread);
}

/// Centre and half-width of a weight's values: activations stay of order 1 through ReLU6, some at its limit.
fn spread(name: &str, shape: &[usize]) -> (f32, f32) {
    if shape.len() > 1 {
        let fan_in: usize = shape[1..].iter().product();
        (0.0, (6.0 / fan_in as f64).sqrt() as f32)
    } else if name.ends_with("weight") || name.ends_with("running_var") {
        (1.0, 0.25)
    } else {
        (0.0, 0.25)
    }
}

/// Names and shapes of the published state dict without the classifier.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    let mut conv = |conv: &str, norm: &str, shape: [usize; 4]| {
        shapes.push((format!("{conv}.weight"), shape.to_vec()));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.push((format!("{norm}.{part}"), vec![shape[0]]));
        }
    };
    conv("_conv_stem", "_bn0", [32, 3, 3, 3]);
    let (mut input, mut block) = (32, 0);
    for (kernel, expansion, channels, repeats) in STAGES {
        for _ in 0..repeats {
            let (name, width) = (format!("_blocks.{block}"), input * expansion);
            let mut part = |part: &str, norm: &str, shape| {
                conv(&format!("{name}.{part}"), &format!("{name}.{norm}"), shape);
            };
            if expansion > 1 {
                part("_expand_conv", "_bn0", [width, input, 1, 1]);
            }
            part("_depthwise_conv", "_bn1", [width, 1, kernel, kernel]);
            part("_project_conv", "_bn2", [channels, width, 1, 1]);
            (input, block) = (channels, block + 1);
        }
    }
    conv("_conv_head", "_bn1", [1280, 320, 1, 1]);
    shapes
}
