//! One image's way: read, wait for a permit, ask, draw.

use std::path::Path;

use bytes::Bytes;
use inctrl_proto::v1::anomaly_detection_service_client::AnomalyDetectionServiceClient;
use inctrl_proto::v1::{self, AnomalyMapMode, DetectAnomalyRequest, DetectAnomalyResponse, Limits};
use tokio::sync::Semaphore;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{ScoreRow, shown};
use crate::args::ScoreArgs;
use crate::files::{self, FileError, Panicked};
use crate::maps::{self, MapError, MapFolder};
use crate::normals::{Prompts, encoded, image_limit};
use crate::overlay::{PatchMap, Rectangle};
use crate::server::{CallError, Server};

/// Bytes of a float32 on the wire.
const FLOAT_BYTES: usize = 4;

/// What scores images.
pub(crate) struct Scorer<'a> {
    server: &'a Server,
    prompts: Prompts,
    options: v1::DetectOptions,
    maps: Option<MapFolder>,
    largest_image: u64,
    /// One permit a request in flight.
    permits: Semaphore,
}

/// An image's row, and why it is not complete.
pub(crate) struct Scored {
    pub(crate) row: ScoreRow,
    pub(crate) failure: Option<ImageFailure>,
}

/// Why one image has no score, or no map.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageFailure {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Panicked(#[from] Panicked),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Map(#[from] MapError),
}

impl ImageFailure {
    /// Lines below the message, for people.
    pub(crate) fn explanation(&self) -> String {
        match self {
            Self::Call(error) => error.explanation(),
            Self::File(_) | Self::Panicked(_) | Self::Map(_) => String::new(),
        }
    }
}

impl<'a> Scorer<'a> {
    pub(crate) fn new(
        server: &'a Server,
        args: &ScoreArgs,
        prompts: Prompts,
        maps: Option<MapFolder>,
        limits: &Limits,
        concurrency: usize,
    ) -> Self {
        let mode = if maps.is_some() { AnomalyMapMode::PatchGrid } else { AnomalyMapMode::None };
        let options = v1::DetectOptions {
            model: args.model.as_deref().map(model_name).unwrap_or_default(),
            revision: args.revision.clone().unwrap_or_default(),
            anomaly_map_mode: mode.into(),
            threshold: args.threshold,
        };
        let (largest_image, permits) = (image_limit(limits), Semaphore::new(concurrency));
        Self { server, prompts, options, maps, largest_image, permits }
    }

    /// Scores one image. Fails only where no image could be scored: the server is gone, or refuses them all.
    pub(crate) async fn score(&self, image: &Path) -> Result<Scored, CallError> {
        let mut row = ScoreRow::of(image);
        let failure = match self.fill(image, &mut row).await {
            Ok(()) => None,
            Err(ImageFailure::Call(error)) if concerns_all_images(&error) => return Err(error),
            Err(failure) => Some(failure),
        };
        row.error = failure.as_ref().map(|failure| match failure {
            ImageFailure::Call(
                CallError::Refused { refusal, .. } | CallError::Unavailable { refusal, .. },
            ) => {
                format!("{}: {}", refusal.reason.as_deref().unwrap_or(refusal.code), refusal.message)
            }
            other => other.to_string(),
        });
        Ok(Scored { row, failure })
    }

    async fn fill(&self, image: &Path, row: &mut ScoreRow) -> Result<(), ImageFailure> {
        let (path, limit) = (image.to_owned(), self.largest_image);
        let content = files::blocking(move || files::read_image(&path, limit)).await??;
        // Held until the map is written: it bounds decoded images as well as requests.
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let answer = self.ask(content.clone()).await?;
        *row = std::mem::take(row).answered(&answer);
        if let Some(folder) = &self.maps {
            row.map = Some(draw(folder, image, content, answer).await?);
        }
        Ok(())
    }

