//! Scores, residuals and maps against the answers of the authors' code, from pixels on.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

#[expect(dead_code, reason = "each test binary uses its part of the shared support")]
mod support;

use std::path::Path;

use inctrl_model::head::PaperHead;
use inctrl_model::{
    Backbone, Features, Head, HeadKind, HeadMetadata, ImageLimits, Precision, PromptFeatures, Residuals,
    Scores,
};
use support::{Case, ParityFolder, device, max_difference, parity_folders};
use tch::Tensor;

/// Largest difference of a final score, whatever decoded the images.
const FINAL_TOLERANCE: f32 = 1e-4;

/// Largest difference of any score or residual where both sides saw the same pixels.
const EXACT_TOLERANCE: f32 = 1e-5;

/// Largest difference of a component score where a JPEG had to be decoded here: decoders differ by a few levels.
const DECODED_SCORE_TOLERANCE: f32 = 5e-4;

/// The same for residuals of class features, which are not of unit length.
const DECODED_RESIDUAL_TOLERANCE: f32 = 5e-3;

const LIMITS: ImageLimits = ImageLimits { max_bytes: 1 << 24, max_pixels: 1 << 24 };

/// One folder's backbone and head.
struct Official {
    folder: ParityFolder,
    backbone: Backbone,
    head: Head,
}

fn every_official() -> Vec<Official> {
    parity_folders().into_iter().map(Official::open).collect()
}

impl Official {
    fn open(folder: ParityFolder) -> Self {
        let backbone = Backbone::open(folder.backbone_folder().path(), device(), Precision::Fp32).unwrap();
        let metadata = HeadMetadata::new(HeadKind::Paper, backbone.info().clone());
        let head = Head::from_tensors(&metadata, head_tensors(&folder), device()).unwrap();
        Self { folder, backbone, head }
    }

    fn features(&self, names: &[String]) -> Features {
        let pixels: Vec<Tensor> = names.iter().map(|name| self.pixels(name)).collect();
        self.backbone.encode_images(&Tensor::cat(&pixels, 0)).unwrap()
    }

    /// The authors' pixels where they are given, else our own of the same image.
    fn pixels(&self, name: &str) -> Tensor {
        if self.folder.pixels.contains_key(&format!("pixels/{name}")) {
            return self.folder.image(name).to_device(device());
        }
        let bytes = std::fs::read(self.folder.path.join("images").join(name)).unwrap();
        let pixels = self.backbone.info().preprocess.load(&bytes, &LIMITS).unwrap();
        self.backbone.stack(&[&pixels]).unwrap()
    }

    fn prompts(&self, case: &Case) -> PromptFeatures {
        let text = self.backbone.encode_object(&case.object).unwrap();
        PromptFeatures::new(&self.features(&case.normals), None, text)
    }

    /// Whether both sides saw the same pixels, but for the resampler's rounding.
    fn same_pixels(&self, case: &Case) -> bool {
        let given = |name: &String| self.folder.pixels.contains_key(&format!("pixels/{name}"));
        let lossless =
            |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "png");
        case.normals.iter().chain([&case.query]).all(|name| given(name) || lossless(name))
    }

    fn score(&self, case: &Case) -> (Scores, Residuals, PromptFeatures) {
        let prompts = self.prompts(case);
        let residuals = Residuals::new(&self.features(std::slice::from_ref(&case.query)), &prompts);
        let scores = self.head.score(&residuals, &prompts).unwrap();
        (scores[0].clone(), residuals, prompts)
    }
}

/// The authors construct and save a first batch norm and counters that nothing reads.
fn head_tensors(folder: &ParityFolder) -> Vec<(String, Tensor)> {
    let unused = |name: &str| name.contains(".bn1.") || name.ends_with(".num_batches_tracked");
    folder.head_state().into_iter().filter(|(name, _)| !unused(name)).collect()
}

#[test]
fn every_score_equals_that_of_the_authors_code() {
    for official in every_official() {
        for case in &official.folder.expected.cases {
            let (scores, ..) = official.score(case);
            let same_pixels = official.same_pixels(case);
            let tolerance = if same_pixels { EXACT_TOLERANCE } else { DECODED_SCORE_TOLERANCE };
            let answers = [
                ("final", scores.score, case.final_score, tolerance.min(FINAL_TOLERANCE)),
                ("image", scores.image_score.unwrap(), case.image_score, tolerance),
                ("text", scores.text_score.unwrap(), case.text_score, tolerance),
                ("patch max", scores.patch_max, case.patch_max, tolerance),
                ("holistic", scores.holistic_score.unwrap(), case.holistic_score, tolerance),
            ];
            for (what, ours, theirs, tolerance) in answers {
                let difference = (ours - theirs).abs();
                assert!(difference <= tolerance, "{}: {what} score is off by {difference}", case.object);
            }
        }
    }
}

#[test]
fn maps_and_image_residuals_equal_those_of_the_authors_code() {
    for official in every_official() {
        let tensors = head_tensors(&official.folder);
        let placed = tensors.into_iter().map(|(name, tensor)| (name, tensor.to_device(device())));
        let head = PaperHead::from_tensors(&placed.collect());
        for (index, case) in official.folder.expected.cases.iter().enumerate() {
            let (scores, residuals, prompts) = official.score(case);
            let same_pixels = official.same_pixels(case);
            let tolerance = if same_pixels { EXACT_TOLERANCE } else { DECODED_RESIDUAL_TOLERANCE };
            let residual = head.image_residual(&residuals.class, &prompts.class.unsqueeze(0)).get(0);
            for (what, ours) in [("patch_map", Tensor::from_slice(&scores.map)), ("image_residual", residual)]
            {
                let difference = max_difference(&ours, official.folder.answer(index, what));
                assert!(difference <= f64::from(tolerance), "{}: {what} is off by {difference}", case.object);
            }
        }
    }
}

#[test]
fn scores_stay_the_same_when_the_head_is_written_and_read() {
    for official in every_official() {
        let again = Head::from_bytes(&official.head.to_bytes(), device()).unwrap();
        assert_eq!(again.digest(), official.head.digest());
        let case = &official.folder.expected.cases[0];
        let (scores, residuals, prompts) = official.score(case);
        assert_eq!(again.score(&residuals, &prompts).unwrap(), [scores]);
    }
}
