//! grpcurl, through reflection alone: it knows no `.proto` file of ours.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::images;
use crate::stage::{go_tools, server};

/// grpcurl adds the gRPC code to it.
const EXIT_CODE_BASE: i32 = 64;
const NOT_FOUND: i32 = 5;

pub(crate) fn lists_the_services_by_reflection() {
    let listed = text(run(grpcurl().arg(server()).arg("list"), None));
    let expected = [
        "grpc.health.v1.Health",
        "inctrl.v1.AnomalyDetectionService",
        "inctrl.v1.PromptSetService",
        "inctrl.v1.ServerInfoService",
    ];
    for service in expected {
        assert!(listed.lines().any(|line| line == service), "{service} must be in\n{listed}");
    }
}

pub(crate) fn both_versions_of_reflection_answer() {
    for version in ["v1", "v1alpha"] {
        let method = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answer = call(&method, &json!({"list_services": ""}));
        let services = answer["listServicesResponse"]["service"].as_array().unwrap();
        let has_ours = services.iter().any(|service| service["name"] == "inctrl.v1.PromptSetService");
        assert!(has_ours, "{version} must list our services: {answer}");
    }
}

pub(crate) fn describes_methods_with_their_comments() {
    let described =
        text(run(grpcurl().arg(server()).args(["describe", "inctrl.v1.AnomalyDetectionService"]), None));
    for part in
        ["rpc DetectAnomaly ( .inctrl.v1.DetectAnomalyRequest )", "Scores one image", "NO_SIDE_EFFECTS"]
    {
        assert!(described.contains(part), "{part:?} must be in\n{described}");
    }
}

pub(crate) fn reads_what_the_server_is() {
    let info = call("inctrl.v1.ServerInfoService/GetServerInfo", &json!({}));
    assert!(info["backbone"]["digest"].as_str().unwrap().starts_with("sha256:"), "{info}");
    assert_eq!(info["models"][0]["headKind"], "contextual", "{info}");
    assert_eq!(info["limits"]["maxShots"], 16, "{info}");
}

pub(crate) fn scores_an_image_against_a_stored_prompt_set() {
    let encoded = |seed, has_blot| json!({"encoded": BASE64_STANDARD.encode(images::png(seed, has_blot))});
    let normals: Vec<Value> = (0..4).map(|seed| encoded(seed, false)).collect();
    let create = json!({
        "promptSetId": "stripes-by-grpcurl",
        "prompts": {"normalImages": normals, "objectClass": "stripes"},
    });
    let created = call("inctrl.v1.PromptSetService/CreatePromptSet", &create);
    assert_eq!(created["promptSet"]["shotCount"], 4, "{created}");
    let detect = |seed, has_blot| {
        let request = json!({
            "image": encoded(seed, has_blot),
            "promptSet": "promptSets/stripes-by-grpcurl",
            "options": {"anomalyMapMode": "ANOMALY_MAP_MODE_PATCH_GRID"},
        });
        call("inctrl.v1.AnomalyDetectionService/DetectAnomaly", &request)
    };
    let (normal, anomalous) = (detect(100, false), detect(101, true));
    assert_eq!(normal["decision"], "DECISION_UNCALIBRATED", "{normal}");
    assert_eq!(normal["provenance"]["promptDigest"], created["promptSet"]["contentDigest"]);
    let score = |answer: &Value| answer["score"].as_f64().unwrap();
    assert!(score(&normal) < score(&anomalous), "a blot must score higher:\n{normal}\n{anomalous}");
    let map = &anomalous["anomalyMap"];
    let values = BASE64_STANDARD.decode(map["values"].as_str().unwrap()).unwrap();
    let count = map["width"].as_u64().unwrap() * map["height"].as_u64().unwrap();
    assert_eq!(values.len() as u64, count * 4, "one float32 a patch");
}

pub(crate) fn reads_the_details_of_a_refusal() {
    let request = json!({"name": "promptSets/unheard-of"});
    let method = "inctrl.v1.PromptSetService/GetPromptSet";
    let refused = run(grpcurl().args(["-format-error", "-d", "@"]).arg(server()).arg(method), Some(&request));
    assert_eq!(refused.status.code(), Some(EXIT_CODE_BASE + NOT_FOUND), "{refused:?}");
    let told: Value = serde_json::from_slice(&refused.stderr).unwrap();
    let details = told["details"].as_array().unwrap();
    let detail = |kind: &str| {
        let is_it = |detail: &&Value| detail["@type"].as_str().unwrap().ends_with(kind);
        details.iter().find(is_it).unwrap_or_else(|| panic!("{kind} must be among the details: {told}"))
    };
    assert_eq!(detail("google.rpc.ErrorInfo")["domain"], "inctrl.dev");
    assert_eq!(detail("google.rpc.ResourceInfo")["resourceName"], "promptSets/unheard-of");
}

fn grpcurl() -> Command {
    let mut command = go_tools().grpcurl();
    command.arg("-plaintext");
    command
}

/// Calls a method that must succeed.
fn call(method: &str, request: &Value) -> Value {
    let answer = text(run(grpcurl().args(["-d", "@"]).arg(server()).arg(method), Some(request)));
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn run(command: &mut Command, request: Option<&Value>) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if let Some(request) = request {
        child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    }
    child.wait_with_output().unwrap()
}

/// What a program that succeeded printed.
fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
