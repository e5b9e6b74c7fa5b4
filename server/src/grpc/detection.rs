//! `AnomalyDetectionService`.

use inctrl_proto::v1::anomaly_detection_service_server::AnomalyDetectionService;
use inctrl_proto::v1::{
    BatchDetectAnomaliesRequest, BatchDetectAnomaliesResponse, DetectAnomalyRequest, DetectAnomalyResponse,
};
use tonic::{Request, Response, Status};

use super::account::{RequestId, Scored};
use super::convert::Caller;
use super::deadline::Deadline;
use super::{Services, convert};
use crate::failure::Failure;
use crate::request::Answer;

/// Metadata by which a caller says which requests belong together: they meet the same head.
const ROUTING_KEY: &str = "x-inctrl-routing-key";

#[tonic::async_trait]
impl AnomalyDetectionService for Services {
    async fn detect_anomaly(
        &self,
        request: Request<DetectAnomalyRequest>,
    ) -> Result<Response<DetectAnomalyResponse>, Status> {
        let caller = caller(&request);
        let request = convert::detect(request.into_inner(), self.limits(), caller)?;
        let mut answers = self.engine()?.detect(request).await?;
        let scored = scored(&answers);
        let answer = answers.pop().ok_or(Failure::Panicked { doing: "answering" })?;
        Ok(with(scored, convert::answer(answer)))
    }

    async fn batch_detect_anomalies(
        &self,
        request: Request<BatchDetectAnomaliesRequest>,
    ) -> Result<Response<BatchDetectAnomaliesResponse>, Status> {
        let caller = caller(&request);
        let request = convert::batch_detect(request.into_inner(), self.limits(), caller)?;
        let answers = self.engine()?.detect(request).await?;
        let scored = scored(&answers);
        let results = answers.into_iter().map(convert::answer).collect();
        Ok(with(scored, BatchDetectAnomaliesResponse { results }))
    }
}

fn caller<T>(request: &Request<T>) -> Caller {
    let extensions = request.extensions();
    let key = request.metadata().get(ROUTING_KEY).and_then(|key| key.to_str().ok());
    // Without a key each request draws its lot by its id.
    let key =
        key.filter(|key| !key.is_empty()).or_else(|| extensions.get::<RequestId>().map(|id| id.0.as_str()));
    Caller {
        routing_key: key.unwrap_or_default().to_owned(),
        deadline: extensions.get::<Deadline>().and_then(|deadline| deadline.0),
    }
}

/// What the log line of the call tells of its answers.
fn scored(answers: &[Answer]) -> Option<Scored> {
    let slowest = answers.iter().max_by_key(|answer| answer.timing.queue)?;
    Some(Scored {
        model: slowest.provenance.model.to_string(),
        revision: slowest.provenance.revision.clone(),
        prompt_digest: slowest.provenance.prompt_digest.clone(),
        images: answers.len(),
        batch_size: slowest.timing.batch_size,
        decode: slowest.timing.decode,
        queue: slowest.timing.queue,
        compute: slowest.timing.compute,
    })
}

fn with<T>(scored: Option<Scored>, message: T) -> Response<T> {
    let mut response = Response::new(message);
    if let Some(scored) = scored {
        response.extensions_mut().insert(scored);
    }
    response
}
