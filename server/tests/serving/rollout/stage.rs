//! What a test commands with.

use std::net::SocketAddr;

use inctrl_proto::v1::rollout_service_client::RolloutServiceClient;
use inctrl_proto::v1::{
    ApplyRolloutRequest, DetectAnomalyResponse, GetRolloutStatusRequest, Head, HeadProblem, HeadState,
    HeadStatus, ModelRollout, RolloutStatus, WatchRolloutStatusRequest,
};
use inctrl_server::config::{RolloutSettings, Settings};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::stage::{Server, against, grey};

/// Takes roll-outs of this machine.
pub(super) fn plain(settings: &mut Settings) {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.rollout = Some(RolloutSettings { listen, plaintext: true, ..RolloutSettings::default() });
}

/// The same, with no head of its own.
pub(super) fn headless(settings: &mut Settings) {
    plain(settings);
    settings.head = None;
}

/// An operator.
#[derive(Clone)]
pub(super) struct Operator(pub(super) RolloutServiceClient<Channel>);

impl Operator {
    pub(super) async fn of(server: &Server) -> Self {
        Self::at(server.rollout.unwrap()).await
    }

    pub(super) async fn at(address: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self(RolloutServiceClient::new(channel))
    }

    pub(super) async fn apply(
        &mut self,
        (epoch, generation): (i64, i64),
        models: Vec<ModelRollout>,
    ) -> Result<RolloutStatus, Status> {
        let request = ApplyRolloutRequest { epoch, generation, models };
        self.0.apply_rollout(request).await.map(|answer| answer.into_inner().status.unwrap())
    }

    /// Applies what must be accepted.
    pub(super) async fn command(&mut self, generation: i64, model: ModelRollout) -> RolloutStatus {
        self.apply((1, generation), vec![model]).await.unwrap()
    }

    pub(super) async fn status(&mut self) -> RolloutStatus {
        let answer = self.0.get_rollout_status(GetRolloutStatusRequest {}).await.unwrap();
        answer.into_inner().status.unwrap()
    }

    pub(super) async fn watch(&mut self) -> Watch {
        let answer = self.0.watch_rollout_status(WatchRolloutStatusRequest::default()).await;
        Watch(answer.unwrap().into_inner())
    }
}

pub(super) struct Watch(Streaming<inctrl_proto::v1::WatchRolloutStatusResponse>);

impl Watch {
    /// The next status; none when the server ends it.
    pub(super) async fn next(&mut self) -> Option<RolloutStatus> {
        self.0.message().await.unwrap().map(|answer| answer.status.unwrap())
    }

    pub(super) async fn until(&mut self, passes: impl Fn(&RolloutStatus) -> bool) -> RolloutStatus {
        loop {
            let status = self.next().await.expect("the watch must go on");
            if passes(&status) {
                return status;
            }
        }
    }
}

/// The default model with these heads; the candidate shadows.
pub(super) fn model(active: Option<Head>, candidate: Option<Head>, weight: i32) -> ModelRollout {
    let shadow = candidate.is_some();
    let model = "models/default".to_owned();
    ModelRollout { model, active, candidate, candidate_weight_percent: weight, shadow, standby: None }
}

/// What a status says of a head.
pub(super) fn head<'a>(status: &'a RolloutStatus, digest: &str) -> &'a HeadStatus {
    let heads = &status.models[0].heads;
    heads.iter().find(|head| head.digest == digest).unwrap_or_else(|| panic!("no {digest} in {heads:?}"))
}

#[track_caller]
pub(super) fn assert_stands(status: &RolloutStatus, digest: &str, state: HeadState, problem: HeadProblem) {
    let head = head(status, digest);
    assert_eq!((head.state(), head.problem()), (state, problem), "{}", head.message);
}

#[track_caller]
pub(super) fn assert_loaded(status: &RolloutStatus, digest: &str) {
    assert_stands(status, digest, HeadState::Loaded, HeadProblem::Unspecified);
}

/// Scores an image of one colour against the prompt set `nut`.
pub(super) async fn score(server: &Server, value: u8) -> Result<DetectAnomalyResponse, Status> {
    let mut detector = server.detector().await;
    detector.detect_anomaly(against("nut", grey(value))).await.map(tonic::Response::into_inner)
}

/// The same with a routing key; answers with the digest of the head.
pub(super) async fn answered_by(server: &Server, key: &str) -> String {
    let mut request = Request::new(against("nut", grey(51)));
    request.metadata_mut().insert("x-inctrl-routing-key", key.parse().unwrap());
    let answer = server.detector().await.detect_anomaly(request).await.unwrap().into_inner();
    answer.provenance.unwrap().revision
}
