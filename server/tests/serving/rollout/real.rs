//! Heads of the tiny CLIP: what is refused and why, and that a shadow's scores are its own.

use inctrl_model::preprocess::DecodedImage;
use inctrl_model::{Backbone, Device, Head as ModelHead, Pixels, Precision, Preprocess, SelfTest};
use inctrl_proto::v1::image::Source;
use inctrl_proto::v1::{
    DetectAnomalyRequest, DetectOptions, Head, HeadProblem, HeadState, Image, InlinePrompts, RawImage,
};
use inctrl_storage::SigningKey;
use safetensors::SafeTensors;

use super::artifact::Artifact;
use super::stage::{Operator, assert_loaded, assert_stands, model, plain};
use crate::real::Official;
use crate::stage::{Server, against, create};

/// Made with `openssl genpkey -algorithm ed25519`, as are the public keys with `openssl pkey -pubout`.
const PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEINX7SXY/XBIWMkNdrQrHHFOASGHD//eS3o6DcNDJiQeV";
const PUBLIC: &str = "MCowBQYDK2VwAyEAlbN1Id2ewtr6cEg2W14qlq3uwy+dOHimY3tQMu7WNtA=";
const OTHER_PUBLIC: &str = "MCowBQYDK2VwAyEAdaM6WeKz8TS9r6w2liMKXWxcXTvIelnUJgiQPT3JK68=";

fn pem(label: &str, key: &str) -> String {
    format!("-----BEGIN {label}-----\n{key}\n-----END {label}-----\n")
}

/// An image of its own for each seed.
fn rgb(seed: u8, size: u32) -> Vec<u8> {
    let level = |at: u32| (at.wrapping_mul(31 + u32::from(seed)) / 7 + u32::from(seed) * 40) as u8;
    (0..3 * size * size).map(level).collect()
}

fn image(seed: u8, size: u32) -> Image {
    let raw = RawImage { width: size as i32, height: size as i32, rgb: rgb(seed, size).into() };
    Image { source: Some(Source::Raw(raw)) }
}

pub(super) fn query(official: &Official) -> Image {
    image(3, side(official))
}

pub(super) fn inline_prompts(official: &Official) -> InlinePrompts {
    let normal_images = [1, 2].map(|seed| image(seed, side(official))).to_vec();
    InlinePrompts { normal_images, object_class: "bolt".to_owned() }
}

fn side(official: &Official) -> u32 {
    official.parity.expected.config["vision_cfg"]["image_size"].as_u64().unwrap() as u32
}

/// The official head with a self-test whose scores are those of the model itself.
pub(super) fn artifact(official: &Official) -> Artifact {
    artifact_of(official, official.head.clone())
}

fn artifact_of(official: &Official, weights: Vec<u8>) -> Artifact {
    let backbone = Backbone::open(official.backbone.path(), Device::Cpu, Precision::Fp32).unwrap();
    let Preprocess { size, .. } = backbone.info().preprocess;
    let pixels = |seed: u8| -> Pixels {
        backbone.info().preprocess.apply(&DecodedImage::from_rgb(size, size, rgb(seed, size)).unwrap())
    };
    let test = SelfTest::new("bolt", &backbone.info().preprocess, &[1, 2].map(pixels), &[4, 5].map(pixels));
    let scores = test.scores(&backbone, &ModelHead::from_bytes(&weights, Device::Cpu).unwrap()).unwrap();
    let expected: Vec<f64> = scores.into_iter().map(f64::from).collect();
    let digest = backbone.info().digest.clone();
    Artifact::new(weights, "paper", &digest, (test.to_bytes(), &expected))
}

