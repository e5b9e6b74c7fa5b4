//! `grpc.health.v1`: the empty name means ready for traffic, `liveness` and `startup` are for orchestrators.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as HealthService;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::health::{Health, Verdicts};

/// Services that are ready when the server is.
const READY: [&str; 4] =
    ["", "inctrl.v1.AnomalyDetectionService", "inctrl.v1.PromptSetService", "inctrl.v1.ServerInfoService"];

/// Answers what [`Health`] says.
#[derive(Debug, Clone)]
pub(super) struct Answers(pub(super) Arc<Health>);

/// What a name asks about.
#[derive(Debug, Clone, Copy)]
enum Question {
    Ready,
    Live,
    Started,
    Unknown,
}

impl Question {
    fn of(service: &str) -> Self {
        match service {
            "liveness" => Self::Live,
            "startup" => Self::Started,
            service if READY.contains(&service) => Self::Ready,
            _ => Self::Unknown,
        }
    }

    fn status(self, verdicts: Verdicts) -> ServingStatus {
        let passes = match self {
            Self::Ready => verdicts.ready,
            Self::Live => verdicts.live,
            Self::Started => verdicts.started,
            Self::Unknown => return ServingStatus::ServiceUnknown,
        };
        if passes { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl HealthService for Answers {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match Question::of(&request.get_ref().service) {
            Question::Unknown => {
                Err(Status::not_found("no service of that name; ask for \"\", liveness or startup"))
            }
            question => {
                let verdicts = *self.0.watch().borrow();
                Ok(Response::new(response(question.status(verdicts))))
            }
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let question = Question::of(&request.get_ref().service);
        let told = WatchStream::new(self.0.watch())
            // Says so a last time, then ends: an open stream must not hold up the end of the process.
            .scan(false, move |has_stopped, verdicts| {
                let item = (!*has_stopped).then(|| question.status(verdicts));
                *has_stopped = verdicts.stopped;
                std::future::ready(item)
            })
            // A change of another verdict is no news to this caller.
            .scan(None, |last, status| {
                let is_news = last.replace(status) != Some(status);
                std::future::ready(Some(is_news.then_some(status)))
            })
            .filter_map(std::future::ready)
            .map(|status| Ok(response(status)));
        // The stream ends when the server stops, even when nothing changes for its caller.
        let mut verdicts = self.0.watch();
        let stopped = async move {
            let _ = verdicts.wait_for(|verdicts| verdicts.stopped).await;
        };
        let told = stream::StreamExt::take_until(told, Box::pin(stopped));
        Ok(Response::new(Box::pin(told)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Phase;

    fn ask(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    async fn check(answers: &Answers, service: &str) -> ServingStatus {
        answers.check(ask(service)).await.unwrap().into_inner().status()
    }

    #[tokio::test]
    async fn each_name_has_its_own_verdict() {
        let answers = Answers(Arc::new(Health::new()));
        assert_eq!(check(&answers, "").await, ServingStatus::NotServing);
        assert_eq!(check(&answers, "startup").await, ServingStatus::NotServing);
        assert_eq!(check(&answers, "liveness").await, ServingStatus::Serving);
        answers.0.enter(Phase::Serving);
        for service in ["", "startup", "liveness", "inctrl.v1.AnomalyDetectionService"] {
            assert_eq!(check(&answers, service).await, ServingStatus::Serving, "{service:?}");
        }
        answers.0.enter(Phase::Draining);
        assert_eq!(check(&answers, "").await, ServingStatus::NotServing);
        assert_eq!(check(&answers, "liveness").await, ServingStatus::Serving);
        let unknown = answers.check(ask("unheard-of")).await.unwrap_err();
        assert_eq!(unknown.code(), tonic::Code::NotFound);
    }

    #[tokio::test]
    async fn watchers_are_told_of_changes_and_let_go_at_the_end() {
        let answers = Answers(Arc::new(Health::new()));
        let mut ready = answers.watch(ask("")).await.unwrap().into_inner();
        let mut unknown = answers.watch(ask("unheard-of")).await.unwrap().into_inner();
        let mut next = async || ready.next().await.map(|told| told.unwrap().status());
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        answers.0.enter(Phase::Serving);
        assert_eq!(next().await, Some(ServingStatus::Serving));
        answers.0.enter(Phase::Draining);
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        assert_eq!(unknown.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
        answers.0.enter(Phase::Stopped);
        assert_eq!(next().await, None);
        assert!(unknown.next().await.is_none());
    }
}
