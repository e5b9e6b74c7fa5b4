//! `open_clip_config.json`: which transformer the weights belong to, and how it likes its pixels.
//!
//! Every open_clip model with a plain vision transformer and a plain text transformer is understood. A setting
//! that would change the arithmetic and is not understood is refused by name: computing on regardless would give
//! plausible numbers and wrong ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::preprocess::{Fit, Preprocess};

/// Settings that leave features as they are, whatever their value.
const WITHOUT_EFFECT: [&str; 6] =
    ["patch_dropout", "output_tokens", "custom_text", "pad_id", "init_logit_scale", "init_logit_bias"];

/// Settings whose spelt-out default is accepted.
const DEFAULTS: [(&str, &str, &str); 4] = [
    ("vision_cfg", "pool_type", "tok"),
    ("vision_cfg", "pos_embed_type", "learnable"),
    ("text_cfg", "pool_type", "argmax"),
    ("text_cfg", "proj_type", "linear"),
];

/// Largest settings that are computed with, well above those of any published model: a slip of the pen is told by the
/// name of its setting and not by a lack of memory.
const MOST_LAYERS: usize = 1 << 10;
const MOST_WIDTH: i64 = 1 << 14;
const MOST_SIDE: i64 = 1 << 12;
const MOST_TOKENS: i64 = 1 << 20;
const MOST_MLP_RATIO: f64 = 64.0;

/// Tapped blocks of the paper's backbone, counted from 1, and its depth.
const PAPER_TAPS: [usize; 3] = [7, 9, 11];
const PAPER_LAYERS: usize = 12;

/// The file; `inctrl` is ours and may be added by hand.
#[derive(Debug, Deserialize)]
pub(crate) struct ClipFile {
    model_cfg: ClipConfig,
    #[serde(default)]
    preprocess_cfg: PreprocessConfig,
    #[serde(default)]
    inctrl: InctrlConfig,
}

/// `inctrl`: what is asked of the towers beyond open_clip's own settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct InctrlConfig {
    /// Tapped blocks, counted from 1, ascending.
    taps: Option<Vec<usize>>,
}

/// What the towers compute.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClipModel {
    pub(crate) config: ClipConfig,
    /// Tapped blocks, counted from 1, ascending.
    pub(crate) taps: Vec<usize>,
    pub(crate) preprocess: Preprocess,
}

/// `model_cfg`: both towers.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct ClipConfig {
    /// Width D of class and text features.
    pub(crate) embed_dim: i64,
    pub(crate) vision_cfg: VisionConfig,
    pub(crate) text_cfg: TextConfig,
    /// `x * sigmoid(1.702 x)` in place of the exact GELU.
    #[serde(default)]
    pub(crate) quick_gelu: bool,
    #[serde(flatten, skip_serializing)]
    other: BTreeMap<String, Value>,
}

/// `vision_cfg`: the image tower.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct VisionConfig {
    #[serde(deserialize_with = "square")]
    pub(crate) image_size: i64,
    pub(crate) layers: usize,
    pub(crate) width: i64,
    #[serde(deserialize_with = "square")]
    pub(crate) patch_size: i64,
    #[serde(default = "default_head_width")]
    pub(crate) head_width: i64,
    #[serde(default = "default_mlp_ratio")]
    pub(crate) mlp_ratio: f64,
    #[serde(flatten, skip_serializing)]
    other: BTreeMap<String, Value>,
}

/// `text_cfg`: the text tower.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct TextConfig {
    pub(crate) context_length: i64,
    pub(crate) vocab_size: i64,
    pub(crate) width: i64,
    pub(crate) heads: i64,
    pub(crate) layers: usize,
    #[serde(default = "default_mlp_ratio")]
    pub(crate) mlp_ratio: f64,
    #[serde(flatten, skip_serializing)]
    other: BTreeMap<String, Value>,
}

/// `preprocess_cfg`: what is absent is CLIP's own.
#[derive(Debug, Default, Deserialize)]
struct PreprocessConfig {
    size: Option<Value>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    interpolation: Option<String>,
    resize_mode: Option<String>,
}

fn default_head_width() -> i64 {
    64
}

fn default_mlp_ratio() -> f64 {
    4.0
}

/// A side, given as one number or as two equal ones.
fn square<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    side(&value)
        .ok_or_else(|| serde::de::Error::custom(format!("{value} is neither a side nor two equal sides")))
}

