//! A server's refusal in words: its message, and what the google.rpc details add to it.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What a server said no with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Name of the gRPC code, such as `INVALID_ARGUMENT`.
    pub(crate) code: &'static str,
    /// The server's own word for the reason, such as `IMAGE_DECODE_FAILED`.
    pub(crate) reason: Option<String>,
    /// The message.
    pub(crate) message: String,
    /// What the details say that the message does not, a line each.
    pub(crate) details: Vec<String>,
    /// What to do.
    pub(crate) hint: Option<&'static str>,
}

impl Refusal {
    /// Reads a status that a server sent.
    pub(crate) fn of(status: &Status) -> Self {
        let message = match status.message() {
            "" => "the server gave no message".to_owned(),
            message => message.to_owned(),
        };
        let reason = status.get_details_error_info().map(|info| info.reason).filter(|it| !it.is_empty());
        let details = details(status).filter(|(_, said)| !message.contains(said.as_str()));
        let details = details.map(|(of, said)| format!("{of}: {said}")).collect();
        let hint = hint(status.code(), reason.as_deref());
        Self { code: code_name(status.code()), reason, message, details, hint }
    }

    /// Lines below the message, for people.
    pub(crate) fn explanation(&self) -> String {
        let Self { code, reason, message: _, details, hint } = self;
        let mut lines = vec![match reason {
            Some(reason) => format!("{code}, reason {reason}"),
            None => (*code).to_owned(),
        }];
        lines.extend(details.iter().cloned());
        lines.extend(hint.map(|hint| format!("hint: {hint}")));
        format!("\n  {}", lines.join("\n  "))
    }
}

/// What each detail is about, and what it says.
fn details(status: &Status) -> impl Iterator<Item = (String, String)> {
    let details = status.get_error_details();
    let fields = details.bad_request().map(|it| it.field_violations.clone()).unwrap_or_default();
    let fields = fields.into_iter().map(|it| (format!("field {}", it.field), it.description));
    let states = details.precondition_failure().map(|it| it.violations.clone()).unwrap_or_default();
    let states = states.into_iter().map(|it| (format!("precondition {}", it.subject), it.description));
    let quotas = details.quota_failure().map(|it| it.violations.clone()).unwrap_or_default();
    let quotas = quotas.into_iter().map(|it| (format!("quota {}", it.subject), it.description));
    let resource = details.resource_info().cloned().into_iter();
    let resource = resource.map(|it| (format!("resource {}", it.resource_type), it.resource_name));
    let links = details.help().map(|it| it.links.clone()).unwrap_or_default();
    let links = links.into_iter().map(|it| (it.description, it.url));
    fields.chain(states).chain(quotas).chain(resource).chain(links).filter(|(_, said)| !said.is_empty())
}

fn hint(code: Code, reason: Option<&str>) -> Option<&'static str> {
    match (code, reason) {
        (Code::DeadlineExceeded, _) => Some("raise --timeout, or lower --concurrency"),
        (Code::Unauthenticated, _) => Some("give the server's token with --token-file FILE"),
        (Code::Unimplemented, _) => Some("is this an InCTRL scoring server? see inctrl info"),
        (_, Some("PROMPT_SET_NOT_FOUND")) => Some("see inctrl prompts list"),
        (_, Some("MODEL_NOT_FOUND" | "REVISION_NOT_FOUND")) => Some("see inctrl info"),
        (_, Some("MESSAGE_TOO_LARGE")) => Some("shrink the images, or give fewer"),
        _ => None,
    }
}

/// The code as the gRPC specification writes it.
fn code_name(code: Code) -> &'static str {
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
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn details_that_the_message_repeats_are_said_once() {
        let mut details = ErrorDetails::with_bad_request_violation("image", "not an image");
        details.add_bad_request_violation("options.threshold", "must be at most 1");
        details.set_error_info("IMAGE_DECODE_FAILED", "inctrl.dev", [("field".into(), "image".into())]);
        let status = Status::with_error_details(Code::InvalidArgument, "image: not an image", details);
        let refusal = Refusal::of(&status);
        assert_eq!(refusal.details, ["field options.threshold: must be at most 1"]);
        assert_eq!(
            refusal.explanation(),
            "\n  INVALID_ARGUMENT, reason IMAGE_DECODE_FAILED\n  field options.threshold: must be at most 1"
        );
    }

    #[test]
    fn a_missing_resource_is_named_and_the_way_on_shown() {
        let mut details = ErrorDetails::with_resource_info("inctrl.dev/PromptSet", "promptSets/nut", "", "");
        details.set_error_info("PROMPT_SET_NOT_FOUND", "inctrl.dev", []);
        let status = Status::with_error_details(Code::NotFound, "there is no such prompt set", details);
        let refusal = Refusal::of(&status);
        assert_eq!(refusal.details, ["resource inctrl.dev/PromptSet: promptSets/nut"]);
        assert_eq!(refusal.hint, Some("see inctrl prompts list"));
    }

    #[test]
    fn a_bare_status_is_still_explained() {
        let refusal = Refusal::of(&Status::new(Code::Internal, ""));
        assert_eq!(refusal.message, "the server gave no message");
        assert_eq!(refusal.explanation(), "\n  INTERNAL");
    }
}
