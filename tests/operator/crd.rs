//! The definition that `inctrl-operator crd` prints, on a real API server: what it accepts, what it refuses, and what
//! it says then.

use std::collections::BTreeMap;
use std::process::Command;

use inctrl_tests::programs::program;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::stage::{client, eventually, namespace};

const RESOURCE: &str = include_str!("data/inctrlmodel.yaml");
const CASES: &str = include_str!("data/cases.yaml");

/// Seventeen and the resource itself: a file that was cut short must not pass.
const COUNT: usize = 18;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    on: On,
    /// Values by JSON pointer.
    #[serde(default)]
    set: BTreeMap<String, Value>,
    verdict: Verdict,
    /// Part of the message of a refusal.
    says: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum On {
    #[default]
    Create,
    Update,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accepted,
    Refused,
}

pub(crate) async fn cases_are_accepted_and_refused_as_they_say() {
    let client = client().await;
    let namespace = namespace(&client).await;
    install(&client).await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("inctrl.dev", "v1alpha1", "InCTRLModel"));
    let models: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &kind);
    let resource: Value = serde_yaml::from_str(RESOURCE).unwrap();
    let (apply, name) = (PatchParams::apply("cases").force(), resource["metadata"]["name"].as_str().unwrap());
    models.patch(name, &apply, &Patch::Apply(&resource)).await.expect("the resource itself must be accepted");

    let cases: Vec<Case> = serde_yaml::from_str(CASES).unwrap();
    assert_eq!(cases.len(), COUNT);
    let mut surprises = Vec::new();
    for case in cases {
        let mut document = resource.clone();
        if case.on == On::Create {
            document["metadata"]["name"] = json!("another");
        }
        for (pointer, value) in &case.set {
            put(&mut document, pointer, value.clone());
        }
        let name = document["metadata"]["name"].as_str().unwrap();
        let answer = models.patch(name, &apply.clone().dry_run(), &Patch::Apply(&document)).await;
        let (verdict, message) = match answer {
            Ok(_) => (Verdict::Accepted, String::new()),
            Err(kube::Error::Api(status)) => (Verdict::Refused, status.message.clone()),
            Err(error) => panic!("{}: {error}", case.name),
        };
        if verdict != case.verdict || !message.contains(case.says.as_deref().unwrap_or_default()) {
            surprises.push(format!("{}: {verdict:?}, saying {message:?}", case.name));
        }
    }
    assert!(surprises.is_empty(), "not as the cases say:\n  {}", surprises.join("\n  "));
}

pub(crate) async fn the_example_is_accepted() {
    let client = client().await;
    let namespace = namespace(&client).await;
    install(&client).await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("inctrl.dev", "v1alpha1", "InCTRLModel"));
    let models: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &kind);
    let example: Value = serde_yaml::from_str(include_str!("../../examples/model.yaml")).unwrap();
    let name = example["metadata"]["name"].as_str().unwrap();
    let apply = PatchParams::apply("example").dry_run();
    models.patch(name, &apply, &Patch::Apply(&example)).await.expect("examples/model.yaml must be accepted");
}

/// Regression 5.
pub(crate) async fn every_status_field_is_read_back_as_it_was_written() {
    let client = client().await;
    let namespace = namespace(&client).await;
    install(&client).await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("inctrl.dev", "v1alpha1", "InCTRLModel"));
    let models: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &kind);
    let mut resource: Value = serde_yaml::from_str(RESOURCE).unwrap();
    let name = resource["metadata"]["name"].as_str().unwrap().to_owned();
    let apply = PatchParams::apply("trials").force();
    models.patch(&name, &apply, &Patch::Apply(&resource)).await.unwrap();
    let status: Value = serde_json::from_str(include_str!("data/status.json")).unwrap();
    resource.as_object_mut().unwrap().remove("spec");
    resource["status"] = status.clone();
    models.patch_status(&name, &apply, &Patch::Apply(&resource)).await.expect("every field must be known");
    assert_eq!(models.get(&name).await.unwrap().data["status"], status);
}

/// Installs the definition that the operator's own program prints.
async fn install(client: &Client) {
    let operator = program("inctrl-operator", "inctrl-operator").unwrap();
    let output = Command::new(operator).arg("crd").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let definition: Value = serde_yaml::from_slice(&output.stdout).unwrap();
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let apply = PatchParams::apply("trials").force();
    definitions
        .patch(&name, &apply, &Patch::Apply(&definition))
        .await
        .expect("the definition must be accepted");
    eventually("the definition's kind", async || {
        let conditions = definitions.get(&name).await.unwrap().status?.conditions?;
        let is_true = |kind: &str| conditions.iter().any(|it| it.type_ == kind && it.status == "True");
        is_true("Established").then_some(())
    })
    .await;
}

/// Sets a value where a JSON pointer says, also one that is not there yet.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} must be in the resource"))[key] = value;
}
