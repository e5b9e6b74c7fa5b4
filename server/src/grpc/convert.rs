//! Proto to the server's own words and back. Every field is checked here, once.

use std::time::Duration;

use inctrl_model::BackboneInfo;
use inctrl_model::preprocess::Area;
use inctrl_proto::v1;
use inctrl_proto::v1::image::Source;
use tokio::time::Instant;

use crate::anomaly_map::AnomalyMap;
use crate::config::Limits;
use crate::failure::{Failure, Violation};
use crate::ids::ResourceId;
use crate::prompts::PromptSetInfo;
use crate::request::{
    Answer, Decision, DetectRequest, ImageInput, MapMode, PromptImages, PromptSource, Provenance, Timing,
};

/// Longest object class: it fills sentences of at most 77 tokens.
const MAX_CLASS_BYTES: usize = 256;

/// Collects what is wrong with a request, so that a caller is told all of it at once.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Violation>);

impl Checks {
    pub(super) fn refuse(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation { field: field.into(), description: description.into() });
    }

    /// The value, or a violation.
    pub(super) fn ok<T>(&mut self, field: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|description| self.refuse(field, description)).ok()
    }

    pub(super) fn done(self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { Err(Failure::Invalid(self.0)) }
    }
}

/// What is known of a request beside its message.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    pub(super) routing_key: String,
    pub(super) deadline: Option<Instant>,
}

/// The oneof of both detection requests.
pub(super) enum Prompts {
    Stored(String),
    Inline(v1::InlinePrompts),
}

impl From<v1::detect_anomaly_request::Prompts> for Prompts {
    fn from(prompts: v1::detect_anomaly_request::Prompts) -> Self {
        use v1::detect_anomaly_request::Prompts as Proto;
        match prompts {
            Proto::PromptSet(name) => Self::Stored(name),
            Proto::InlinePrompts(inline) => Self::Inline(inline),
        }
    }
}

impl From<v1::batch_detect_anomalies_request::Prompts> for Prompts {
    fn from(prompts: v1::batch_detect_anomalies_request::Prompts) -> Self {
        use v1::batch_detect_anomalies_request::Prompts as Proto;
        match prompts {
            Proto::PromptSet(name) => Self::Stored(name),
            Proto::InlinePrompts(inline) => Self::Inline(inline),
        }
    }
}

pub(super) fn detect(
    request: v1::DetectAnomalyRequest,
    limits: &Limits,
    caller: Caller,
) -> Result<DetectRequest, Failure> {
    let v1::DetectAnomalyRequest { image, prompts, options } = request;
    let mut checks = Checks::default();
    let image = checks.ok("image", image_input(image)).map(|image| ("image".to_owned(), image));
    let images = image.into_iter().collect();
    assemble(checks, images, prompts.map(Into::into), options, limits, caller)
}

pub(super) fn batch_detect(
    request: v1::BatchDetectAnomaliesRequest,
    limits: &Limits,
    caller: Caller,
) -> Result<DetectRequest, Failure> {
    let v1::BatchDetectAnomaliesRequest { images, prompts, options } = request;
    let mut checks = Checks::default();
    let most = limits.max_batch_images;
    if images.is_empty() || most < images.len() {
        checks.refuse("images", format!("there are {}, send 1 to {most}", images.len()));
    }
    let images = collect_images(&mut checks, "images", images, most);
    assemble(checks, images, prompts.map(Into::into), options, limits, caller)
}

/// Names each image by its place; looks at no more than `most`.
fn collect_images(
    checks: &mut Checks,
    field: &str,
    images: Vec<v1::Image>,
    most: usize,
) -> Vec<(String, ImageInput)> {
    let named = images.into_iter().take(most).enumerate().filter_map(|(index, image)| {
        let field = format!("{field}[{index}]");
        checks.ok(&field, image_input(Some(image))).map(|image| (field, image))
    });
    named.collect()
}

