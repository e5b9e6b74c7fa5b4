//! The definition is what the chart installs, and says what the API server must check.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn schema() -> Value {
    let definition = serde_json::to_value(definition().unwrap()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Calls `look` with every schema node and its path.
fn walk(node: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
    look(path, node);
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), look);
    }
    if node["items"].is_object() {
        walk(&node["items"], &format!("{path}[]"), look);
    }
}

#[test]
fn the_chart_installs_the_definition_of_this_version() {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/inctrl/templates/crd.yaml");
    let text = std::fs::read_to_string(&chart).unwrap_or_default();
    let copy = text.lines().filter(|line| !line.starts_with("{{")).map(|line| format!("{line}\n"));
    let copy = copy.collect::<String>();
    assert!(
        copy == definition_yaml(true).unwrap(),
        "charts/inctrl/templates/crd.yaml must be what `cargo run -p inctrl-operator -- crd --keep` prints, between its \
         {{{{ if }}}} and {{{{ end }}}} lines"
    );
}

#[test]
fn every_field_is_explained() {
    let mut silent = Vec::new();
    walk(&schema(), "", &mut |path, node| {
        let said = node["description"].as_str().is_some_and(|text| text.len() >= 10);
        // The root's own fields are the API's.
        let ours = path.contains('.') && !path.ends_with("[]");
        if ours && !said {
            silent.push(path.to_owned());
        }
    });
    assert!(silent.is_empty(), "kubectl explain must have something to say about {silent:?}");
}

#[test]
fn every_string_and_list_is_bounded_so_that_the_cost_of_rules_is() {
    let mut open = Vec::new();
    walk(&schema()["properties"]["spec"], "spec", &mut |path, node| {
        let bounded = match node["type"].as_str() {
            Some("string") => node["maxLength"].is_u64() || node["enum"].is_array(),
            Some("array") => node["maxItems"].is_u64(),
            Some("integer") => node["minimum"].is_number(),
            _ => true,
        };
        if !bounded {
            open.push(path.to_owned());
        }
    });
    assert!(open.is_empty(), "the API server's cost estimate needs bounds on {open:?}");
}

#[test]
fn nothing_is_nullable_and_no_number_is_a_float() {
    let text = serde_json::to_string(&definition().unwrap()).unwrap();
    assert!(!text.contains("\"nullable\""), "an absent field must be left out, never null");
    assert!(!text.contains("\"type\":\"number\""), "thresholds must be whole numbers of basis points");
}

#[test]
fn rules_say_what_to_write_instead() {
    let mut messages = Vec::new();
    walk(&schema(), "", &mut |_, node| {
        for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
            messages.push(rule["message"].as_str().expect("every rule must have a message").to_owned());
        }
    });
    for expected in [
        "metadata.name must be at most 63 characters",
        "approvedDigest is only for approval: Manual",
        "serving.selector is immutable",
        "an http(s) dataset must pin sha256",
        "schedule and retrainOn: [Schedule] go together",
        "batchSize must be even",
        "a gate metric needs at least one bound",
        "minBasisPoints is for quality metrics, maxValue for latency",
        "step weights must strictly increase and end at 100",
    ] {
        assert!(
            messages.iter().any(|message| message.contains(expected)),
            "{expected:?} must be said: {messages:?}"
        );
    }
}

#[test]
fn defaults_of_the_types_are_defaults_of_the_schema() {
    let sparse: InCTRLModelSpec = serde_json::from_value(json!({
        "backbone": { "uri": "file:///b", "sha256": "00" },
        "training": { "dataset": { "uri": "file:///d" } },
        "gate": { "dataset": { "uri": "file:///g" }, "metrics": [] },
        "serving": { "selector": { "matchLabels": { "a": "b" } } },
        "artifacts": { "uri": "file:///a" },
    }))
    .unwrap();
    let full = serde_json::to_value(&sparse).unwrap();
    let mut wrong = Vec::new();
    compare(&schema()["properties"]["spec"], &full, "spec", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(sparse.rollout.steps, [Step { weight: 100, pause_seconds: 60 }]);
    assert_eq!(sparse.training.hyperparameters.learning_rate, "0.001");
}

fn compare(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let given = &value[name];
        if let Some(default) = property.get("default")
            && property["type"] != "object"
            && default != given
        {
            wrong.push(format!("{path}: the schema says {default}, the type {given}"));
        }
        compare(property, given, &path, wrong);
    }
}