/// The head file with its tensors changed.
fn rewritten(head: &[u8], change: impl Fn(&str, &mut Vec<u8>) -> bool) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(head).unwrap();
    let file = SafeTensors::deserialize(head).unwrap();
    let mut tensors: Vec<_> = file
        .iter()
        .map(|(name, view)| (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    tensors.retain_mut(|(name, _, _, data)| change(name, data));
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize(views, header.metadata().clone()).unwrap()
}

/// The head file with every weight changed; what was counted of the data stays.
fn reweighted(head: &[u8], change: impl Fn(f32) -> f32) -> Vec<u8> {
    rewritten(head, |name, data| {
        if !name.contains("running_") {
            for value in data.chunks_exact_mut(4) {
                let changed = change(f32::from_le_bytes(value.try_into().unwrap()));
                value.copy_from_slice(&changed.to_le_bytes());
            }
        }
        true
    })
}

/// Another good head: every weight a little smaller.
fn shrunk(head: &[u8]) -> Vec<u8> {
    reweighted(head, |weight| weight * 0.75)
}

async fn ask(server: &Server, official: &Official, revision: &str) -> f32 {
    let options = Some(DetectOptions { revision: revision.to_owned(), ..DetectOptions::default() });
    let request = DetectAnomalyRequest { options, ..against("case", query(official)) };
    server.detector().await.detect_anomaly(request).await.unwrap().into_inner().score
}

#[tokio::test]
async fn a_head_is_refused_by_what_is_wrong_with_it_and_serving_goes_on() {
    let official = Official::every().remove(0);
    let server = official.serve_with(plain).await;
    let prompts = create("case", inline_prompts(&official));
    server.prompt_sets().await.create_prompt_set(prompts).await.unwrap();
    let mut operator = Operator::of(&server).await;
    let good = artifact(&official);
    assert_loaded(&operator.command(1, model(Some(good.inline(1)), None, 0)).await, &good.digest());
    let before = ask(&server, &official, "").await;

    let with_nan = rewritten(&official.head, |_, data| {
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        true
    });
    let first =
        SafeTensors::deserialize(&official.head).unwrap().names().into_iter().min().unwrap().to_owned();
    let cut = rewritten(&official.head, |name, _| name != first);
    let shrunk = artifact_of(&official, shrunk(&official.head));
    let other = |change: fn(&mut Artifact)| {
        let mut artifact = shrunk.clone();
        change(&mut artifact);
        artifact.inline(2)
    };
    let good_other = || other(|_| {});
    let of_bytes = |weights: Vec<u8>| Artifact { weights, ..good.clone() }.inline(2);
    let cases: Vec<(HeadProblem, Head)> = vec![
        (HeadProblem::DigestMismatch, Head { weights: official.head.clone().into(), ..good_other() }),
        (HeadProblem::DigestMismatch, Head { self_test: b"other".to_vec().into(), ..good_other() }),
        (HeadProblem::Manifest, Head { manifest: b"{}".to_vec().into(), ..good_other() }),
        (HeadProblem::Manifest, Head { manifest: good.manifest(None).into(), ..good_other() }),
        (HeadProblem::Manifest, other(|artifact| artifact.record["head"]["kind"] = "contextual".into())),
        (HeadProblem::Shape, of_bytes(cut)),
        (HeadProblem::Shape, of_bytes(b"no head".to_vec())),
        (HeadProblem::NotFinite, of_bytes(with_nan)),
        (
            HeadProblem::Backbone,
            other(|artifact| artifact.record["backbone"]["digest"] = format!("sha256:{:064}", 7).into()),
        ),
        (HeadProblem::SelfTest, other(|artifact| artifact.record["selfTest"]["expected"][1] = 0.987.into())),
        (HeadProblem::SelfTest, other(|artifact| artifact.self_test = b"no self-test".to_vec())),
        (HeadProblem::Unreachable, Head { manifest: Vec::new().into(), ..good_other() }),
    ];
    for (generation, (problem, head)) in (2..).zip(cases) {
        let digest = head.digest.clone();
        let status = operator.command(generation, model(Some(good.known(1)), Some(head), 50)).await;
        assert_stands(&status, &digest, HeadState::Refused, problem);
        assert!(!super::stage::head(&status, &digest).message.is_empty());
        assert_eq!(status.models[0].candidate_weight_percent, 0);
        assert_eq!(ask(&server, &official, "").await.to_bits(), before.to_bits(), "{problem:?}");
    }
    let candidate = good_other();
    let digest = candidate.digest.clone();
    let status = operator.command(100, model(Some(good.known(1)), Some(candidate), 0)).await;
    assert_loaded(&status, &digest);
    server.stop().await;
}

#[tokio::test]
async fn where_a_key_is_trusted_other_signatures_and_none_are_refused() {
    let official = Official::every().remove(0);
    let artifact = artifact(&official);
    let key = SigningKey::from_pem(pem("PRIVATE KEY", PRIVATE).as_bytes()).unwrap();
    let signed = Head { manifest: artifact.manifest(Some(&key)).into(), ..artifact.inline(1) };
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trusted.pem");
    for (public, head, problem) in [
        (PUBLIC, artifact.inline(1), Some(HeadProblem::Signature)),
        (OTHER_PUBLIC, signed.clone(), Some(HeadProblem::Signature)),
        (PUBLIC, signed, None),
    ] {
        std::fs::write(&trusted, pem("PUBLIC KEY", public)).unwrap();
        let server = official
            .serve_with(|settings| {
                plain(settings);
                settings.rollout.as_mut().unwrap().verification_key = Some(trusted.clone());
            })
            .await;
        let status = Operator::of(&server).await.command(1, model(Some(head), None, 0)).await;
        match problem {
            Some(problem) => assert_stands(&status, &artifact.digest(), HeadState::Refused, problem),
            None => assert_loaded(&status, &artifact.digest()),
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_shadow_scores_what_it_would_have_answered() {
    let official = Official::every().remove(0);
    let server = official.serve_with(plain).await;
    let prompts = create("case", inline_prompts(&official));
    server.prompt_sets().await.create_prompt_set(prompts).await.unwrap();
    let (active, candidate) = (artifact(&official), artifact_of(&official, shrunk(&official.head)));
    let mut operator = Operator::of(&server).await;
    operator.command(1, model(Some(active.inline(1)), Some(candidate.inline(2)), 0)).await;
    // Pinned requests meet one head alone.
    let (alone, other) =
        (ask(&server, &official, &active.digest()).await, ask(&server, &official, &candidate.digest()).await);
    assert!((alone - other).abs() > 1e-3, "the heads must differ: {alone} {other}");
    assert_eq!(operator.status().await.models[0].paired.as_ref().unwrap().count, 0);
    assert_eq!(ask(&server, &official, "").await.to_bits(), alone.to_bits());
    let paired = operator.status().await.models[0].paired.clone().unwrap();
    assert_eq!(paired.count, 1);
    let expected = f64::from(other) - f64::from(alone);
    assert!((paired.mean_difference - expected).abs() < 1e-6, "{} {expected}", paired.mean_difference);
    server.stop().await;
}

#[tokio::test]
async fn a_head_whose_scores_are_no_numbers_is_taken_out_and_no_request_fails() {
    let official = Official::every().remove(0);
    let server = official.serve_with(plain).await;
    let prompts = create("case", inline_prompts(&official));
    server.prompt_sets().await.create_prompt_set(prompts).await.unwrap();
    let good = artifact(&official);
    // Every weight is finite, what comes of them is not. Without a self-test nobody notices before it is used.
    let weights = reweighted(&official.head, |weight| weight.signum() * 3e38);
    let mut bad = Artifact { weights, ..good.clone() };
    bad.record.as_object_mut().unwrap().remove("selfTest");
    let mut operator = Operator::of(&server).await;
    let status = operator.command(1, model(Some(good.inline(1)), Some(bad.inline(2)), 100)).await;
    assert_loaded(&status, &bad.digest());
    let alone = ask(&server, &official, &good.digest()).await;
    assert_eq!(ask(&server, &official, "").await.to_bits(), alone.to_bits(), "the active head takes over");
    let status = operator.status().await;
    assert_stands(&status, &bad.digest(), HeadState::Disabled, HeadProblem::Panic);
    let message = &super::stage::head(&status, &bad.digest()).message;
    assert!(message.contains("not finite"), "{message}");
    assert_loaded(&status, &good.digest());
    server.stop().await;
}