fn assemble(
    mut checks: Checks,
    images: Vec<(String, ImageInput)>,
    prompts: Option<Prompts>,
    options: Option<v1::DetectOptions>,
    limits: &Limits,
    caller: Caller,
) -> Result<DetectRequest, Failure> {
    let v1::DetectOptions { model, revision, anomaly_map_mode, threshold } = options.unwrap_or_default();
    let prompts = match prompts {
        None => {
            checks.refuse("prompts", "is missing; set prompt_set or inline_prompts");
            None
        }
        Some(Prompts::Stored(name)) => {
            checks.ok("prompt_set", parse_name("promptSets", &name)).map(PromptSource::Stored)
        }
        Some(Prompts::Inline(inline)) => {
            prompt_images(&mut checks, "inline_prompts", inline, limits).map(PromptSource::Inline)
        }
    };
    let model = if model.is_empty() { None } else { checks.ok("options.model", model_name(&model)) };
    let revision = (!revision.is_empty()).then_some(revision);
    if revision.as_ref().is_some_and(|revision| !revision.starts_with("sha256:")) {
        checks.refuse("options.revision", "is no digest; write \"sha256:…\", or leave it empty");
    }
    let map = match v1::AnomalyMapMode::try_from(anomaly_map_mode) {
        Ok(v1::AnomalyMapMode::Unspecified | v1::AnomalyMapMode::None) => MapMode::None,
        Ok(v1::AnomalyMapMode::PatchGrid) => MapMode::PatchGrid,
        Ok(v1::AnomalyMapMode::ImageSize) => MapMode::ImageSize,
        Err(_) => {
            checks
                .refuse("options.anomaly_map_mode", format!("{anomaly_map_mode} is no mode of this server"));
            MapMode::None
        }
    };
    if threshold.is_some_and(|threshold| !threshold.is_finite()) {
        checks.refuse("options.threshold", "is not finite; scores lie in 0..=1");
    }
    checks.done()?;
    let prompts = prompts.ok_or_else(|| Failure::invalid("prompts", "is missing"))?;
    let Caller { routing_key, deadline } = caller;
    Ok(DetectRequest { images, prompts, model, revision, map, threshold, routing_key, deadline })
}

/// A prompt set to keep, and its id.
pub(super) fn create(
    request: v1::CreatePromptSetRequest,
    limits: &Limits,
) -> Result<(ResourceId, PromptImages), Failure> {
    let v1::CreatePromptSetRequest { prompt_set_id, prompts } = request;
    let mut checks = Checks::default();
    let id = checks.ok("prompt_set_id", ResourceId::parse(&prompt_set_id).map_err(|error| error.to_string()));
    let images = prompt_images(&mut checks, "prompts", prompts.unwrap_or_default(), limits);
    checks.done()?;
    id.zip(images).ok_or_else(|| Failure::invalid("prompts", "is missing"))
}

/// The id in the name of a prompt set.
pub(super) fn prompt_set_name(name: &str) -> Result<ResourceId, Failure> {
    parse_name("promptSets", name).map_err(|description| Failure::invalid("name", description))
}

/// The id of a page token.
pub(super) fn page_token(token: &str) -> Result<Option<ResourceId>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let refused = |_| Failure::invalid("page_token", "is no token of this server; begin again without");
    ResourceId::parse(token).map(Some).map_err(refused)
}

fn parse_name(collection: &str, name: &str) -> Result<ResourceId, String> {
    let id = within(collection, name)?;
    ResourceId::parse(id).map_err(|error| error.to_string())
}

/// The id in the name of a model.
pub(super) fn model_name(name: &str) -> Result<ResourceId, String> {
    let id = within("models", name)?;
    ResourceId::parse_model(id).map_err(|error| error.to_string())
}

/// What follows the collection in a name.
fn within<'a>(collection: &str, name: &'a str) -> Result<&'a str, String> {
    name.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')).ok_or_else(|| {
        let given: String = name.chars().take(128).collect();
        format!("{given:?} is no name; write \"{collection}/ID\"")
    })
}