/// A status in which every field is written.
fn full_status() -> InCTRLModelStatus {
    let now = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let text = Some("x".to_owned());
    let revision = Revision {
        revision: 1,
        digest: text.clone(),
        uri: text.clone(),
        spec_hash: text.clone(),
        dataset_fingerprint: text.clone(),
        backbone_digest: text.clone(),
        gate_fingerprint: text.clone(),
        gate_samples: Some(1),
        job_name: text.clone(),
        metrics: vec![RevisionMetric { name: "f1Max".to_owned(), basis_points: Some(1), value: Some(2) }],
        trained_at: Some(now),
        promoted_at: Some(now),
        phase: text.clone(),
        reason: text.clone(),
    };
    InCTRLModelStatus {
        observed_generation: Some(1),
        phase: text.clone(),
        conditions: vec![conditions::Condition {
            type_: "Ready".to_owned(),
            status: conditions::ConditionStatus::True,
            observed_generation: Some(1),
            last_transition_time: now,
            reason: "Serving".to_owned(),
            message: "x".to_owned(),
        }],
        active: Some(revision.clone()),
        candidate: Some(revision.clone()),
        history: vec![revision],
        last_revision: Some(1),
        dataset: Some(DatasetStatus {
            fingerprint: text.clone(),
            objects: Some(1),
            bytes: Some(1),
            checked_at: Some(now),
        }),
        run: Some(Run {
            job_name: text.clone(),
            key: text.clone(),
            trigger: text.clone(),
            nonce: text.clone(),
            spec_hash: text.clone(),
            dataset_fingerprint: text.clone(),
            outcome: text.clone(),
            reason: text.clone(),
            attempt: Some(1),
            started_at: Some(now),
            finished_at: Some(now),
            progress_percent: Some(5),
        }),
        canary: Some(Canary {
            step: Some(0),
            weight: 1,
            step_started_at: Some(now),
            failures: 1,
            failed_at: Some(now),
            base_requests: Some(1),
            base_errors: Some(1),
            base_servers: Some(1),
        }),
        bake: Some(Bake {
            standby_revision: 1,
            started_at: now,
            failures: 1,
            failed_at: Some(now),
            base_requests: 1,
            base_errors: 1,
            base_servers: Some(1),
        }),
        servers: Some(Servers { total: 1, active: 1, candidate: 1, unreachable: 1 }),
        next_schedule_time: Some(now),
        retrained_at: text.clone(),
        rejected_digest: text,
        retry_not_before: Some(now),
    }
}

/// Regression 5.
#[test]
fn every_status_field_survives_a_round_trip_and_is_in_the_schema() {
    let status = full_status();
    let value = serde_json::to_value(&status).unwrap();
    assert_eq!(serde_json::from_value::<InCTRLModelStatus>(value.clone()).unwrap(), status);
    let tried: Value =
        serde_json::from_str(include_str!("../../../tests/operator/data/status.json")).unwrap();
    assert_eq!(tried, value, "what a real API server is tried with must hold every field");
    let mut missing = Vec::new();
    undeclared(&schema()["properties"]["status"], &value, "status", &mut missing);
    assert!(missing.is_empty(), "the API server would prune {missing:?}");
}

fn undeclared(schema: &Value, value: &Value, path: &str, missing: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match schema["properties"].get(name) {
                    Some(property) => undeclared(property, field, &format!("{path}.{name}"), missing),
                    None => missing.push(format!("{path}.{name}")),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                undeclared(&schema["items"], item, &format!("{path}[]"), missing);
            }
        }
        Value::Null => missing.push(format!("{path} is null")),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
