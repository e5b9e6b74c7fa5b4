//! `info`: what the server is.

use std::io::Write;
use std::time::Duration;

use inctrl_proto::v1::server_info_service_client::ServerInfoServiceClient;
use inctrl_proto::v1::{GetServerInfoRequest, GetServerInfoResponse};
use serde::Serialize;

use crate::args::{InfoArgs, InfoFormat};
use crate::exit::Exit;
use crate::output::OutputError;
use crate::server::{CallError, Server};

/// Why there is no description.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InfoError {
    /// The server cannot be used.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It cannot be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Prints the server's description to `writer`.
pub(crate) async fn run(args: InfoArgs, server: &Server, mut writer: impl Write) -> Result<Exit, InfoError> {
    let info = Info::of(fetch(server).await?);
    let text = match args.format {
        InfoFormat::Table => info.text(),
        InfoFormat::Json => {
            let json = serde_json::to_string(&info);
            json.map_err(|error| OutputError::Encode { format: "JSON", reason: error.to_string() })? + "\n"
        }
    };
    writer.write_all(text.as_bytes()).and_then(|()| writer.flush()).map_err(OutputError::from)?;
    Ok(Exit::Done)
}

/// Asks the server what it is.
pub(crate) async fn fetch(server: &Server) -> Result<GetServerInfoResponse, CallError> {
    let send = async |channel, request| ServerInfoServiceClient::new(channel).get_server_info(request).await;
    server.call(&GetServerInfoRequest {}, send).await
}

#[derive(Debug, PartialEq, Serialize)]
struct Info {
    version: String,
    device: String,
    precision: String,
    uptime_s: f64,
    backbone: Backbone,
    models: Vec<Model>,
    limits: Limits,
}

#[derive(Debug, PartialEq, Serialize)]
struct Backbone {
    name: String,
    digest: String,
    /// `clip` or `starter`.
    provenance: String,
    image_size: i32,
    grid_rows: i32,
    grid_columns: i32,
    has_text: bool,
}

#[derive(Debug, PartialEq, Serialize)]
struct Model {
    name: String,
    active_revision: String,
    /// 0 for a head by configuration.
    active_revision_number: i64,
    head_kind: String,
    /// Empty where none is tried.
    candidate_revision: String,
    candidate_weight_percent: i32,
}

#[derive(Debug, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "named as on the wire")]
struct Limits {
    max_message_bytes: i64,
    max_image_bytes: i64,
    max_image_pixels: i64,
    max_shots: i32,
    max_batch_images: i32,
}

impl Info {
    fn of(answer: GetServerInfoResponse) -> Self {
        let GetServerInfoResponse { version, device, precision, backbone, models, limits, uptime } = answer;
        let uptime = uptime.and_then(|uptime| Duration::try_from(uptime).ok()).unwrap_or_default();
        let (backbone, limits) = (backbone.unwrap_or_default(), limits.unwrap_or_default());
        let model = |model: inctrl_proto::v1::Model| {
            let inctrl_proto::v1::Model {
                name,
                active_revision,
                head_kind,
                active_revision_number,
                candidate_revision,
                candidate_weight_percent,
            } = model;
            Model {
                name,
                active_revision,
                active_revision_number,
                head_kind,
                candidate_revision,
                candidate_weight_percent,
            }
        };
        Self {
            version,
            device,
            precision,
            uptime_s: uptime.as_secs_f64(),
            backbone: Backbone::of(backbone),
            models: models.into_iter().map(model).collect(),
            limits: Limits::of(limits),
        }
    }

    fn text(&self) -> String {
        let Self { version, device, precision, uptime_s, backbone, models, limits } = self;
        let Backbone { name, digest, provenance, image_size, grid_rows, grid_columns, has_text } = backbone;
        let warning = if provenance == "clip" { "" } else { ", not CLIP" };
        let text = if *has_text { "with" } else { "without" };
        let mut lines = vec![
            format!("version     {version}"),
            format!("device      {device}, {precision}"),
            format!("uptime      {uptime_s:.0} s"),
            format!("backbone    {name} ({provenance}{warning})"),
            format!("            {digest}"),
            format!(
                "            {image_size} pixels, {grid_rows} x {grid_columns} patches, {text} text tower"
            ),
        ];
        lines.extend(models.iter().flat_map(Model::lines));
        let Limits { max_message_bytes, max_image_bytes, max_image_pixels, max_shots, max_batch_images } =
            limits;
        lines.extend([
            format!("limits      {max_message_bytes} bytes a message, {max_image_bytes} bytes an image"),
            format!("            {max_image_pixels} pixels an image, {max_batch_images} images a batch"),
            format!("            {max_shots} normal images a prompt set"),
        ]);
        lines.join("\n") + "\n"
    }
}

impl Model {
    fn lines(&self) -> Vec<String> {
        let Self {
            name,
            active_revision,
            active_revision_number,
            head_kind,
            candidate_revision,
            candidate_weight_percent,
        } = self;
        let number = if *active_revision_number == 0 {
            String::new()
        } else {
            format!(", revision {active_revision_number}")
        };
        let mut lines = vec![
            format!("model       {name} ({head_kind} head{number})"),
            format!("            {active_revision}"),
        ];
        if !candidate_revision.is_empty() {
            lines.push(format!(
                "            {candidate_revision} is tried, answers {candidate_weight_percent} %"
            ));
        }
        lines
    }
}

impl Backbone {
    fn of(backbone: inctrl_proto::v1::BackboneInfo) -> Self {
        let inctrl_proto::v1::BackboneInfo {
            name,
            digest,
            provenance,
            image_size,
            grid_rows,
            grid_columns,
            has_text,
        } = backbone;
        Self { name, digest, provenance, image_size, grid_rows, grid_columns, has_text }
    }
}

impl Limits {
    fn of(limits: inctrl_proto::v1::Limits) -> Self {
        let inctrl_proto::v1::Limits {
            max_message_bytes,
            max_image_bytes,
            max_image_pixels,
            max_shots,
            max_batch_images,
        } = limits;
        Self { max_message_bytes, max_image_bytes, max_image_pixels, max_shots, max_batch_images }
    }
}