fn side(value: &Value) -> Option<i64> {
    match value {
        Value::Number(side) => side.as_i64(),
        Value::Array(sides) if sides.len() == 2 && sides[0] == sides[1] => sides[0].as_i64(),
        _ => None,
    }
}

impl ClipFile {
    /// The towers and the pre-processing, or what of the file cannot be computed.
    pub(crate) fn resolve(self) -> Result<ClipModel, String> {
        let Self { model_cfg: config, preprocess_cfg, inctrl: InctrlConfig { taps } } = self;
        config.check()?;
        let layers = config.vision_cfg.layers;
        let taps = match taps {
            None => default_taps(layers)?,
            Some(taps) => {
                let ascending = taps.windows(2).all(|pair| pair[0] < pair[1]);
                let inside = taps.iter().all(|tap| (1..=layers).contains(tap));
                if taps.is_empty() || !ascending || !inside {
                    return Err(format!(
                        "inctrl.taps = {taps:?} must ascend between 1 and the {layers} layers"
                    ));
                }
                taps
            }
        };
        let preprocess = preprocess_cfg.resolve(config.vision_cfg.image_size)?;
        Ok(ClipModel { config, taps, preprocess })
    }
}

impl ClipConfig {
    fn check(&self) -> Result<(), String> {
        let Self { embed_dim, vision_cfg: vision, text_cfg: text, quick_gelu: _, other } = self;
        for (place, settings) in
            [("model_cfg", other), ("vision_cfg", &vision.other), ("text_cfg", &text.other)]
        {
            let changes = |(name, value): &(&String, &Value)| {
                let name = name.as_str();
                let default = value.as_str().is_some_and(|value| DEFAULTS.contains(&(place, name, value)));
                !default
                    && !WITHOUT_EFFECT.contains(&name)
                    && !matches!(value, Value::Null | Value::Bool(false))
            };
            if let Some((name, value)) = settings.iter().find(changes) {
                return Err(format!("{place}.{name} = {value} is not supported"));
            }
        }
        let bounded = [
            ("model_cfg.embed_dim", *embed_dim, MOST_WIDTH),
            ("vision_cfg.width", vision.width, MOST_WIDTH),
            ("vision_cfg.head_width", vision.head_width, MOST_WIDTH),
            ("vision_cfg.image_size", vision.image_size, MOST_SIDE),
            ("vision_cfg.patch_size", vision.patch_size, MOST_SIDE),
            ("text_cfg.context_length", text.context_length, MOST_TOKENS),
            ("text_cfg.vocab_size", text.vocab_size, MOST_TOKENS),
            ("text_cfg.width", text.width, MOST_WIDTH),
            ("text_cfg.heads", text.heads, MOST_WIDTH),
        ];
        if let Some((name, value, most)) =
            bounded.into_iter().find(|(_, value, most)| !(1..=*most).contains(value))
        {
            return Err(format!("{name} is {value}, it must be between 1 and {most}"));
        }
        for (name, layers) in [("vision_cfg.layers", vision.layers), ("text_cfg.layers", text.layers)] {
            if MOST_LAYERS < layers {
                return Err(format!("{name} is {layers}, it must be at most {MOST_LAYERS}"));
            }
        }
        for (name, ratio, width) in [
            ("vision_cfg.mlp_ratio", vision.mlp_ratio, vision.width),
            ("text_cfg.mlp_ratio", text.mlp_ratio, text.width),
        ] {
            // Below one hidden value there is nothing to compute.
            if MOST_MLP_RATIO < ratio || ratio * (width as f64) < 1.0 {
                return Err(format!(
                    "{name} is {ratio}, it must be at most {MOST_MLP_RATIO} and give at least one hidden value"
                ));
            }
        }
        if vision.image_size < vision.patch_size {
            return Err(format!(
                "vision_cfg.image_size {} is below one patch of {}",
                vision.image_size, vision.patch_size
            ));
        }
        if vision.width % vision.head_width != 0 {
            return Err(format!(
                "vision_cfg.width {} is no multiple of head_width {}",
                vision.width, vision.head_width
            ));
        }
        if text.width % text.heads != 0 {
            return Err(format!("text_cfg.width {} is no multiple of its {} heads", text.width, text.heads));
        }
        Ok(())
    }