fn prompt_images(
    checks: &mut Checks,
    field: &str,
    prompts: v1::InlinePrompts,
    limits: &Limits,
) -> Option<PromptImages> {
    let v1::InlinePrompts { normal_images, object_class } = prompts;
    let (most, shots) = (limits.max_shots, normal_images.len());
    if shots == 0 || most < shots {
        checks.refuse(
            format!("{field}.normal_images"),
            format!("there are {shots} normal images, a prompt set has 1 to {most}"),
        );
    }
    let object_class = object_class.trim().to_owned();
    if object_class.is_empty() || MAX_CLASS_BYTES < object_class.len() {
        checks.refuse(
            format!("{field}.object_class"),
            format!("is empty or longer than {MAX_CLASS_BYTES} bytes; name the object, such as \"candle\""),
        );
    }
    let images = collect_images(checks, &format!("{field}.normal_images"), normal_images, most);
    let images = images.into_iter().map(|(_, image)| image).collect();
    checks.0.is_empty().then_some(PromptImages { object_class, images })
}

fn image_input(image: Option<v1::Image>) -> Result<ImageInput, String> {
    let source = image.and_then(|image| image.source);
    match source.ok_or("is missing; set encoded or raw")? {
        Source::Encoded(bytes) => Ok(ImageInput::Encoded(bytes)),
        Source::Raw(v1::RawImage { width, height, rgb }) => {
            let side = |side: i32| u32::try_from(side).ok().filter(|&side| side > 0);
            let sides = side(width).zip(side(height));
            let (width, height) = sides.ok_or_else(|| {
                format!("raw image is {width} x {height} pixels; both sides must be positive")
            })?;
            Ok(ImageInput::Raw { width, height, rgb })
        }
    }
}

pub(super) fn answer(answer: Answer) -> v1::DetectAnomalyResponse {
    let Answer { scores, decision, threshold, map, examined, provenance, timing } = answer;
    let components = v1::ComponentScores {
        image_score: scores.image_score,
        text_score: scores.text_score,
        patch_max: scores.patch_max,
        holistic_score: scores.holistic_score,
    };
    let decision = match decision {
        Decision::Uncalibrated => v1::Decision::Uncalibrated,
        Decision::Normal => v1::Decision::Normal,
        Decision::Anomalous => v1::Decision::Anomalous,
    };
    let Provenance { model, revision, revision_number, backbone_digest, backbone_kind, prompt_digest } =
        provenance;
    let model = format!("models/{model}");
    let Timing { decode, queue, compute, batch_size, is_prompt_cache_hit } = timing;
    v1::DetectAnomalyResponse {
        score: scores.score,
        components: Some(components),
        decision: decision.into(),
        threshold,
        anomaly_map: map.map(anomaly_map),
        examined_area: Some(area(examined)),
        provenance: Some(v1::Provenance {
            model,
            revision,
            backbone_digest,
            backbone_provenance: backbone_kind,
            prompt_digest,
            revision_number,
        }),
        timing: Some(v1::Timing {
            decode_duration: Some(duration(decode)),
            queue_duration: Some(duration(queue)),
            compute_duration: Some(duration(compute)),
            batch_size: batch_size as i32,
            is_prompt_cache_hit,
        }),
    }
}

fn anomaly_map(map: AnomalyMap) -> v1::AnomalyMap {
    let AnomalyMap { width, height, values } = map;
    let values: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    v1::AnomalyMap { width: width as i32, height: height as i32, values: values.into() }
}

fn area(area: Area) -> v1::Area {
    let Area { x, y, width, height } = area;
    v1::Area { x, y, width, height }
}

pub(super) fn prompt_set(info: &PromptSetInfo) -> v1::PromptSet {
    let created = info.created;
    v1::PromptSet {
        name: info.name(),
        object_class: info.object_class.clone(),
        shot_count: info.shots as i32,
        content_digest: info.digest.clone(),
        create_time: Some(prost_types::Timestamp {
            seconds: created.as_second(),
            nanos: created.subsec_nanosecond(),
        }),
        etag: info.etag(),
    }
}

pub(super) fn backbone(info: &BackboneInfo) -> v1::BackboneInfo {
    v1::BackboneInfo {
        name: info.name.clone(),
        digest: info.digest.clone(),
        provenance: info.provenance.clone(),
        image_size: info.preprocess.size as i32,
        grid_rows: info.grid.0 as i32,
        grid_columns: info.grid.1 as i32,
        has_text: info.has_text,
    }
}

