//! Manifests: what they look like, what is refused, what a signature covers.

use serde_json::json;

use super::*;

const PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEINX7SXY/XBIWMkNdrQrHHFOASGHD//eS3o6DcNDJiQeV";

fn signing_key() -> SigningKey {
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{PRIVATE}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem(pem.as_bytes()).unwrap()
}

/// A full manifest as version 1 writes it: a golden document. A change here is a change of schema.
fn document() -> Value {
    json!({
        "schema": "inctrl.dev/artifact/v1",
        "revision": Digest::of("head"),
        "createdAt": "2026-11-24T12:00:00Z",
        "trainer": "0.1.0",
        "runKey": "4k2m7q9xza",
        "specHash": Digest::of("spec"),
        "head": {"kind": "contextual", "part": "head.safetensors"},
        "backbone": {"name": "ViT-B-16-plus-240", "digest": Digest::of("backbone"), "sha256": Digest::of("files")},
        "dataset": {
            "uri": "s3://ad-data/mvtec", "fingerprint": Digest::of("listing"), "mode": "Manifest",
            "objects": 5354, "bytes": 5_264_982_680_u64
        },
        "hyperparameters": {"epochs": 10, "learningRate": "0.001", "seed": 0},
        "gate": {
            "dataset": {
                "uri": "s3://ad-data/visa-val", "fingerprint": Digest::of("gate"), "mode": "Content",
                "objects": 200, "bytes": 1000
            },
            "samples": 200,
            "candidate": [{"name": "imageAUROC", "value": 0.8815}, {"name": "imageAUROC", "split": "pcb", "value": 0.9}],
            "active": {"revision": Digest::of("older"), "metrics": [{"name": "imageAUROC", "value": 0.879}]}
        },
        "selfTest": {"part": "self-test.safetensors", "expected": [0.25, 0.75], "tolerance": 1e-4},
        "parts": [
            {"name": "head.safetensors", "path": "head.safetensors", "digest": Digest::of("head"), "bytes": 4},
            {"name": "self-test.safetensors", "path": "self-test.0a1b2c3d4e5f.safetensors",
             "digest": Digest::of("inputs"), "bytes": 6}
        ]
    })
}

fn read(document: &Value) -> Result<Manifest, ManifestError> {
    Manifest::from_json(document.to_string().as_bytes(), None)
}

#[test]
fn a_manifest_reads_and_writes_every_field_of_its_schema() {
    let manifest = read(&document()).unwrap();
    let written: Value = serde_json::from_slice(&manifest.to_json().unwrap()).unwrap();
    assert_eq!(written, document());
    assert_eq!(manifest.head().unwrap().bytes, 4);
    assert_eq!(manifest.revision, Digest::of("head"));
}

#[test]
fn a_made_manifest_is_named_by_its_heads_digest() {
    let parts = read(&document()).unwrap().parts;
    let manifest = Manifest::new(read(&document()).unwrap().record, parts, None).unwrap();
    assert_eq!(manifest, read(&document()).unwrap());
}

#[test]
fn fields_of_later_versions_are_passed_over_but_another_schema_is_refused() {
    let mut later = document();
    later["parent"] = json!("sha256:…");
    assert_eq!(read(&later).unwrap(), read(&document()).unwrap());
    later["schema"] = json!("inctrl.dev/artifact/v2");
    assert!(matches!(read(&later), Err(ManifestError::OtherSchema { schema }) if schema.ends_with("v2")));
}

#[rstest::rstest]
#[case::no_head("/head/part", json!("other.safetensors"), "lists no part \"other.safetensors\", its head")]
#[case::no_self_test("/selfTest/part", json!("none"), "lists no part \"none\", its self-test")]
#[case::another_revision("/revision", json!(Digest::of("x")), "but its head has digest")]
#[case::leaving_path("/parts/0/path", json!("../head.safetensors"), "no plain path below its folder")]
#[case::absolute_path("/parts/0/path", json!("/etc/passwd"), "no plain path below its folder")]
#[case::itself("/parts/0/path", json!("manifest.json"), "no plain path below its folder")]
#[case::twice("/parts/1/name", json!("head.safetensors"), "twice")]
#[case::no_number("/gate/candidate/0/value", json!(null), "fields of its schema")]
#[case::no_digest("/backbone/digest", json!("md5:1"), "fields of its schema")]
fn a_manifest_that_contradicts_itself_is_refused(
    #[case] field: &str,
    #[case] value: Value,
    #[case] expected: &str,
) {
    let mut document = document();
    *document.pointer_mut(field).unwrap() = value;
    let error = read(&document).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_figure_that_is_not_finite_is_never_written() {
    let mut manifest = read(&document()).unwrap();
    manifest.record.self_test.as_mut().unwrap().expected[0] = f64::NAN;
    let error = Manifest::new(manifest.record, manifest.parts, None).unwrap_err();
    assert!(matches!(error, ManifestError::NotFinite { field, .. } if field == "selfTest"));
}

#[test]
fn a_signature_covers_every_field_known_or_not() {
    let manifest = read(&document()).unwrap();
    let key = signing_key();
    let signed = Manifest::new(manifest.record, manifest.parts, Some(&key)).unwrap();
    let trusted = Some(&key.verifying_key()).cloned();
    let json: Value = serde_json::from_slice(&signed.to_json().unwrap()).unwrap();
    let verify = |json: &Value| Manifest::from_json(json.to_string().as_bytes(), trusted.as_ref());
    assert_eq!(verify(&json).unwrap(), signed);
    for (field, value) in [("/gate/samples", json!(201)), ("/parts/1/digest", json!(Digest::of("y")))] {
        let mut altered = json.clone();
        *altered.pointer_mut(field).unwrap() = value;
        assert!(matches!(verify(&altered), Err(ManifestError::Signature { .. })), "{field} must be covered");
    }
    let mut added = json.clone();
    added["unknown"] = json!(1);
    assert!(matches!(verify(&added), Err(ManifestError::Signature { .. })), "a new field must be covered");
    assert!(matches!(verify(&document()), Err(ManifestError::Unsigned)));
}

#[test]
fn what_is_not_json_is_refused() {
    assert!(matches!(Manifest::from_json(b"\x80", None), Err(ManifestError::NotJson { .. })));
    assert!(matches!(Manifest::from_json(b"[]", None), Err(ManifestError::OtherSchema { .. })));
}