    /// Human name: open_clip's where the shape is one of its well-known ones.
    pub(crate) fn name(&self) -> String {
        let VisionConfig { image_size, layers, width, patch_size, .. } = self.vision_cfg;
        match (layers, width, patch_size, image_size) {
            (12, 768, 32, 224) => "ViT-B-32".to_owned(),
            (12, 768, 16, 224) => "ViT-B-16".to_owned(),
            (12, 896, 16, 240) => "ViT-B-16-plus-240".to_owned(),
            (24, 1024, 14, 224) => "ViT-L-14".to_owned(),
            (24, 1024, 14, 336) => "ViT-L-14-336".to_owned(),
            (32, 1280, 14, 224) => "ViT-H-14".to_owned(),
            _ => format!("ViT-{layers}x{width}-{patch_size}-{image_size}"),
        }
    }
}

impl VisionConfig {
    /// Rows (and columns) of the patch grid.
    pub(crate) fn grid(&self) -> i64 {
        self.image_size / self.patch_size
    }
}

/// Tapped blocks, counted from 1: 7, 9 and 11 as in the authors' code, which taps these at any depth from 12 layers on.
/// A shallower tower is tapped at the same relative depth, rounded and kept distinct (6 layers: 4, 5, 6; 3 layers:
/// 1, 2, 3).
fn default_taps(layers: usize) -> Result<Vec<usize>, String> {
    if layers < PAPER_TAPS.len() {
        return Err(format!("vision_cfg.layers is {layers}, {} are tapped", PAPER_TAPS.len()));
    }
    let layers = layers.min(PAPER_LAYERS);
    let mut taps = PAPER_TAPS.map(|tap| (2 * tap * layers + PAPER_LAYERS) / (2 * PAPER_LAYERS));
    for i in (0..taps.len() - 1).rev() {
        taps[i] = taps[i].min(taps[i + 1] - 1);
    }
    Ok(taps.to_vec())
}

