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
    /// The maps of an answer may not make it larger than this.
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
        let decoded = async {
            let decoded = images.into_iter().map(|(field, image)| self.decode(field, image));
            let decoded = try_join_all(decoded).await?;
            if map == MapMode::ImageSize {
                check_maps(decoded.iter().map(|decoded| &decoded.place), self.most_map_bytes)?;
            }
            Ok(decoded)
        };
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
        let mut answers = Vec::with_capacity(outcomes.len());
        for (outcome, examined, place, decode) in outcomes {
            let Outcome { mut scores, revision, queue, compute, batch_size } = outcome;
            revision.answered(admitted.elapsed());
            let map = self.map(std::mem::take(&mut scores.map), map, place).await?;
            self.metrics.scored(model.as_str(), scores.score);
            answers.push(Answer {
                decision: Decision::new(scores.score, threshold),
                threshold,
                map,
                examined,
                provenance: self.provenance(&model, &revision, &lease),
                timing: Timing { decode, queue, compute, batch_size, is_prompt_cache_hit },
                scores,
            });
        }
        Ok(answers)
    }

    async fn decode(&self, field: String, image: ImageInput) -> Result<Decoded, Failure> {
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
        Ok(Decoded { pixels, place, took })
    }

    async fn map(
        &self,
        values: Vec<f32>,
        mode: MapMode,
        place: MapPlace,
    ) -> Result<Option<AnomalyMap>, Failure> {
        let grid = self.info.backbone.grid;
        Ok(match mode {
            MapMode::None => None,
            MapMode::PatchGrid => Some(AnomalyMap::patch_grid(values, grid)),
            MapMode::ImageSize => {
                let make = move || AnomalyMap::image_size(&values, grid, &place);
                Some(self.pool.run("making an anomaly map", make).await?)
            }
        })
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

/// All maps of a request travel in one message.
fn check_maps<'a>(places: impl Iterator<Item = &'a MapPlace>, most: usize) -> Result<(), Failure> {
    let bytes = |place: &MapPlace| {
        let (width, height) = place.size();
        width.saturating_mul(height).saturating_mul(size_of::<f32>())
    };
    let bytes = places.map(bytes).fold(0, usize::saturating_add);
    if bytes <= most {
        return Ok(());
    }
    let description = format!(
        "the maps of this request have {bytes} bytes, the limit of a message is {most}; ask for \
         ANOMALY_MAP_MODE_PATCH_GRID, or send smaller images or fewer"
    );
    Err(Failure::invalid("options.anomaly_map_mode", description))
}

#[cfg(test)]
mod tests {
    use inctrl_model::preprocess::Area;

    use super::*;

    #[test]
    fn the_maps_of_a_request_count_together() {
        let area = Area { x: 0.0, y: 0.0, width: 100.0, height: 10.0 };
        let pixels = Pixels { values: Vec::new(), size: 1, source: (100, 10), examined: area };
        let places = [MapPlace::of(&pixels); 3];
        check_maps(places.iter(), 12_000).unwrap();
        let Failure::Invalid(told) = check_maps(places.iter(), 11_999).unwrap_err() else {
            panic!("it must be a complaint about a field")
        };
        assert_eq!(told[0].field, "options.anomaly_map_mode");
        assert!(told[0].description.contains("12000 bytes"), "{}", told[0].description);
    }
}
