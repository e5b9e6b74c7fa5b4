//! A failure as a gRPC status: the one place where codes and details are chosen.

use std::collections::HashMap;
use std::time::Duration;

use inctrl_model::ImageError;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use inctrl_telemetry::Chain;

use crate::failure::{Failure, Quota, Resource, Violation};
use crate::prompts::StoreError;
use crate::scorer::{ScorerError, Work};

/// Domain of every reason.
const DOMAIN: &str = "inctrl.dev";
/// How gRPC's own retry mechanism is told to wait, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// When a caller of a starting server may try again.
const STARTS_WITHIN: Duration = Duration::from_secs(1);

/// What a failure is to a caller.
struct Told {
    code: Code,
    /// `UPPER_SNAKE`, stable: programs branch on it.
    reason: &'static str,
    /// Every variable of the message.
    variables: Vec<(&'static str, String)>,
    details: ErrorDetails,
    retry_after: Option<Duration>,
}

impl Told {
    fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason, variables: Vec::new(), details: ErrorDetails::new(), retry_after: None }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    fn field(mut self, field: &str, description: &str) -> Self {
        self.details.add_bad_request_violation(field, description);
        self
    }

    fn resource(mut self, kind: &str, name: &str) -> Self {
        self.details.set_resource_info(kind, name, "", "");
        self
    }

    fn precondition(mut self, kind: &str, subject: &str, description: &str) -> Self {
        self.details.add_precondition_failure_violation(kind, subject, description);
        self
    }

    fn quota(mut self, subject: &str, description: &str) -> Self {
        self.details.add_quota_failure_violation(subject, description);
        self
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        status(&failure)
    }
}

/// The status of a failure. What a caller can do nothing about is logged with all its causes.
pub(super) fn status(failure: &Failure) -> Status {
    let Told { code, reason, variables, mut details, retry_after } = told(failure);
    if matches!(code, Code::Internal | Code::DataLoss) {
        tracing::error!(reason, error = %Chain(failure), "a call failed through no fault of its caller");
    }
    let variables: HashMap<String, String> =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    details.set_error_info(reason, DOMAIN, variables);
    if let Some(delay) = retry_after {
        details.set_retry_info(Some(delay));
    }
    let mut status = Status::with_error_details(code, message(failure), details);
    if let Some(delay) = retry_after {
        status.metadata_mut().insert(PUSHBACK, MetadataValue::from(delay.as_millis() as u64));
    }
    status
}

/// What is said to a caller: the causes too where they are about what the caller sent.
fn message(failure: &Failure) -> String {
    match failure {
        Failure::Image { .. } | Failure::Scorer(ScorerError::Head(_)) => Chain(failure).to_string(),
        other => other.to_string(),
    }
}

fn told(failure: &Failure) -> Told {
    match failure {
        Failure::Invalid(violations) => {
            let told = Told::new(Code::InvalidArgument, "INVALID_FIELD");
            violations
                .iter()
                .fold(told, |told, Violation { field, description }| told.field(field, description))
        }
        Failure::Image { field, source } => {
            image(source).with("field", field).field(field, &Chain(source.as_ref()).to_string())
        }
        Failure::NotFound { resource, name, hint: _ } => {
            let (kind, reason) = match resource {
                Resource::PromptSet => ("inctrl.dev/PromptSet", "PROMPT_SET_NOT_FOUND"),
                Resource::Model => ("inctrl.dev/Model", "MODEL_NOT_FOUND"),
                Resource::Revision => ("inctrl.dev/Revision", "REVISION_NOT_FOUND"),
            };
            Told::new(Code::NotFound, reason).with("name", name).resource(kind, name)
        }
        Failure::NoHead { model } => Told::new(Code::Unavailable, "MODEL_HAS_NO_HEAD")
            .with("model", format!("models/{model}"))
            .retry_after(STARTS_WITHIN),
        Failure::StaleFence { given, known } => {
            fence(Told::new(Code::FailedPrecondition, "STALE_EPOCH"), *given)
                .with("known_epoch", known.0.to_string())
                .with("known_generation", known.1.to_string())
        }
        Failure::FenceReused { fence: given } => {
            fence(Told::new(Code::FailedPrecondition, "FENCE_REUSED"), *given)
        }
        Failure::AlreadyExists { name, digest } => Told::new(Code::AlreadyExists, "PROMPT_SET_EXISTS")
            .with("name", name)
            .with("content_digest", digest)
            .resource("inctrl.dev/PromptSet", name),
        Failure::StaleEtag { name, current, given } => Told::new(Code::Aborted, "STALE_ETAG")
            .with("name", name)
            .with("current", current)
            .with("given", given)
            .resource("inctrl.dev/PromptSet", name),
        Failure::MessageTooLarge { size, limit } => Told::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
            .with("size", size.to_string())
            .with("limit", limit.to_string()),
        Failure::SurplusMessage => Told::new(Code::InvalidArgument, "SURPLUS_MESSAGE"),
        Failure::SilentCaller { limit } => {
            Told::new(Code::DeadlineExceeded, "CALLER_SILENT").with("limit_s", limit.as_secs().to_string())
        }
        Failure::RolloutBusy => Told::new(Code::Unavailable, "ROLLOUT_BUSY").retry_after(STARTS_WITHIN),
        Failure::Overloaded { quota, limit, retry_after } => {
            let (reason, subject) = match quota {
                Quota::QueuedImages => ("QUEUE_FULL", "queued_images"),
                Quota::InflightBytes => ("INFLIGHT_BYTES_EXHAUSTED", "inflight_bytes"),
                Quota::PendingPromptSets => ("PROMPT_SETS_PENDING", "pending_prompt_sets"),
            };
            Told::new(Code::ResourceExhausted, reason)
                .with("limit", limit.to_string())
                .with("retry_after_ms", retry_after.as_millis().to_string())
                .quota(subject, &failure.to_string())
                .retry_after(*retry_after)
        }
        Failure::Starting => Told::new(Code::Unavailable, "STARTING").retry_after(STARTS_WITHIN),
        Failure::Draining => Told::new(Code::Unavailable, "DRAINING").retry_after(Duration::ZERO),
        Failure::Deadline { predicted_wait } => {
            let told = Told::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
            match predicted_wait {
                Some(wait) => told.with("predicted_wait_ms", wait.as_millis().to_string()),
                None => told,
            }
        }
        Failure::Unauthenticated => Told::new(Code::Unauthenticated, "TOKEN_NEEDED"),
        Failure::Stranger { expected } => {
            Told::new(Code::PermissionDenied, "CLIENT_NOT_KNOWN").with("expected", expected)
        }
        Failure::Scorer(error) => scorer(error),
        Failure::Store(error) => store(error),
        Failure::Panicked { doing: _ } => Told::new(Code::Internal, "INTERNAL"),
    }
}