impl PreprocessConfig {
    fn resolve(self, image_size: i64) -> Result<Preprocess, String> {
        let Self { size, mean, std, interpolation, resize_mode } = self;
        if let Some(size) = size
            && side(&size) != Some(image_size)
        {
            return Err(format!("preprocess_cfg.size is {size}, the image tower takes {image_size}"));
        }
        if let Some(other) = interpolation.filter(|name| !matches!(name.as_str(), "bicubic" | "random")) {
            return Err(format!("preprocess_cfg.interpolation = {other:?} is not supported, bicubic is"));
        }
        if let Some(other) = resize_mode.filter(|mode| mode != "shortest") {
            return Err(format!("preprocess_cfg.resize_mode = {other:?} is not supported, shortest is"));
        }
        if let Some(std) = std.filter(|std| !std.iter().all(|value| value.is_normal() && 0.0 < *value)) {
            return Err(format!("preprocess_cfg.std is {std:?}, it must be positive"));
        }
        let clip = Preprocess::clip(image_size as u32);
        Ok(Preprocess {
            mean: mean.unwrap_or(clip.mean),
            std: std.unwrap_or(clip.std),
            fit: Fit::Crop,
            ..clip
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(vision: &str, rest: &str) -> Result<ClipModel, String> {
        let text = r#"{"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}"#;
        let json = format!(
            r#"{{"model_cfg": {{"embed_dim": 640, "vision_cfg": {vision}, "text_cfg": {text}}}{rest}}}"#
        );
        serde_json::from_str::<ClipFile>(&json).map_err(|error| error.to_string())?.resolve()
    }

    fn vision(layers: usize) -> String {
        format!(r#"{{"image_size": 240, "layers": {layers}, "width": 896, "patch_size": 16}}"#)
    }

    #[test]
    fn taps_are_the_papers_and_keep_their_relative_depth_in_shallower_towers() {
        for (layers, expected) in [
            (12, [7, 9, 11]),
            (24, [7, 9, 11]),
            (11, [6, 8, 10]),
            (6, [4, 5, 6]),
            (4, [2, 3, 4]),
            (3, [1, 2, 3]),
        ] {
            assert_eq!(resolve(&vision(layers), "").unwrap().taps, expected, "{layers} layers");
        }
        let error = resolve(&vision(2), "").unwrap_err();
        assert!(error.contains("vision_cfg.layers is 2"), "{error}");
    }

    #[test]
    fn taps_of_the_file_are_respected_within_the_tower() {
        let taps = |taps: &str| resolve(&vision(12), &format!(r#", "inctrl": {{"taps": {taps}}}"#));
        assert_eq!(taps("[3, 12]").unwrap().taps, [3, 12]);
        for wrong in ["[]", "[0, 1]", "[3, 3]", "[12, 13]"] {
            let error = taps(wrong).unwrap_err();
            assert!(error.contains("inctrl.taps"), "{wrong}: {error}");
        }
    }

    #[test]
    fn absent_settings_are_those_of_open_clip() {
        let ClipModel { config, preprocess, .. } = resolve(&vision(12), "").unwrap();
        assert_eq!((config.vision_cfg.head_width, config.vision_cfg.grid()), (64, 15));
        assert!(!config.quick_gelu, "the exact GELU must be the default");
        assert_eq!(config.name(), "ViT-B-16-plus-240");
        assert_eq!(preprocess, Preprocess::clip(240));
    }

    #[test]
    fn preprocessing_of_the_file_is_respected() {
        let resolve =
            |preprocess: &str| resolve(&vision(12), &format!(r#", "preprocess_cfg": {preprocess}"#));
        let stated = r#"{"size": [240, 240], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}"#;
        let preprocess = resolve(stated).unwrap().preprocess;
        assert_eq!((preprocess.mean, preprocess.std), ([0.5; 3], [0.25; 3]));
        let error = resolve(r#"{"size": 224}"#).unwrap_err();
        assert!(error.contains("preprocess_cfg.size is 224"), "{error}");
        let error = resolve(r#"{"std": [0.5, 0.0, 0.5]}"#).unwrap_err();
        assert!(error.contains("preprocess_cfg.std"), "{error}");
        let error = resolve(r#"{"resize_mode": "squash"}"#).unwrap_err();
        assert!(error.contains("squash"), "{error}");
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let text = r#"{"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}"#;
        let vision = vision(12);
        let resolve = |text: &str, vision: &str, embed_dim: i64| {
            let json = format!(
                r#"{{"model_cfg": {{"embed_dim": {embed_dim}, "vision_cfg": {vision}, "text_cfg": {text}}}}}"#
            );
            serde_json::from_str::<ClipFile>(&json).unwrap().resolve()
        };
        resolve(text, &vision, 640).unwrap();
        let with = |settings: &str, key: &str, value: &str| {
            let mut settings: Value = serde_json::from_str(settings).unwrap();
            settings[key] = serde_json::from_str(value).unwrap();
            settings.to_string()
        };
        for embed_dim in [0, -1, 1 << 40] {
            let error = resolve(text, &vision, embed_dim).unwrap_err();
            assert!(error.contains("model_cfg.embed_dim"), "{error}");
        }
        for (key, value) in [
            ("width", "900000000000"),
            ("layers", "5000000000"),
            ("image_size", "1000000"),
            ("image_size", "-240"),
            ("mlp_ratio", "-4.0"),
            ("mlp_ratio", "0"),
            ("mlp_ratio", "1e300"),
        ] {
            let error = resolve(text, &with(&vision, key, value), 640).unwrap_err();
            assert!(error.contains(&format!("vision_cfg.{key}")), "{error}");
        }
        for (key, value) in [
            ("width", "900000000000"),
            ("layers", "5000000000"),
            ("context_length", "9000000000"),
            ("vocab_size", "9000000000"),
            ("heads", "0"),
            ("mlp_ratio", "-1"),
        ] {
            let error = resolve(&with(text, key, value), &vision, 640).unwrap_err();
            assert!(error.contains(&format!("text_cfg.{key}")), "{error}");
        }
    }

    #[test]
    fn settings_that_change_the_arithmetic_are_refused_by_name() {
        let harmless =
            vision(12).replace('{', r#"{"patch_dropout": 0.5, "pool_type": "tok", "ls_init_value": null, "#);
        resolve(&harmless, "").unwrap();
        let pooled = vision(12).replace('{', r#"{"pool_type": "avg", "#);
        let error = resolve(&pooled, "").unwrap_err();
        assert!(error.contains("vision_cfg.pool_type"), "{error}");
        let resnet = vision(12).replace("12", "[3, 4, 6, 3]");
        assert!(resolve(&resnet, "").is_err(), "a ResNet must be refused");
    }
}
