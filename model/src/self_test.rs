//! A head's self-test: a prompt set and queries whose scores are known, so that a server can tell before it serves the
//! head that its backbone, its precision and its arithmetic give what training gave.
//!
//! The images are kept as the backbone sees them, RGB squares of 8 bits: at 240 pixels a side, two prompt images and two
//! queries are 0.7 MB.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::{
    Backbone, BackboneError, DecodedImage, Head, HeadError, Pixels, Preprocess, PromptFeatures, Residuals,
};

/// The one key of the file's metadata.
const METADATA_KEY: &str = "inctrl.self-test";

/// Raised when a reader of the old format would misunderstand the new one.
const FORMAT_VERSION: u32 = 1;

/// Names of the tensors, `[count, size, size, 3]` each.
const PROMPTS: &str = "prompts";
const QUERIES: &str = "queries";

/// Inputs whose scores are known; the scores stand in the artifact's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTest {
    /// Object name, for backbones with a text tower.
    pub object: String,
    /// Side of the squares, in pixels.
    size: u32,
    prompts: Vec<Vec<u8>>,
    queries: Vec<Vec<u8>>,
}

/// Why there is no self-test, or no scores of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// The bytes are none.
    #[error("not a self-test: {reason}")]
    Malformed {
        /// What is wrong with them.
        reason: String,
    },
    /// It was made for squares of another size.
    #[error("the self-test has images of {actual} px a side, the backbone takes {expected}")]
    OtherSize {
        /// Of the backbone.
        expected: u32,
        /// Of the self-test.
        actual: u32,
    },
    /// The backbone could not encode the images.
    #[error("the backbone could not encode the self-test's images")]
    Backbone(#[from] BackboneError),
    /// The head could not score them.
    #[error("the head could not score the self-test's images")]
    Head(#[from] HeadError),
}

#[derive(Serialize, Deserialize)]
struct Document {
    format_version: u32,
    object: String,
}

impl SelfTest {
    /// Of images as `preprocess` brought them to squares: at least one prompt image and one query.
    ///
    /// # Panics
    ///
    /// When there is no prompt image or no query.
    pub fn new(object: &str, preprocess: &Preprocess, prompts: &[Pixels], queries: &[Pixels]) -> Self {
        assert!(!prompts.is_empty() && !queries.is_empty(), "a self-test needs a prompt image and a query");
        let squares = |images: &[Pixels]| images.iter().map(|image| to_rgb(image, preprocess)).collect();
        let (prompts, queries) = (squares(prompts), squares(queries));
        Self { object: object.to_owned(), size: preprocess.size, prompts, queries }
    }

    /// The file's bytes; the same inputs give the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { object, size, prompts, queries } = self;
        let document = Document { format_version: FORMAT_VERSION, object: object.clone() };
        let json = serde_json::to_string(&document).expect("a number and a name have a JSON form");
        let side = *size as usize;
        let stored = [(PROMPTS, prompts), (QUERIES, queries)]
            .map(|(name, squares)| (name, vec![squares.len(), side, side, 3], squares.concat()));
        let views = stored.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::U8, shape.clone(), bytes);
            (*name, view.expect("squares have the bytes of their shape"))
        });
        safetensors::serialize(views, Some(HashMap::from([(METADATA_KEY.to_owned(), json)])))
            .expect("in-memory serialisation of valid views cannot fail")
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SelfTestError> {
        let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let json = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
        let json = json.ok_or_else(|| malformed(format!("its metadata has no {METADATA_KEY:?}")))?;
        let Document { format_version, object } = serde_json::from_str(json).map_err(malformed)?;
        if format_version != FORMAT_VERSION {
            return Err(malformed(format!("format {format_version}, this program reads {FORMAT_VERSION}")));
        }
        let (size, prompts) = squares(&file, PROMPTS)?;
        let (other, queries) = squares(&file, QUERIES)?;
        if size == other {
            Ok(Self { object, size, prompts, queries })
        } else {
            Err(malformed("prompt images and queries of different sizes"))
        }
    }

    /// The prompt images and the queries as `preprocess` shows them to its backbone.
    pub fn images(&self, preprocess: &Preprocess) -> Result<(Vec<Pixels>, Vec<Pixels>), SelfTestError> {
        if preprocess.size != self.size {
            return Err(SelfTestError::OtherSize { expected: preprocess.size, actual: self.size });
        }
        let pixels = |squares: &[Vec<u8>]| -> Result<Vec<Pixels>, SelfTestError> {
            let pixels = |rgb: &Vec<u8>| DecodedImage::from_rgb(self.size, self.size, rgb.clone());
            squares.iter().map(|rgb| Ok(preprocess.apply(&pixels(rgb).map_err(malformed)?))).collect()
        };
        Ok((pixels(&self.prompts)?, pixels(&self.queries)?))
    }

    /// What `head` over `backbone` says of the queries, in order.
    pub fn scores(&self, backbone: &Backbone, head: &Head) -> Result<Vec<f32>, SelfTestError> {
        let (prompts, queries) = self.images(&backbone.info().preprocess)?;
        let prompts = PromptFeatures::encode(backbone, &prompts.iter().collect::<Vec<_>>(), &self.object)?;
        let queries = backbone.encode_images(&backbone.stack(&queries.iter().collect::<Vec<_>>())?)?;
        let residuals = tch::no_grad(|| Residuals::new(&queries, &prompts));
        Ok(head.score(&residuals, &prompts)?.into_iter().map(|scores| scores.score).collect())
    }
}

/// Interleaved 8-bit RGB of a normalised square.
fn to_rgb(pixels: &Pixels, preprocess: &Preprocess) -> Vec<u8> {
    let area = (pixels.size * pixels.size) as usize;
    let mut rgb = vec![0; 3 * area];
    for (channel, plane) in pixels.values.chunks_exact(area).enumerate() {
        let (mean, deviation) = (preprocess.mean[channel], preprocess.std[channel]);
        for (sample, value) in rgb.iter_mut().skip(channel).step_by(3).zip(plane) {
            *sample = ((value * deviation + mean) * 255.0).round().clamp(0.0, 255.0) as u8;
        }
    }
    rgb
}

/// The squares of a tensor, and their side.
fn squares(file: &SafeTensors<'_>, name: &str) -> Result<(u32, Vec<Vec<u8>>), SelfTestError> {
    let tensor = file.tensor(name).map_err(malformed)?;
    match *tensor.shape() {
        [count, height, width, 3]
            if 0 < count && 0 < height && height == width && tensor.dtype() == Dtype::U8 =>
        {
            let side = u32::try_from(height).map_err(malformed)?;
            Ok((side, tensor.data().chunks_exact(3 * height * width).map(<[u8]>::to_vec).collect()))
        }
        _ => {
            let (shape, kind) = (tensor.shape(), tensor.dtype());
            Err(malformed(format!("{name:?} is {shape:?} of {kind:?}, not squares of bytes")))
        }
    }
}

fn malformed(reason: impl std::fmt::Display) -> SelfTestError {
    SelfTestError::Malformed { reason: reason.to_string() }
}
