//! `score`: images in, rows out, in the order of the images; a bad image fails alone.
//!
//! files (blocking pool) -> a permit -> one call -> its map (blocking pool) -> a row. Memory is bounded by the window
//! of images in flight, whatever the number of images.

use std::io::Write;
use std::path::Path;

use futures::{StreamExt as _, stream};
use inctrl_proto::v1::GetServerInfoResponse;
use tokio::time::Instant;

use crate::args::ScoreArgs;
use crate::exit::Exit;
use crate::info;
use crate::inputs::{self, InputError};
use crate::maps::{FolderError, MapFolder};
use crate::normals::{self, NormalsError};
use crate::notes::Notes;
use crate::output::{Output, OutputError, width};
use crate::overlay::Style;
use crate::server::{CallError, Server};

mod image;
mod row;
mod tally;

use image::Scorer;
use row::ScoreRow;
use tally::Tally;

/// Requests in flight: enough that a batch waits while one is computed.
const CONCURRENCY_ON_CPU: usize = 16;
/// A GPU takes batches of 64.
const CONCURRENCY_ON_GPU: usize = 128;

/// Why scoring ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScoreError {
    /// What was typed names no images.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The folder of maps cannot be used.
    #[error(transparent)]
    Maps(#[from] FolderError),
    /// The normal images cannot be used.
    #[error(transparent)]
    Normals(#[from] NormalsError),
    /// The server cannot be used.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Results cannot be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Scores all images and prints their rows to `writer`.
pub(crate) async fn run(
    args: ScoreArgs,
    server: &Server,
    notes: &Notes,
    writer: impl Write,
) -> Result<Exit, ScoreError> {
    let images = inputs::expand(&args.images, args.maps.maps.as_deref())?;
    let style = Style { map_max: args.maps.map_max, is_side_by_side: args.maps.side_by_side };
    let maps = args.maps.maps.as_deref().map(|folder| MapFolder::open(folder, &images, style)).transpose()?;
    let normals = normals::expand(&args.source)?;
    let info = info::fetch(server).await?;
    note_starter(&info, notes);
    let limits = info.limits.unwrap_or_default();
    let prompts = normals::read(&args.source, normals, &limits).await?;
    let concurrency = args.concurrency.map_or_else(|| usual_concurrency(&info.device), usize::from);
    let scorer = Scorer::new(server, &args, prompts, maps, &limits, concurrency);
    let first_width = images.iter().map(|image| width(&image.to_string_lossy())).max().unwrap_or_default();
    let mut output = Output::new(writer, args.output.format, first_width);
    let mut tally = Tally::new(images.len(), notes.bar(images.len()));
    let began = Instant::now();
    // As many again as are in flight are read ahead, or wait for an earlier image to be printed.
    let mut results = stream::iter(&images).map(|image| scorer.score(image)).buffered(2 * concurrency);
    let ended = loop {
        match results.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(error.into()),
            Some(Ok(scored)) => {
                tally.add(&scored.row);
                if let Some(failure) = scored.failure {
                    notes.error(&format!("{}: {failure}{}", scored.row.image, failure.explanation()));
                }
                if let Err(error) = notes.aside(|| output.row(&scored.row)) {
                    break Err(error.into());
                }
            }
        }
    };
    tally.finish();
    if !matches!(ended, Err(ScoreError::Output(OutputError::Closed))) {
        notes.note(&tally.summary(began.elapsed()));
    }
    ended.map(|()| verdict(&tally, args.fail_on_anomaly, notes))
}

fn note_starter(info: &GetServerInfoResponse, notes: &Notes) {
    if let Some(backbone) = &info.backbone
        && backbone.provenance != "clip"
    {
        notes.note(&format!(
            "note: the server's backbone is {} ({}), not CLIP: good for a first look, not for production",
            backbone.name, backbone.provenance
        ));
    }
}

fn usual_concurrency(device: &str) -> usize {
    if device.starts_with("cuda") { CONCURRENCY_ON_GPU } else { CONCURRENCY_ON_CPU }
}

fn verdict(tally: &Tally, fail_on_anomaly: bool, notes: &Notes) -> Exit {
    if 0 < tally.failed {
        return Exit::Failed;
    }
    if !fail_on_anomaly {
        return Exit::Done;
    }
    if 0 < tally.undecided {
        let count = tally.undecided;
        notes.error(&format!(
            "--fail-on-anomaly: {count} images have a score and no decision\n  hint: give --threshold SCORE, or \
             calibrate the prompt set"
        ));
        return Exit::Failed;
    }
    if 0 < tally.anomalous { Exit::Anomalous } else { Exit::Done }
}

/// A file as people typed it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
