//! Who may command.

use std::error::Error as _;
use std::net::SocketAddr;

use inctrl_proto::v1::rollout_service_client::RolloutServiceClient;
use inctrl_proto::v1::{GetRolloutStatusRequest, RolloutStatus};
use inctrl_server::config::{RolloutSettings, TlsSettings};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Status};

use crate::authority::Authority;
use crate::stage::{Server, reason};

async fn status(channel: Channel) -> Result<RolloutStatus, Status> {
    let answer = RolloutServiceClient::new(channel).get_rollout_status(GetRolloutStatusRequest {}).await;
    answer.map(|answer| answer.into_inner().status.unwrap())
}

#[tokio::test]
async fn only_the_operator_commands_and_only_by_mutual_tls() {
    let (ours, strange) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Some(path)
    };
    let (certificate, key) = ours.issue("inctrl-server");
    let tls = TlsSettings {
        certificate: write("server.pem", &certificate),
        key: write("server.key", &key),
        client_ca: write("clients.pem", &ours.pem),
    };
    let (server, _hand) = Server::start_with(|settings| {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.rollout = Some(RolloutSettings { listen, tls: Some(tls), ..RolloutSettings::default() });
    })
    .await;
    let address = server.rollout.unwrap();
    let connect = |identity: Option<(String, String)>| {
        let mut config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&ours.pem))
            .domain_name("inctrl-server");
        if let Some((certificate, key)) = identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        Channel::from_shared(format!("https://{address}")).unwrap().tls_config(config).unwrap().connect_lazy()
    };
    let told = status(connect(Some(ours.issue("inctrl-operator")))).await.unwrap();
    assert_eq!(told.backbone_digest, inctrl_server::scorer::fake::BACKBONE_DIGEST);

    // One of ours, but not the operator: a server's own certificate, say.
    let refused = status(connect(Some(ours.issue("inctrl-server")))).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "CLIENT_NOT_KNOWN"));
    for stranger in [None, Some(strange.issue("inctrl-operator"))] {
        let refused = status(connect(stranger)).await.unwrap_err();
        assert!(refused.source().is_some(), "the connection itself must fail: {refused:?}");
    }
    let plain = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    assert!(status(plain).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn roll_outs_are_not_taken_on_the_data_port() {
    let (server, _hand) = Server::start_with(super::stage::plain).await;
    let refused = status(server.channel().await).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    server.stop().await;
}
