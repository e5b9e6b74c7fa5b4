//! Who may connect and call, with how much, and what the admin port tells.

use inctrl_proto::v1::server_info_service_client::ServerInfoServiceClient;
use inctrl_proto::v1::{GetServerInfoRequest, GetServerInfoResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt as _;

use crate::authority::Authority;
use crate::stage::{Server, against, encoded, reason};

/// What the admin port says of itself.
pub(crate) async fn metrics(server: &Server) -> String {
    get(server, "/metrics").await
}

async fn get(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn info(channel: Channel, token: Option<&str>) -> Result<GetServerInfoResponse, Status> {
    let mut request = Request::new(GetServerInfoRequest {});
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    ServerInfoServiceClient::new(channel).get_server_info(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_server_tells_what_it_is() {
    let (server, _hand) = Server::start().await;
    let told = info(server.channel().await, None).await.unwrap();
    assert_eq!(told.backbone.unwrap().name, "fake");
    assert_eq!(told.models[0].name, "models/default");
    assert_eq!(told.models[0].head_kind, "contextual");
    let limits = told.limits.unwrap();
    assert_eq!((limits.max_shots, limits.max_batch_images), (16, 64));
}

#[tokio::test]
async fn metrics_count_calls_by_their_code_and_probes_answer() {
    let (server, _hand) = Server::start().await;
    info(server.channel().await, None).await.unwrap();
    let missing = server.detector().await.detect_anomaly(against("nut", encoded(b"x"))).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let told = metrics(&server).await;
    for line in [
        "grpc_server_handled_total{grpc_type=\"unary\",grpc_service=\"inctrl.v1.ServerInfoService\",\
         grpc_method=\"GetServerInfo\",grpc_code=\"OK\"} 1",
        "grpc_server_handled_total{grpc_type=\"unary\",grpc_service=\"inctrl.v1.AnomalyDetectionService\",\
         grpc_method=\"DetectAnomaly\",grpc_code=\"NOT_FOUND\"} 1",
        "inctrl_queue_length 0",
        "inctrl_inflight_bytes 0",
    ] {
        assert!(told.contains(line), "{line:?} must be in\n{told}");
    }
    for path in ["/livez", "/readyz"] {
        assert!(get(&server, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_before_it_is_read() {
    let (server, _hand) = Server::start_with(|settings| {
        settings.limits.max_message_bytes = 4096;
        settings.limits.max_image_bytes = 4096;
    })
    .await;
    let mut detector = server.detector().await;
    let refused = detector.detect_anomaly(against("nut", encoded(&[0; 5000]))).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert!(refused.get_details_retry_info().is_none(), "it will be no smaller the next time");
}

#[tokio::test]
async fn tokens_are_asked_of_everyone_but_probes() {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), "alpha\nbeta\n").unwrap();
    let path = tokens.path().to_owned();
    let (server, _hand) = Server::start_with(|settings| settings.tokens_file = Some(path)).await;
    let channel = server.channel().await;
    for stranger in [None, Some("gamma")] {
        let refused = info(channel.clone(), stranger).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "TOKEN_NEEDED"));
    }
    info(channel.clone(), Some("beta")).await.unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn reflection_lists_the_services_of_this_port() {
    let (server, _hand) = Server::start().await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"inctrl.v1.AnomalyDetectionService"), "{names:?}");
    assert!(!names.contains(&"inctrl.v1.RolloutService"), "it is not served on this port: {names:?}");
}

#[tokio::test]
async fn with_client_certificates_only_known_clients_connect() {
    let (ours, strange) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Some(path)
    };
    let (certificate, key) = ours.issue("localhost");
    let tls = inctrl_server::config::TlsSettings {
        certificate: write("server.pem", &certificate),
        key: write("server.key", &key),
        client_ca: write("clients.pem", &ours.pem),
    };
    let (server, _hand) = Server::start_with(|settings| settings.tls = Some(tls)).await;
    let connect = |identity: Option<(String, String)>| {
        let mut config =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&ours.pem)).domain_name("localhost");
        if let Some((certificate, key)) = identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        let url = format!("https://{}", server.address);
        Channel::from_shared(url).unwrap().tls_config(config).unwrap().connect_lazy()
    };
    info(connect(Some(ours.issue("client"))), None).await.unwrap();
    for stranger in [None, Some(strange.issue("client"))] {
        let refused = info(connect(stranger), None).await.unwrap_err();
        assert!(
            std::error::Error::source(&refused).is_some(),
            "the connection itself must fail: {refused:?}"
        );
    }
}
