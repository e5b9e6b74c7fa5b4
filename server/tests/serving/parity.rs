//! Scores through gRPC against those of the authors' code, alone and in a batch.

use std::path::Path;

use inctrl_model::{Precision, Preprocess};
use inctrl_proto::v1::batch_detect_anomalies_request::Prompts;
use inctrl_proto::v1::image::Source;
use inctrl_proto::v1::{BatchDetectAnomaliesRequest, Image, InlinePrompts, RawImage};
use inctrl_server::config::{DeviceChoice, PrecisionChoice};
use inctrl_server::scorer::{Scorer as _, TorchScorer, TorchSpec};
use tch::{Kind, Tensor};

use crate::real::Official;
use crate::stage::{against, create, encoded};

/// Largest difference of a final score.
const TOLERANCE: f32 = 1e-4;
/// Largest difference between a query alone and in a batch.
const BATCH_TOLERANCE: f32 = 1e-6;

/// The image as the authors' code saw it: a PNG as it is, of a JPEG their decoder's pixels, since decoders differ by a
/// few levels.
fn image(official: &Official, name: &str) -> Image {
    let parity = &official.parity;
    if Path::new(name).extension().is_some_and(|extension| extension == "jpg")
        && let Some(pixels) = parity.pixels.get(&format!("pixels/{name}"))
    {
        return decoded(pixels);
    }
    encoded(&std::fs::read(parity.path.join("images").join(name)).unwrap())
}

/// Normalised pixels `[3, S, S]` as the 8-bit RGB that they were made of.
fn decoded(pixels: &Tensor) -> Image {
    let side = pixels.size()[1];
    let of = |values: [f32; 3]| Tensor::from_slice(&values).view([3, 1, 1]);
    let Preprocess { mean, std, .. } = Preprocess::clip(side as u32);
    let rgb = ((pixels * of(std) + of(mean)) * 255.0).round().to_kind(Kind::Uint8).permute([1, 2, 0]);
    let rgb = Vec::<u8>::try_from(rgb.contiguous().view(-1)).unwrap();
    let raw = RawImage { width: side as i32, height: side as i32, rgb: rgb.into() };
    Image { source: Some(Source::Raw(raw)) }
}

#[tokio::test]
async fn every_score_through_grpc_equals_that_of_the_authors_code() {
    for official in Official::every() {
        let server = official.serve().await;
        let (mut sets, mut detector) = (server.prompt_sets().await, server.detector().await);
        for (index, case) in official.parity.expected.cases.iter().enumerate() {
            let normal_images = case.normals.iter().map(|name| image(&official, name)).collect();
            let prompts = InlinePrompts { normal_images, object_class: case.object.clone() };
            let id = format!("case-{index}");
            sets.create_prompt_set(create(&id, prompts)).await.unwrap();
            let request = against(&id, image(&official, &case.query));
            let answer = detector.detect_anomaly(request).await.unwrap().into_inner();
            let difference = (answer.score - case.final_score).abs();
            assert!(difference <= TOLERANCE, "{}: the score is off by {difference}", case.object);
            let components = answer.components.unwrap();
            assert!(components.text_score.is_some() && components.image_score.is_some());
            assert_eq!(answer.provenance.unwrap().backbone_provenance, "clip");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_query_scores_the_same_alone_and_in_a_batch() {
    let official = Official::every().remove(0);
    let server = official.serve().await;
    let case = &official.parity.expected.cases[0];
    let normal_images = case.normals.iter().map(|name| image(&official, name)).collect();
    let prompts = InlinePrompts { normal_images, object_class: case.object.clone() };
    server.prompt_sets().await.create_prompt_set(create("set", prompts)).await.unwrap();
    let names: Vec<&str> = official.parity.expected.cases.iter().map(|case| case.query.as_str()).collect();
    let mut detector = server.detector().await;
    let request = BatchDetectAnomaliesRequest {
        images: names.iter().map(|name| image(&official, name)).collect(),
        prompts: Some(Prompts::PromptSet("promptSets/set".to_owned())),
        options: None,
    };
    let batch = detector.batch_detect_anomalies(request).await.unwrap().into_inner().results;
    assert!(
        batch.iter().any(|answer| answer.timing.unwrap().batch_size > 1),
        "they must have travelled together"
    );
    for (name, batched) in names.iter().zip(batch) {
        let alone =
            detector.detect_anomaly(against("set", image(&official, name))).await.unwrap().into_inner();
        let difference = (alone.score - batched.score).abs();
        assert!(difference <= BATCH_TOLERANCE, "{name}: {difference} between alone and in a batch");
    }
    server.stop().await;
}

#[test]
fn the_precision_that_auto_chooses_computes() {
    let official = Official::every().remove(0);
    let spec = TorchSpec {
        backbone: official.backbone.path().to_owned(),
        device: DeviceChoice::Cpu,
        precision: PrecisionChoice::Auto,
        threads: 1,
    };
    let mut scorer = TorchScorer::open(&spec).unwrap();
    let chosen = scorer.info().precision;
    assert!(matches!(chosen, Precision::Fp32 | Precision::Bf16), "{chosen:?} is none of a CPU's");
    scorer.probe().unwrap();
}

#[test]
fn text_prompts_of_a_class_are_encoded_in_steps_and_only_once() {
    let official = Official::every().remove(0);
    let spec = TorchSpec {
        backbone: official.backbone.path().to_owned(),
        device: DeviceChoice::Cpu,
        precision: PrecisionChoice::Fixed(Precision::Fp32),
        threads: 1,
    };
    let mut scorer = TorchScorer::open(&spec).unwrap();
    let steps = (1..100).find(|_| scorer.encode_text("metal nut").unwrap()).unwrap();
    // 242 sentences, 32 at once, after the step that begins them.
    assert_eq!(steps, 9);
    assert!(scorer.encode_text("metal nut").unwrap(), "they are kept");
    assert!(!scorer.encode_text("bottle").unwrap(), "another class has its own");
}
