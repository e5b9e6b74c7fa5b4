//! What a failed call means, and how long to wait before the next attempt.

use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

/// Wait before the second attempt; doubled before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait: a server that is back is noticed so soon.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody answered, or somebody on the way: another attempt may succeed.
    Unreachable,
    /// The server says that it cannot serve now, and to come back at the soonest after this time.
    Unavailable(Duration),
    /// The server asks to come back later, at the soonest after this time.
    Overloaded(Duration),
    /// No answer within `--timeout`.
    TimedOut,
    /// Server and client do not trust each other's certificates.
    Untrusted,
    /// The server does not speak TLS, and was asked to.
    Plaintext,
    /// The server's last word.
    Refused,
}

impl Verdict {
    /// Reads a status. One that has a source was made on this side, from a broken connection.
    pub(crate) fn of(status: &Status) -> Self {
        if chain(status).any(<dyn Error>::is::<TimeoutExpired>) {
            return Self::TimedOut;
        }
        if let Some(verdict) = chain(status).find_map(of_tls) {
            return verdict;
        }
        if status.source().is_some() {
            return Self::Unreachable;
        }
        match status.code() {
            // What stands between speaks without details.
            Code::Unavailable if status.get_details_error_info().is_none() => Self::Unreachable,
            Code::Unavailable => Self::Unavailable(asked_delay(status).unwrap_or_default()),
            // The other side keeps the time that it was given, too, and may be a little earlier.
            Code::Cancelled if status.get_details_error_info().is_none() => Self::TimedOut,
            Code::ResourceExhausted => asked_delay(status).map_or(Self::Refused, Self::Overloaded),
            _ => Self::Refused,
        }
    }
}

/// After which time the server asks to come back; none where it does not ask for it.
fn asked_delay(status: &Status) -> Option<Duration> {
    Some(status.get_details_retry_info()?.retry_delay.unwrap_or_default())
}

/// Trouble of TLS arrives as an I/O error about the data, never about the connection.
fn of_tls(error: &(dyn Error + 'static)) -> Option<Verdict> {
    let io =
        error.downcast_ref::<std::io::Error>().filter(|io| io.kind() == std::io::ErrorKind::InvalidData)?;
    let inner = io.get_ref()?;
    match inner.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidMessage(_)) => Some(Verdict::Plaintext),
        Some(_) => Some(Verdict::Untrusted),
        // HTTP/2 keeps the words alone: those of a server that wants a certificate and has seen none, or a foreign one.
        None => inner.to_string().starts_with("received fatal alert").then_some(Verdict::Untrusted),
    }
}

/// The causes of an error, outermost first, without itself.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'a)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// How long to wait after the `attempt`th failed attempt (from 1), at least `asked`; a random half spreads those
/// that failed together.
pub(crate) fn wait(attempt: u32, asked: Duration) -> Duration {
    wait_with(attempt, asked, rand::random_range(0.5..=1.0))
}

fn wait_with(attempt: u32, asked: Duration, share: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << (attempt.clamp(1, 16) - 1));
    let own = doubled.min(LONGEST_WAIT).mul_f64(share);
    asked.min(LONGEST_WAIT * 10) + own
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = [1, 2, 3, 6, 60].map(|attempt| wait_with(attempt, Duration::ZERO, 1.0).as_millis());
        assert_eq!(waits, [100, 200, 400, 3000, 3000]);
    }

    #[test]
    fn half_of_a_wait_is_random_and_what_the_server_asks_is_added() {
        assert_eq!(wait_with(1, Duration::from_millis(250), 0.5), Duration::from_millis(300));
        let drawn = wait(2, Duration::ZERO);
        assert!(
            (Duration::from_millis(100)..=Duration::from_millis(200)).contains(&drawn),
            "{drawn:?} must lie between half and all of the wait"
        );
    }

    #[test]
    fn only_overload_with_a_delay_is_worth_another_attempt() {
        let delay = Duration::from_millis(70);
        let overload = Status::with_error_details(
            Code::ResourceExhausted,
            "queue is full",
            ErrorDetails::with_retry_info(Some(delay)),
        );
        assert_eq!(Verdict::of(&overload), Verdict::Overloaded(delay));
        assert_eq!(Verdict::of(&Status::resource_exhausted("too large")), Verdict::Refused);
    }

    #[test]
    fn a_server_that_says_itself_that_it_cannot_serve_is_told_from_one_that_is_not_there() {
        let delay = Duration::from_secs(1);
        let mut details = ErrorDetails::with_retry_info(Some(delay));
        details.set_error_info("STARTING", "inctrl.dev", []);
        let starting = Status::with_error_details(Code::Unavailable, "server is starting", details);
        assert_eq!(Verdict::of(&starting), Verdict::Unavailable(delay));
    }

    #[test]
    fn codes_that_the_server_sends_keep_their_meaning() {
        assert_eq!(Verdict::of(&Status::unavailable("draining")), Verdict::Unreachable);
        assert_eq!(Verdict::of(&Status::deadline_exceeded("late")), Verdict::Refused);
        assert_eq!(Verdict::of(&Status::not_found("none")), Verdict::Refused);
        assert_eq!(Verdict::of(&Status::unknown("who knows")), Verdict::Refused);
    }

    #[test]
    fn only_trouble_with_certificates_is_distrust() {
        let verdict = |inner: Box<dyn Error + Send + Sync>| {
            let io = std::io::Error::new(std::io::ErrorKind::InvalidData, inner);
            Verdict::of(&Status::from_error(Box::new(io)))
        };
        let foreign = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(verdict(Box::new(foreign)), Verdict::Untrusted);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        assert_eq!(verdict(alert.to_string().into()), Verdict::Untrusted);
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(verdict(Box::new(plain)), Verdict::Plaintext);
        assert_eq!(verdict("stream did not contain valid UTF-8".into()), Verdict::Unreachable);
    }

    #[test]
    fn a_broken_connection_is_unreachable_whatever_its_code() {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(Verdict::of(&Status::from_error(Box::new(broken))), Verdict::Unreachable);
    }
}
