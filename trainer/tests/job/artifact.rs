//! What a job that succeeds leaves.

use inctrl_model::{Backbone, Device, Head, Precision, SelfTest};
use inctrl_storage::{Digest, verify_parts};
use inctrl_trainer::job::Outcome;
use serde_json::json;

use crate::setting::{Setting, block_on, content};

#[test]
fn a_job_publishes_an_artifact_that_proves_itself_and_a_second_pod_finds_it_done() {
    let setting = Setting::new();
    let first = setting.run("first");
    assert_eq!(first.code, Some(0), "{}", first.log);
    let manifest = setting.manifest().expect("there must be an artifact");
    block_on(verify_parts(&setting.output(), &manifest)).unwrap();

    let record = &manifest.record;
    assert_eq!(record.run_key.as_deref(), Some("4k2m7q9xza"));
    assert_eq!(record.spec_hash, Some(Digest::of("inputs")));
    assert_eq!(record.backbone.sha256, Some(content(setting.fixture.backbone.path())));
    assert_eq!(record.dataset.fingerprint.fingerprint, content(&setting.fixture.path("auxiliary")));
    assert_eq!(record.hyperparameters["epochs"], 3);
    let gate = record.gate.as_ref().expect("a head is judged before it is published");
    assert_eq!((gate.samples, gate.active.is_none()), (16, true));
    let names: Vec<_> =
        gate.candidate.iter().map(|metric| (metric.name.as_str(), metric.split.as_deref())).collect();
    let auroc = |split| ("imageAUROC", split);
    let whole = [auroc(None), ("imageAUPRC", None), ("f1Max", None), ("latencyP99Millis", None)];
    assert_eq!(names[..4], whole);
    assert_eq!(names[4..], [auroc(Some("bolt")), auroc(Some("cable"))]);
    assert!(gate.candidate.iter().all(|metric| 0.0 < metric.value), "{gate:?}");

    let words = &first.message;
    assert_eq!((words.outcome, words.progress_percent), (Outcome::Published, 100));
    assert_eq!(words.digest, Some(manifest.revision.to_string()));
    assert_eq!(words.uri.as_ref(), Some(setting.output().uri()));
    assert_eq!(words.metrics[0].value.to_bits(), gate.candidate[0].value.to_bits());

    let read = |name| block_on(setting.output().read(&manifest.part(name).unwrap().path, 1 << 30)).unwrap();
    let head = Head::from_bytes(&read("head.safetensors"), Device::Cpu).unwrap();
    let backbone = Backbone::open(setting.fixture.backbone.path(), Device::Cpu, Precision::Fp32).unwrap();
    let proof = record.self_test.as_ref().expect("an artifact brings its self-test");
    let scores = SelfTest::from_bytes(&read(&proof.part)).unwrap().scores(&backbone, &head).unwrap();
    for (score, expected) in scores.into_iter().zip(&proof.expected) {
        assert!((f64::from(score) - expected).abs() < 1e-5, "{score} must be {expected}");
    }
    assert!(read("report.html").starts_with(b"<!"), "the report must be a page");

    let second = setting.run("second");
    assert_eq!((second.code, second.message), (Some(0), first.message), "{}", second.log);
    assert!(!setting.fixture.path("second").exists(), "a pod with nothing to do must fetch nothing");
}

#[test]
fn the_active_head_is_judged_on_the_same_images() {
    let mut setting = Setting::new();
    assert_eq!(setting.run("first").code, Some(0));
    let active = setting.manifest().unwrap();
    setting.job["gate"]["active"] = json!({ "digest": active.revision, "uri": setting.job["output"]["uri"] });
    setting.job["output"]["uri"] = json!(crate::setting::uri(&setting.fixture.path("artifacts/next")));
    setting.job["runKey"] = json!("another");
    setting.job["hyperparameters"]["seed"] = json!(8);
    let next = setting.run("next");
    assert_eq!(next.code, Some(0), "{}", next.log);
    let gate = setting.manifest().unwrap().record.gate.unwrap();
    let beside = gate.active.expect("the active head must be judged, too");
    assert_eq!(beside.revision, active.revision);
    let names = |metrics: &[inctrl_storage::manifest::Metric]| {
        metrics.iter().map(|metric| (metric.name.clone(), metric.split.clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(&beside.metrics), names(&gate.candidate));
}

#[test]
fn a_lost_artifact_of_the_active_head_stops_no_run_and_is_told() {
    let mut setting = Setting::new();
    let lost = crate::setting::uri(&setting.fixture.path("artifacts/lost"));
    setting.job["gate"]["active"] = json!({ "digest": Digest::of("a head"), "uri": lost });
    let pod = setting.run("first");
    assert_eq!((pod.code, pod.message.outcome), (Some(0), Outcome::Published), "{}", pod.log);
    assert!(pod.message.message.unwrap().contains(&lost), "where it was must be told");
    assert!(setting.manifest().unwrap().record.gate.unwrap().active.is_none());
}

#[test]
fn an_active_head_of_another_backbone_is_not_judged_beside_the_new_one() {
    let mut setting = Setting::new();
    assert_eq!(setting.run("first").code, Some(0));
    let active = setting.manifest().unwrap().revision;
    setting.job["gate"]["active"] = json!({ "digest": active, "uri": setting.job["output"]["uri"] });
    setting.job["output"]["uri"] = json!(crate::setting::uri(&setting.fixture.path("artifacts/next")));
    setting.job["runKey"] = json!("another");
    let other = crate::support::parity_folders()[0].backbone_folder();
    let weights = other.path().join("open_clip_model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    // The least bit of the last weight: another backbone.
    let last = bytes.len() - size_of::<f32>();
    bytes[last] ^= 1;
    std::fs::write(weights, bytes).unwrap();
    setting.job["backbone"]["uri"] = json!(crate::setting::uri(other.path()));
    setting.job["backbone"]["sha256"] = json!(content(other.path()).hex());
    let next = setting.run("next");
    assert_eq!(next.code, Some(0), "{}", next.log);
    assert!(next.log.contains("is not judged beside the new one"), "{}", next.log);
    assert!(setting.manifest().unwrap().record.gate.unwrap().active.is_none());
}
