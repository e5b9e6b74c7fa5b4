//! Scoring, as the image's bytes ask for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use inctrl_proto::v1::anomaly_detection_service_server::AnomalyDetectionService;
use inctrl_proto::v1::detect_anomaly_request::Prompts;
use inctrl_proto::v1::{
    AnomalyMap, AnomalyMapMode, Area, BatchDetectAnomaliesRequest, BatchDetectAnomaliesResponse,
    ComponentScores, Decision, DetectAnomalyRequest, DetectAnomalyResponse, Provenance, Timing, image,
};
use tokio::sync::Barrier;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Services, State};

#[tonic::async_trait]
impl AnomalyDetectionService for Services {
    async fn detect_anomaly(
        &self,
        request: Request<DetectAnomalyRequest>,
    ) -> Result<Response<DetectAnomalyResponse>, Status> {
        let state = &self.0;
        state.admit(&request)?;
        state.asked.fetch_add(1, Ordering::SeqCst);
        let in_flight = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_in_flight.fetch_max(in_flight, Ordering::SeqCst);
        state.arrived.notify_waiters();
        let answer = state.answer(request.into_inner()).await;
        state.in_flight.fetch_sub(1, Ordering::SeqCst);
        answer.map(Response::new)
    }

    async fn batch_detect_anomalies(
        &self,
        _: Request<BatchDetectAnomaliesRequest>,
    ) -> Result<Response<BatchDetectAnomaliesResponse>, Status> {
        Err(Status::unimplemented("inctrl sends images one by one"))
    }
}

impl State {
    pub(super) fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let brought = request.metadata().get("authorization").and_then(|it| it.to_str().ok());
        match self.token {
            Some(token) if brought != Some(token) => Err(Status::unauthenticated("a token is needed")),
            _ => Ok(()),
        }
    }

    async fn answer(&self, request: DetectAnomalyRequest) -> Result<DetectAnomalyResponse, Status> {
        if let Some(Prompts::PromptSet(name)) = &request.prompts
            && name == "promptSets/unknown"
        {
            let mut details = ErrorDetails::with_resource_info("inctrl.dev/PromptSet", name, "", "");
            details.set_error_info("PROMPT_SET_NOT_FOUND", "inctrl.dev", []);
            return Err(Status::with_error_details(Code::NotFound, "there is no such prompt set", details));
        }
        let Some(image::Source::Encoded(bytes)) = request.image.and_then(|image| image.source) else {
            return Err(Status::invalid_argument("image: nothing was sent"));
        };
        let options = request.options.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let score = match text.split_once(' ').unwrap_or((&text, "")) {
            ("bad", _) => return Err(bad()),
            ("busy", _) if self.attempt(&bytes) == 1 => return Err(busy()),
            ("draining", _) if self.attempt(&bytes) <= 2 => {
                return Err(Status::unavailable("server is stopping"));
            }
            ("starting", _) => {
                self.attempt(&bytes);
                let mut details = ErrorDetails::with_retry_info(Some(Duration::from_millis(400)));
                details.set_error_info("STARTING", "inctrl.dev", []);
                return Err(Status::with_error_details(Code::Unavailable, "server is starting", details));
            }
            ("late", _) => return Err(Status::deadline_exceeded("the queue is 90 s long")),
            ("hang", _) => std::future::pending().await,
            ("held", _) => {
                self.release.acquire().await.unwrap().forget();
                0.5
            }
            ("together", count) => {
                self.barrier(count.split(' ').next().unwrap().parse().unwrap()).wait().await;
                0.5
            }
            (number, _) => number.parse().unwrap_or(0.5),
        };
        Ok(self.scored(score, options.threshold, options.anomaly_map_mode()))
    }

    /// How often these bytes have come, this time included.
    fn attempt(&self, bytes: &[u8]) -> u32 {
        let mut attempts = self.attempts.lock().unwrap();
        let attempt = attempts.entry(bytes.to_vec()).or_default();
        *attempt += 1;
        *attempt
    }

    fn barrier(&self, count: usize) -> Arc<Barrier> {
        Arc::clone(self.together.lock().unwrap().get_or_insert_with(|| Arc::new(Barrier::new(count))))
    }

    fn scored(&self, score: f32, threshold: Option<f32>, mode: AnomalyMapMode) -> DetectAnomalyResponse {
        let decision = match threshold {
            None => Decision::Uncalibrated,
            Some(threshold) if threshold <= score => Decision::Anomalous,
            Some(_) => Decision::Normal,
        };
        let values = [0.0_f32, 0.0, 0.0, 0.5].into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        let map = AnomalyMap { width: 2, height: 2, values: values.into() };
        let took = |milliseconds| prost_types::Duration::try_from(Duration::from_millis(milliseconds)).ok();
        DetectAnomalyResponse {
            score,
            components: Some(ComponentScores { patch_max: 0.25, ..ComponentScores::default() }),
            decision: decision.into(),
            threshold,
            anomaly_map: (mode == AnomalyMapMode::PatchGrid).then_some(map),
            examined_area: Some(Area { x: 0.0, y: 0.0, width: 16.0, height: 16.0 }),
            provenance: Some(Provenance {
                model: "models/default".to_owned(),
                revision: "sha256:0123456789abcdef".to_owned(),
                backbone_digest: "sha256:bb".to_owned(),
                backbone_provenance: self.provenance.to_owned(),
                prompt_digest: "sha256:cc".to_owned(),
                revision_number: 0,
            }),
            timing: Some(Timing {
                decode_duration: took(1),
                queue_duration: took(2),
                compute_duration: took(3),
                batch_size: 4,
                is_prompt_cache_hit: true,
            }),
        }
    }
}

fn bad() -> Status {
    let message = "image: cannot be decoded: unexpected end of file";
    let mut details = ErrorDetails::with_bad_request_violation("image", "send a whole PNG or JPEG");
    details.set_error_info("IMAGE_DECODE_FAILED", "inctrl.dev", [("field".to_owned(), "image".to_owned())]);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

fn busy() -> Status {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1)));
    Status::with_error_details(Code::ResourceExhausted, "queue is full", details)
}
