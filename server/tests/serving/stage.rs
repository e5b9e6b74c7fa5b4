//! A server in this process with a scorer driven by hand, and what tests call it with.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use inctrl_proto::v1::anomaly_detection_service_client::AnomalyDetectionServiceClient;
use inctrl_proto::v1::detect_anomaly_request::Prompts;
use inctrl_proto::v1::image::Source;
use inctrl_proto::v1::prompt_set_service_client::PromptSetServiceClient;
use inctrl_proto::v1::{
    CreatePromptSetRequest, DetectAnomalyRequest, Image, InlinePrompts, PromptSet, RawImage,
};
use inctrl_server::app::{App, AppError, Running};
use inctrl_server::config::{Config, Settings};
use inctrl_server::scorer::Scorer;
use inctrl_server::scorer::fake::{FakeScorer, Hand};
use inctrl_telemetry::Shutdown;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) rollout: Option<SocketAddr>,
    pub(crate) shutdown: Shutdown,
    pub(crate) ended: JoinHandle<Result<(), AppError>>,
    pub(crate) folder: TempDir,
}

/// Settings of a server on any free port that keeps what it has below `folder` and drains at once.
pub(crate) fn settings(folder: &Path) -> Settings {
    let head = folder.join("head");
    std::fs::write(&head, "of-the-fake").unwrap();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = Settings {
        listen: anywhere,
        admin_listen: anywhere,
        backbone: Some(folder.join("unused")),
        head: Some(head),
        state_dir: folder.join("state"),
        threads: 1,
        ..Settings::default()
    };
    settings.drain.delay = jiff::SignedDuration::ZERO;
    settings
}

impl Server {
    /// A server with a fake scorer.
    pub(crate) async fn start() -> (Self, Hand) {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> (Self, Hand) {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// A server on what another left behind.
    pub(crate) async fn start_in(folder: TempDir, change: impl FnOnce(&mut Settings)) -> (Self, Hand) {
        let mut settings = settings(folder.path());
        change(&mut settings);
        let (scorer, hand) = FakeScorer::new();
        let app = App::bind(Config::new(settings).unwrap()).unwrap();
        let make = move || Ok::<Box<dyn Scorer>, Infallible>(Box::new(scorer));
        (Self::run(app.start(make).await.unwrap(), folder), hand)
    }

    pub(crate) fn run(running: Running, folder: TempDir) -> Self {
        let shutdown = Shutdown::default();
        let (address, admin) = (running.address(), running.admin_address());
        let rollout = running.rollout_address();
        let ended = tokio::spawn(running.until_stopped(shutdown.clone()));
        Self { address, admin, rollout, shutdown, ended, folder }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn detector(&self) -> AnomalyDetectionServiceClient<Channel> {
        AnomalyDetectionServiceClient::new(self.channel().await)
    }

    pub(crate) async fn prompt_sets(&self) -> PromptSetServiceClient<Channel> {
        PromptSetServiceClient::new(self.channel().await)
    }

    /// Stores a prompt set of one image.
    pub(crate) async fn create(&self, id: &str) -> PromptSet {
        let created = self.prompt_sets().await.create_prompt_set(create(id, inline(&[0]))).await.unwrap();
        created.into_inner().prompt_set.unwrap()
    }

    /// Stops it and waits for its end; leaves what it kept.
    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.begin();
        self.ended.await.unwrap().unwrap();
        self.folder
    }
}

/// An image of one colour that the fake scores `value / 255`.
pub(crate) fn grey(value: u8) -> Image {
    let raw = RawImage { width: 8, height: 8, rgb: vec![value; 8 * 8 * 3].into() };
    Image { source: Some(Source::Raw(raw)) }
}

pub(crate) fn encoded(bytes: &[u8]) -> Image {
    Image { source: Some(Source::Encoded(bytes.to_vec().into())) }
}

pub(crate) fn inline(values: &[u8]) -> InlinePrompts {
    let normal_images = values.iter().map(|&value| grey(value)).collect();
    InlinePrompts { normal_images, object_class: "nut".to_owned() }
}

pub(crate) fn create(id: &str, prompts: InlinePrompts) -> CreatePromptSetRequest {
    CreatePromptSetRequest { prompt_set_id: id.to_owned(), prompts: Some(prompts) }
}

/// A request to score `image` against a stored prompt set.
pub(crate) fn against(id: &str, image: Image) -> DetectAnomalyRequest {
    let prompts = Some(Prompts::PromptSet(format!("promptSets/{id}")));
    DetectAnomalyRequest { image: Some(image), prompts, options: None }
}

/// The reason in a refusal's details.
pub(crate) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.unwrap_or_else(|| panic!("{status:?} must have a reason")).reason
}