    async fn ask(&self, content: Bytes) -> Result<DetectAnomalyResponse, CallError> {
        let request = DetectAnomalyRequest {
            image: Some(encoded(content)),
            prompts: Some(self.prompts.clone()),
            options: Some(self.options.clone()),
        };
        let send = async |channel, request| {
            AnomalyDetectionServiceClient::new(channel).detect_anomaly(request).await
        };
        self.server.call(&request, send).await
    }
}

/// Draws and writes an image's map; returns its file.
async fn draw(
    folder: &MapFolder,
    image: &Path,
    content: Bytes,
    answer: DetectAnomalyResponse,
) -> Result<String, ImageFailure> {
    let (map, examined) = map_of(answer).map_err(|reason| MapError::Malformed { reason })?;
    let file = folder.file(image).expect("a folder is opened for all images of the run").to_owned();
    let name = shown(&file);
    let style = folder.style();
    files::blocking(move || maps::write(&content, &map, examined, style, &file)).await??;
    Ok(name)
}

/// The map of an answer and where it lies, or what is wrong with it.
fn map_of(answer: DetectAnomalyResponse) -> Result<(PatchMap, Rectangle), String> {
    let map = answer.anomaly_map.ok_or("the answer has none")?;
    let v1::Area { x, y, width, height } = answer.examined_area.ok_or("the answer names no examined area")?;
    let is_area = [x, y, width, height].iter().all(|it| it.is_finite()) && 0.0 < width && 0.0 < height;
    if !is_area {
        return Err("its examined area is empty".to_owned());
    }
    let side = |length: i32| usize::try_from(length).unwrap_or_default();
    let (columns, rows) = (side(map.width), side(map.height));
    if columns == 0 || rows == 0 || map.values.len() != columns * rows * FLOAT_BYTES {
        return Err(format!("{columns} x {rows} values in {} bytes", map.values.len()));
    }
    let (floats, _) = map.values.as_chunks::<FLOAT_BYTES>();
    let values = floats.iter().copied().map(f32::from_le_bytes).collect();
    Ok((PatchMap { columns, rows, values }, Rectangle { x, y, width, height }))
}

/// Whether the same would befall every other image: then the run ends, instead of failing a thousand times.
fn concerns_all_images(error: &CallError) -> bool {
    let status = match error {
        CallError::Unreachable { is_gone, .. } | CallError::Unavailable { is_gone, .. } => return *is_gone,
        CallError::Untrusted { .. } | CallError::Plaintext { .. } => return true,
        CallError::TimedOut { .. } => return false,
        CallError::Refused { status, .. } => status,
    };
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::Unimplemented
        | Code::NotFound
        | Code::FailedPrecondition => true,
        Code::InvalidArgument => {
            let fields = status.get_details_bad_request().map(|it| it.field_violations).unwrap_or_default();
            !fields.is_empty() && fields.iter().all(|violation| !violation.field.starts_with("image"))
        }
        _ => false,
    }
}

fn model_name(typed: &str) -> String {
    if typed.starts_with("models/") { typed.to_owned() } else { format!("models/{typed}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(width: i32, height: i32, values: &[f32]) -> DetectAnomalyResponse {
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        DetectAnomalyResponse {
            anomaly_map: Some(v1::AnomalyMap { width, height, values: values.into() }),
            examined_area: Some(v1::Area { x: 1.0, y: 2.0, width: 30.0, height: 40.0 }),
            ..DetectAnomalyResponse::default()
        }
    }

    #[test]
    fn maps_are_read_row_by_row_as_little_endian_floats() {
        let (map, examined) = map_of(answer(3, 1, &[0.25, 0.5, 1.0])).unwrap();
        assert_eq!(map, PatchMap { columns: 3, rows: 1, values: vec![0.25, 0.5, 1.0] });
        assert_eq!((examined.x, examined.height), (1.0, 40.0));
    }

    #[test]
    fn maps_that_are_not_what_they_say_are_refused() {
        assert!(map_of(answer(3, 2, &[0.5])).unwrap_err().contains("3 x 2 values in 4 bytes"));
        assert!(map_of(answer(-1, -1, &[0.5])).is_err());
        assert!(map_of(DetectAnomalyResponse::default()).unwrap_err().contains("none"));
    }
}
