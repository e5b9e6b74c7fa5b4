//! What each program of the control plane is told.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use super::audit;
use super::pki::Pki;

/// The flags of a program; data go below `directory`.
pub(super) fn of(program: &str, directory: &Path, pki: &Pki, ports: &Ports) -> Vec<String> {
    match program {
        "etcd" => etcd_flags(directory, ports),
        "kube-apiserver" => api_server_flags(directory, pki, ports),
        "kube-controller-manager" => controller_manager_flags(pki),
        "kube-scheduler" => scheduler_flags(pki),
        other => panic!("{other} is no program of the control plane"),
    }
}

/// Ports that were free a moment ago.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) etcd_client: u16,
    pub(super) etcd_peer: u16,
    pub(super) api_server: u16,
}

impl Ports {
    pub(super) fn free() -> std::io::Result<Self> {
        // All are bound at once, so that no two are the same.
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners = [bind()?, bind()?, bind()?];
        let port = |index: usize| listeners[index].local_addr().map(|address| address.port());
        Ok(Self { etcd_client: port(0)?, etcd_peer: port(1)?, api_server: port(2)? })
    }
}

fn etcd_flags(directory: &Path, ports: &Ports) -> Vec<String> {
    let Ports { etcd_client, etcd_peer, .. } = ports;
    let (client, peer) = (format!("http://127.0.0.1:{etcd_client}"), format!("http://127.0.0.1:{etcd_peer}"));
    vec![
        "--name=test".into(),
        format!("--data-dir={}", directory.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=test={peer}"),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn api_server_flags(directory: &Path, pki: &Pki, ports: &Ports) -> Vec<String> {
    vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd_client),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={}", ports.api_server),
        format!("--tls-cert-file={}", pki.file("apiserver.crt")),
        format!("--tls-private-key-file={}", pki.file("apiserver.key")),
        format!("--client-ca-file={}", pki.file("ca.crt")),
        format!("--service-account-key-file={}", pki.file("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", pki.file("service-accounts.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--audit-policy-file={}", directory.join(audit::POLICY).display()),
        format!("--audit-log-path={}", directory.join(audit::LOG).display()),
    ]
}

fn controller_manager_flags(pki: &Pki) -> Vec<String> {
    let kubeconfig = pki.kubeconfig("controller-manager");
    let kubeconfig = kubeconfig.display();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--service-account-private-key-file={}", pki.file("service-accounts.key")),
        format!("--root-ca-file={}", pki.file("ca.crt")),
        "--use-service-account-credentials".into(),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
        "--secure-port=0".into(),
        // The defaults are for a cluster whose server others need too.
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ]
}

fn scheduler_flags(pki: &Pki) -> Vec<String> {
    let kubeconfig = pki.kubeconfig("scheduler");
    let kubeconfig = kubeconfig.display();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ]
}
