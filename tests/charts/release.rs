//! The life of a release.

use inctrl_tests::control_plane::create_namespace;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};

use crate::stage::{CHART, client, helm_on_plane, success};

const NAMESPACE: &str = "release";

/// Secrets of the roll-out port, and their contents.
async fn certificates(client: &Client) -> Vec<(String, Secret)> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let mut found = Vec::new();
    for name in ["r-inctrl-admin-ca", "r-inctrl-operator-tls", "r-inctrl-server-tls"] {
        let secret = secrets.get(name).await.unwrap();
        let contents = Secret { data: secret.data, type_: secret.type_, ..Secret::default() };
        found.push((name.to_owned(), contents));
    }
    found
}

async fn replicas(client: &Client, part: &str) -> Option<i32> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    deployments.get(&format!("r-inctrl-{part}")).await.unwrap().spec.replicas
}

async fn helm(arguments: &[&str]) -> String {
    success(helm_on_plane().await.args(arguments).args(["--namespace", NAMESPACE]))
}

/// Regression 18.
pub(crate) async fn certificates_outlive_upgrade_and_rollback_and_the_definition_the_release() {
    let client = client().await;
    create_namespace(&client, NAMESPACE, &[]).await;
    // No pod is wanted: whether images can be had is not the question here. The definition is there already, applied by hand.
    let none = ["--set", "operator.replicas=0,server.replicas=0"];
    let install = [&["install", "r", CHART, "--take-ownership"][..], &none].concat();
    let notes = helm(&install).await;
    for said in ["r-inctrl-server.release.svc:50051", "app.kubernetes.io/instance: r", "kubectl delete crd"] {
        assert!(notes.contains(said), "{said} must be among the notes:\n{notes}");
    }
    let first = certificates(&client).await;

    let more =
        ["--set", "operator.replicas=0,server.replicas=0,operator.concurrency=4,server.service.port=443"];
    helm(&[&["upgrade", "r", CHART][..], &more].concat()).await;
    assert_eq!(certificates(&client).await, first, "an upgrade must not change certificates");

    // A certificate that is gone is made anew, by the same authority.
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    secrets.delete("r-inctrl-server-tls", &DeleteParams::default()).await.unwrap();
    helm(&[&["upgrade", "r", CHART][..], &more].concat()).await;
    let renewed = certificates(&client).await;
    assert_eq!(renewed[..2], first[..2], "authority and the other side must stay");
    let part = |secret: &Secret, key: &str| secret.data.as_ref().unwrap()[key].0.clone();
    assert_eq!(part(&renewed[2].1, "ca.crt"), part(&first[2].1, "ca.crt"));
    assert_ne!(part(&renewed[2].1, "tls.crt"), part(&first[2].1, "tls.crt"));

    helm(&["rollback", "r", "1"]).await;
    assert_eq!(certificates(&client).await, first, "a rollback must bring back what was there");
    assert_eq!((replicas(&client, "operator").await, replicas(&client, "server").await), (Some(0), Some(0)));

    helm(&["uninstall", "r", "--wait"]).await;
    let left = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
    let left = left.list(&ListParams::default()).await.unwrap().items;
    assert!(left.is_empty(), "{:?} must be gone", left.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    assert!(secrets.get_opt("r-inctrl-admin-ca").await.unwrap().is_none(), "keys must not be left behind");
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    let definition = definitions.get("inctrlmodels.inctrl.dev").await;
    assert!(definition.is_ok_and(|it| it.metadata.deletion_timestamp.is_none()), "the definition must stay");

    // And the release can come back.
    helm(&[&["install", "r", CHART][..], &none].concat()).await;
    helm(&["uninstall", "r", "--wait"]).await;
}
