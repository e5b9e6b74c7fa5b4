//! What the chart renders to, judged by a real API server.

use std::path::Path;

use inctrl_tests::control_plane::create_namespace;

use crate::stage::{CHART, client, helm_on_plane, run, success, value_files, values_flag, with_plane};

/// A name that YAML takes for a yes where it is not quoted.
const RELEASE: &str = "y";

async fn render(namespace: &str, values: Option<&Path>) -> String {
    let mut template = helm_on_plane().await;
    template.args(["template", RELEASE, CHART, "--namespace", namespace]).args(values_flag(values));
    success(&mut template)
}

pub(crate) async fn the_api_server_accepts_every_rendering() {
    const NAMESPACE: &str = "rendering";
    create_namespace(&client().await, NAMESPACE, &[]).await;
    // Named by one of the files.
    create_namespace(&client().await, "watched", &[]).await;
    for file in value_files() {
        let rendered = render(NAMESPACE, file.as_deref()).await;
        let said = with_plane(|plane, _| {
            let path = plane.folder().join("rendered.yaml");
            std::fs::write(&path, &rendered).unwrap();
            // Strict: a field that the API does not know is an error, and server-side apply knows all.
            let apply =
                ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts"];
            run(plane.kubectl().args(apply).arg("--filename").arg(path))
        })
        .await;
        let objects = rendered.lines().filter(|line| line.starts_with("kind: ")).count();
        assert_eq!(said.0.lines().count(), objects, "{file:?}: every object must be accepted\n{}", said.0);
        assert!(!said.1.contains("Warning"), "{file:?}: {}", said.1);
    }
}

pub(crate) async fn every_pod_is_restricted() {
    const NAMESPACE: &str = "restricted";
    // What is enforced on pods is warned of where a Deployment would make them.
    let restricted = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}"));
    let labels = restricted.each_ref().map(|label| (label.as_str(), "restricted"));
    create_namespace(&client().await, NAMESPACE, &labels).await;
    let warns_of_a_pod_that_is_not = with_plane(|plane, _| {
        let create =
            ["create", "deployment", "loose", "--image=x", "--dry-run=server", "--namespace", NAMESPACE];
        run(plane.kubectl().args(create)).1
    })
    .await;
    assert!(warns_of_a_pod_that_is_not.contains("would violate PodSecurity"), "{warns_of_a_pod_that_is_not}");
    for file in value_files() {
        let rendered = render(NAMESPACE, file.as_deref()).await;
        let deployments: Vec<_> =
            rendered.split("\n---\n").filter(|object| object.contains("\nkind: Deployment\n")).collect();
        assert!(!deployments.is_empty(), "{file:?} must render pods");
        let (out, error) = with_plane(|plane, _| {
            let path = plane.folder().join("deployments.yaml");
            std::fs::write(&path, deployments.join("\n---\n")).unwrap();
            let apply = ["apply", "--server-side", "--dry-run=server", "--filename"];
            run(plane.kubectl().args(apply).arg(path))
        })
        .await;
        assert!(out.contains("deployment.apps/"), "{file:?}: {out}");
        assert!(!error.contains("PodSecurity"), "{file:?}: {error}");
    }
}
