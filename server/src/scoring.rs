//! A request's way through the engine: revision, place in the queue, features and pixels, batch, answer.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use inctrl_model::{ImageLimits, Pixels};
use tokio::time::Instant;

use crate::anomaly_map::{AnomalyMap, MapPlace};
use crate::batch::{Outcome, Queue, Submission};
use crate::decode::{CpuPool, decode};
use crate::failure::Failure;
use crate::ids::ResourceId;
use crate::metrics::ServerMetrics;
use crate::prompts::{PromptLease, Prompts};
use crate::request::{Answer, Decision, DetectRequest, ImageInput, MapMode, Provenance, Timing};
use crate::revisions::{Models, Revision};
use crate::rollout::Rollout;
use crate::scorer::ScorerInfo;

/// Everything a request needs, once the backbone is there.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) info: ScorerInfo,
    pub(crate) models: Arc<Models>,
    /// Where the server takes commands of which heads to answer with.
    pub(crate) rollout: Option<Rollout>,
    pub(crate) prompts: Prompts,
    pub(crate) queue: Queue,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) limits: ImageLimits,
    /// No map may make an answer larger than this.
    pub(crate) most_map_bytes: usize,
    pub(crate) metrics: ServerMetrics,
}

/// A decoded query, waiting for its prompt set.
struct Decoded {
    pixels: Pixels,
    place: MapPlace,
    took: Duration,
}

impl Engine {
    /// Scores the images of a request; all succeed or all fail.
    pub(crate) async fn detect(&self, request: DetectRequest) -> Result<Vec<Answer>, Failure> {
        let DetectRequest { images, prompts, model, revision, map, threshold, routing_key, deadline } =
            request;
        let admitted = Instant::now();
        let (model, route) = self.models.resolve(model.as_ref(), revision.as_deref(), &routing_key)?;
        let mut slots = self.queue.reserve(images.len(), deadline)?;
        let decoded = try_join_all(images.into_iter().map(|(field, image)| self.decode(field, image, map)));
        let ((lease, is_prompt_cache_hit), decoded) =
            futures::future::try_join(self.prompts.lease(&prompts), decoded).await?;
        let mut waiting = Vec::with_capacity(decoded.len());
        for Decoded { pixels, place, took } in decoded {
            let examined = pixels.examined;
            let (prompts, route) = (Arc::clone(&lease), route.clone());
            let answer = self.queue.submit(&mut slots, Submission { pixels, prompts, route, threshold })?;
            waiting.push(async move {
                // The worker ends only after every caller was told to leave.
                let outcome = answer.await.unwrap_or(Err(Failure::Draining))?;
                Ok::<_, Failure>((outcome, examined, place, took))
            });
        }
        let outcomes = try_join_all(waiting).await?;
        let answers = outcomes.into_iter().map(|(outcome, examined, place, decode)| {
            let Outcome { mut scores, revision, queue, compute, batch_size } = outcome;
            revision.answered(admitted.elapsed());
            let map = self.map(std::mem::take(&mut scores.map), map, &place);
            self.metrics.scored(model.as_str(), scores.score);
            Answer {
                decision: Decision::new(scores.score, threshold),
                threshold,
                map,
                examined,
                provenance: self.provenance(&model, &revision, &lease),
                timing: Timing { decode, queue, compute, batch_size, is_prompt_cache_hit },
                scores,
            }
        });
        Ok(answers.collect())
    }

    async fn decode(&self, field: String, image: ImageInput, map: MapMode) -> Result<Decoded, Failure> {
        let started = Instant::now();
        let (preprocess, limits) = (self.info.backbone.preprocess.clone(), self.limits);
        let decoded = self.pool.run("decoding", move || decode(&image, &preprocess, &limits)).await?;
        let pixels = match decoded {
            Ok(pixels) => pixels,
            Err(error) => return Err(Failure::Image { field, source: Arc::new(error) }),
        };
        let took = started.elapsed();
        self.metrics.decoded(took);
        let place = MapPlace::of(&pixels);
        let (width, height) = place.size();
        let bytes = width * height * size_of::<f32>();
        if map == MapMode::ImageSize && self.most_map_bytes < bytes {
            let description = format!(
                "a map of {width} x {height} has {bytes} bytes, the limit of a message is {}; ask for \
                 ANOMALY_MAP_MODE_PATCH_GRID, or send {field} smaller",
                self.most_map_bytes
            );
            return Err(Failure::invalid("options.anomaly_map_mode", description));
        }
        Ok(Decoded { pixels, place, took })
    }

    fn map(&self, values: Vec<f32>, mode: MapMode, place: &MapPlace) -> Option<AnomalyMap> {
        let grid = self.info.backbone.grid;
        match mode {
            MapMode::None => None,
            MapMode::PatchGrid => Some(AnomalyMap::patch_grid(values, grid)),
            MapMode::ImageSize => Some(AnomalyMap::image_size(&values, grid, place)),
        }
    }

    fn provenance(&self, model: &ResourceId, revision: &Revision, lease: &PromptLease) -> Provenance {
        Provenance {
            model: model.clone(),
            revision: revision.digest().to_owned(),
            revision_number: revision.number(),
            backbone_digest: self.info.backbone.digest.clone(),
            backbone_kind: self.info.backbone.provenance.clone(),
            prompt_digest: lease.digest().to_owned(),
        }
    }
}