fn fence(told: Told, (epoch, generation): (i64, i64)) -> Told {
    told.with("epoch", epoch.to_string()).with("generation", generation.to_string())
}

fn store(error: &StoreError) -> Told {
    match error {
        StoreError::Damaged { name, source: _ } => Told::new(Code::DataLoss, "PROMPT_SET_DAMAGED")
            .with("name", name)
            .resource("inctrl.dev/PromptSet", name),
        StoreError::Write { name, source: _ } | StoreError::Delete { name, source: _ } => {
            Told::new(Code::Internal, "STORAGE_FAILED").with("name", name)
        }
        StoreError::Folder { .. }
        | StoreError::InUse { .. }
        | StoreError::Read { .. }
        | StoreError::OtherVersion { .. } => Told::new(Code::Internal, "STORAGE_FAILED"),
    }
}

fn image(error: &ImageError) -> Told {
    let reason = match error {
        ImageError::TooManyPixels { .. } | ImageError::TooLong { .. } => "TOO_MANY_PIXELS",
        ImageError::TooManyBytes { .. } => "IMAGE_TOO_LARGE",
        ImageError::UnknownFormat | ImageError::UnsupportedFormat { .. } => "UNSUPPORTED_IMAGE_FORMAT",
        // The enum may grow in its own crate.
        _ => "IMAGE_DECODE_FAILED",
    };
    Told::new(Code::InvalidArgument, reason)
}

fn scorer(error: &ScorerError) -> Told {
    match error {
        ScorerError::OutOfMemory { work } => {
            let told = Told::new(Code::ResourceExhausted, "OUT_OF_DEVICE_MEMORY");
            match work {
                Work::Images(images) => told.with("images", images.to_string()),
                Work::Text | Work::Head | Work::SelfTest => told,
            }
        }
        ScorerError::Head(_) if error.is_of_the_head() => {
            Told::new(Code::Unavailable, "HEAD_FAILED").retry_after(Duration::ZERO)
        }
        ScorerError::Head(error) => {
            let said = Chain(error.as_ref()).to_string();
            Told::new(Code::FailedPrecondition, "HEAD_UNUSABLE").precondition("HEAD", "head", &said)
        }
        ScorerError::NotFinite => Told::new(Code::Internal, "FEATURES_NOT_FINITE"),
        ScorerError::SelfTest(_) => Told::new(Code::Internal, "SELF_TEST_FAILED"),
        ScorerError::Panicked { message: _ } => Told::new(Code::Internal, "SCORER_PANICKED"),
        ScorerError::Backbone(_) => Told::new(Code::Internal, "BACKBONE_FAILED"),
        ScorerError::Unknown { what: _ } => Told::new(Code::Internal, "INTERNAL"),
        ScorerError::Ended => Told::new(Code::Unavailable, "SCORER_ENDED").retry_after(Duration::ZERO),
    }
}

/// The code as the gRPC specification writes it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(status: &Status) -> String {
        status.get_details_error_info().unwrap().reason
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let retry_after = Duration::from_millis(120);
        let quota = Quota::QueuedImages;
        let status = status(&Failure::Overloaded { quota, limit: 256, retry_after });
        assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "QUEUE_FULL"));
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(retry_after));
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "120");
        assert_eq!(status.get_details_quota_failure().unwrap().violations[0].subject, "queued_images");
    }

    #[test]
    fn a_message_too_large_is_not_worth_a_retry() {
        let status = status(&Failure::MessageTooLarge { size: 10, limit: 5 });
        assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
        assert!(status.get_details_retry_info().is_none());
        assert_eq!(status.get_details_error_info().unwrap().metadata["limit"], "5");
    }

    #[test]
    fn every_bad_field_is_named() {
        let violation =
            |field: &str| Violation { field: field.to_owned(), description: "is missing".to_owned() };
        let status = status(&Failure::Invalid(vec![violation("image"), violation("prompts")]));
        let fields = status.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<_> = fields.into_iter().map(|it| it.field).collect();
        assert_eq!(
            (status.code(), fields),
            (Code::InvalidArgument, vec!["image".to_owned(), "prompts".to_owned()])
        );
    }

    #[test]
    fn what_went_wrong_inside_stays_inside() {
        let source = std::io::Error::other("secret path");
        let failure = Failure::from(StoreError::Write { name: "promptSets/nut".to_owned(), source });
        let status = status(&failure);
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret path"), "{}", status.message());
    }
}
