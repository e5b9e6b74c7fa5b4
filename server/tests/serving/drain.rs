//! How a server starts and stops.

use std::convert::Infallible;

use inctrl_proto::v1::DetectAnomalyRequest;
use inctrl_proto::v1::anomaly_detection_service_client::AnomalyDetectionServiceClient;
use inctrl_proto::v1::detect_anomaly_request::Prompts;
use inctrl_server::app::App;
use inctrl_server::config::Config;
use inctrl_server::scorer::Scorer;
use inctrl_server::scorer::fake::FakeScorer;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::stage::{Server, against, grey, inline, reason, settings};

#[tokio::test]
async fn a_server_that_loads_its_backbone_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::bind(Config::new(settings(folder.path())).unwrap()).unwrap();
    let address = app.address();
    let (loaded, loading) = std::sync::mpsc::channel::<()>();
    let starting = tokio::spawn(app.start(move || {
        loading.recv().unwrap();
        Ok::<Box<dyn Scorer>, Infallible>(Box::new(FakeScorer::new().0))
    }));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut detector = AnomalyDetectionServiceClient::new(channel.clone());
    let prompts = Some(Prompts::InlinePrompts(inline(&[1])));
    let request = DetectAnomalyRequest { image: Some(grey(1)), prompts, options: None };
    let early = detector.detect_anomaly(request.clone()).await.unwrap_err();
    assert_eq!((early.code(), reason(&early).as_str()), (Code::Unavailable, "STARTING"));
    let mut health = HealthClient::new(channel);
    let mut check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.unwrap().into_inner().status()
    };
    assert_eq!(check("").await, ServingStatus::NotServing);
    assert_eq!(check("liveness").await, ServingStatus::Serving);
    loaded.send(()).unwrap();
    let server = Server::run(starting.await.unwrap().unwrap(), folder);
    assert_eq!(check("startup").await, ServingStatus::Serving);
    detector.detect_anomaly(request).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_call_in_work_is_answered_while_new_connections_are_refused() {
    let (server, hand) = Server::start().await;
    server.create("nut").await;
    let mut detector = server.detector().await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    hand.hold();
    let call = tokio::spawn(async move { detector.detect_anomaly(against("nut", grey(1))).await });
    hand.until(|seen| seen.batches.len() == 1).await;
    server.shutdown.begin();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none(), "an open watch must be let go");
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    hand.let_all_go();
    call.await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_told_that_the_server_leaves() {
    let (server, hand) = Server::start_with(|settings| {
        settings.drain.timeout = jiff::SignedDuration::from_millis(1);
    })
    .await;
    server.create("nut").await;
    let mut detector = server.detector().await;
    hand.hold();
    let call = tokio::spawn(async move { detector.detect_anomaly(against("nut", grey(1))).await });
    hand.until(|seen| seen.batches.len() == 1).await;
    server.shutdown.begin();
    let told = call.await.unwrap().unwrap_err();
    assert_eq!((told.code(), reason(&told).as_str()), (Code::Unavailable, "DRAINING"));
    hand.let_all_go();
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_does_not_hold_up_the_end() {
    let (server, _hand) = Server::start().await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let _idle = server.channel().await;
    server.stop().await;
}
