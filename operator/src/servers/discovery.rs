//! Where a scoring server is reached: from its pod, ready or not, for a server becomes ready only once it has a head.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// Name of the container port of a server's rollout listener.
pub(super) const PORT_NAME: &str = "admin-grpc";

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Address of its pod.
    pub ip: IpAddr,
    /// Its port, where the pod names it.
    pub port: Option<u16>,
}

/// A server as its pod shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Unlike any pod before it of the same name.
    pub uid: String,
    /// Labels that models select by.
    pub labels: BTreeMap<String, String>,
    /// Where it is reached.
    pub address: Address,
}

/// The server of a pod that has an address and is not ending.
pub fn locate(pod: &Pod) -> Option<Found> {
    let status = pod.status.as_ref()?;
    if pod.metadata.deletion_timestamp.is_some()
        || matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
    {
        return None;
    }
    let ip = status.pod_ip.as_deref()?.parse().ok()?;
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some(PORT_NAME));
    Some(Found {
        uid: pod.uid().unwrap_or_default(),
        labels: pod.labels().clone(),
        address: Address { ip, port: port.and_then(|port| u16::try_from(port.container_port).ok()) },
    })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values written in place read best handed over")]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "s-0", "uid": "p-1", "labels": { "app": "inctrl-server" } },
            "spec": { "containers": [{ "name": "server", "ports": [
                { "name": "grpc", "containerPort": 50051 }, { "name": PORT_NAME, "containerPort": 9443 },
            ]}]},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_server_is_found_before_it_is_ready() {
        let found = locate(&pod(json!({ "phase": "Running", "podIP": "10.0.0.7" }))).unwrap();
        assert_eq!(found.address, Address { ip: "10.0.0.7".parse().unwrap(), port: Some(9443) });
        assert_eq!(found.uid, "p-1");
    }

    #[test]
    fn a_pod_without_address_or_at_its_end_is_no_server() {
        assert!(locate(&pod(json!({ "phase": "Pending" }))).is_none());
        assert!(locate(&pod(json!({ "phase": "Failed", "podIP": "10.0.0.7" }))).is_none());
        let mut ending = pod(json!({ "phase": "Running", "podIP": "10.0.0.7" }));
        ending.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert!(locate(&ending).is_none());
    }
}
