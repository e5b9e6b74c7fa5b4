//! When a caller stops waiting: gRPC's `grpc-timeout` as a point in time.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

const HEADER: &str = "grpc-timeout";
/// The answer that time is up leaves so much earlier, to arrive in time and before the transport's own timer drops it
/// without a word.
const MARGIN: Duration = Duration::from_millis(5);

/// When the caller of a request stops waiting; kept in its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub(super) Option<Instant>);

impl Deadline {
    /// Reads the header; a malformed one counts as none.
    pub(super) fn of(headers: &HeaderMap, now: Instant) -> Self {
        let timeout = headers.get(HEADER).and_then(|value| value.to_str().ok()).and_then(parse);
        Self(timeout.and_then(|timeout| now.checked_add(timeout.saturating_sub(MARGIN.min(timeout / 10)))))
    }
}

/// At most 8 digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_nonsense_is_none() {
        let second = Some(Duration::from_secs(1));
        for text in ["1S", "1000m", "1000000u"] {
            assert_eq!(parse(text), second, "{text}");
        }
        assert_eq!(parse("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parse("3M"), Some(Duration::from_mins(3)));
        assert_eq!(parse("7n"), Some(Duration::from_nanos(7)));
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1.5S", "1ä"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_leaves_before_the_caller_does() {
        let at = |text: &'static str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(HEADER),
                http::HeaderValue::from_static(text),
            )]);
            Deadline::of(&headers, Instant::now()).0.map(|deadline| deadline - Instant::now())
        };
        assert_eq!(at("1S"), Some(Duration::from_millis(995)));
        assert_eq!(at("10m"), Some(Duration::from_millis(9)));
        assert_eq!(at("soon"), None);
    }
}