pub(super) fn limits(limits: &Limits) -> v1::Limits {
    v1::Limits {
        max_message_bytes: limits.max_message_bytes as i64,
        max_image_bytes: limits.image.max_bytes as i64,
        max_image_pixels: i64::try_from(limits.image.max_pixels).unwrap_or(i64::MAX),
        max_shots: limits.max_shots as i32,
        max_batch_images: limits.max_batch_images as i32,
    }
}

pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos() as i32,
    }
}

#[cfg(test)]
mod tests {
    use inctrl_model::ImageLimits;

    use super::*;

    const LIMITS: Limits = Limits {
        max_message_bytes: 1 << 20,
        image: ImageLimits { max_bytes: 1 << 20, max_pixels: 1 << 20 },
        max_shots: 16,
        max_batch_images: 2,
        max_queued_images: 2,
        max_inflight_bytes: 1 << 20,
        prompt_cache_bytes: 0,
    };

    fn image() -> v1::Image {
        v1::Image { source: Some(Source::Encoded(vec![1].into())) }
    }

    fn fields(refused: Failure) -> Vec<String> {
        match refused {
            Failure::Invalid(violations) => violations.into_iter().map(|it| it.field).collect(),
            other => panic!("{other} is no complaint about fields"),
        }
    }

    #[test]
    fn everything_wrong_with_a_request_is_told_at_once() {
        let options = v1::DetectOptions {
            model: "default".to_owned(),
            revision: "latest".to_owned(),
            anomaly_map_mode: 9,
            threshold: Some(f32::NAN),
        };
        let request = v1::DetectAnomalyRequest { image: None, prompts: None, options: Some(options) };
        let told = fields(detect(request, &LIMITS, Caller::default()).unwrap_err());
        let expected = [
            "image",
            "prompts",
            "options.model",
            "options.revision",
            "options.anomaly_map_mode",
            "options.threshold",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_prompt_set_has_between_1_and_16_shots_and_a_class() {
        let request = |shots: usize, class: &str| v1::CreatePromptSetRequest {
            prompt_set_id: "nut".to_owned(),
            prompts: Some(v1::InlinePrompts {
                normal_images: vec![image(); shots],
                object_class: class.to_owned(),
            }),
        };
        for shots in [0, 17] {
            let told = fields(create(request(shots, "nut"), &LIMITS).unwrap_err());
            assert_eq!(told, ["prompts.normal_images"], "{shots} shots must be refused");
        }
        assert_eq!(fields(create(request(1, " "), &LIMITS).unwrap_err()), ["prompts.object_class"]);
        assert_eq!(create(request(16, " nut"), &LIMITS).unwrap().1.object_class, "nut");
    }

    #[test]
    fn names_are_a_collection_and_an_id() {
        assert_eq!(prompt_set_name("promptSets/nut").unwrap().as_str(), "nut");
        for bad in
            ["", "nut", "promptSets/", "promptSets/a/b", "models/nut", "promptSets/../nut", "promptSets"]
        {
            assert_eq!(fields(prompt_set_name(bad).unwrap_err()), ["name"], "{bad:?} must be refused");
        }
    }

    #[test]
    fn images_of_a_batch_are_named_by_their_place_and_counted() {
        let request = |images| v1::BatchDetectAnomaliesRequest {
            images,
            prompts: Some(v1::batch_detect_anomalies_request::Prompts::PromptSet(
                "promptSets/nut".to_owned(),
            )),
            options: None,
        };
        let empty = v1::Image::default();
        let told =
            fields(batch_detect(request(vec![image(), empty]), &LIMITS, Caller::default()).unwrap_err());
        assert_eq!(told, ["images[1]"]);
        for count in [0, 3] {
            let told =
                fields(batch_detect(request(vec![image(); count]), &LIMITS, Caller::default()).unwrap_err());
            assert_eq!(told, ["images"], "{count} images must be refused");
        }
    }
}
