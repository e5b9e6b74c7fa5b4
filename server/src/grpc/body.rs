//! A request's body under limits that hold before it is buffered: bytes of its message, bytes of all in work, and how long
//! it may be silent, for what it announced is held for it all the while.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

use super::status::status;
use crate::admission::ByteBudget;
use crate::failure::Failure;

/// A flag and the length of the message, in front of it.
const PREFIX: usize = 5;
/// A caller that sends nothing for so long, in the middle of a message, has been lost.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);

/// The bytes that a request has taken from the budget; given back when the last holder lets go.
pub(super) type Taken = Arc<OnceLock<OwnedSemaphorePermit>>;

/// The body of a request with one message.
pub(super) struct LimitedBody {
    inner: Body,
    budget: ByteBudget,
    most: usize,
    taken: Taken,
    prefix: Vec<u8>,
    /// Bytes that came, the prefix included.
    received: usize,
    silence: Pin<Box<Sleep>>,
}

impl LimitedBody {
    pub(super) fn new(inner: Body, budget: ByteBudget, most: usize, taken: Taken) -> Self {
        let (prefix, silence) = (Vec::with_capacity(PREFIX), Box::pin(sleep(LONGEST_SILENCE)));
        Self { inner, budget, most, taken, prefix, received: 0, silence }
    }

    /// Takes the bytes that the message announces, once they are known; nothing may come after them.
    fn admit(&mut self, data: &Bytes) -> Result<(), Failure> {
        self.received = self.received.saturating_add(data.len());
        if self.prefix.len() < PREFIX {
            self.announce(data)?;
        }
        if self.prefix.len() == PREFIX && PREFIX.saturating_add(self.size()) < self.received {
            return Err(Failure::SurplusMessage);
        }
        Ok(())
    }

    /// Bytes of the message, by its whole prefix.
    fn size(&self) -> usize {
        (&self.prefix[1..]).get_u32() as usize
    }

    fn announce(&mut self, data: &Bytes) -> Result<(), Failure> {
        let missing = PREFIX - self.prefix.len();
        self.prefix.extend_from_slice(&data[..missing.min(data.len())]);
        if self.prefix.len() < PREFIX {
            return Ok(());
        }
        let size = self.size();
        if self.most < size {
            return Err(Failure::MessageTooLarge { size, limit: self.most });
        }
        let permit = self.budget.take(size)?;
        // Set once: the prefix is completed once.
        let _ = self.taken.set(permit);
        Ok(())
    }
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            ready!(self.silence.as_mut().poll(context));
            let failure = Failure::SilentCaller { limit: LONGEST_SILENCE };
            return Poll::Ready(Some(Err(status(&failure))));
        };
        self.silence.as_mut().reset(Instant::now() + LONGEST_SILENCE);
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(failure) = self.admit(data)
        {
            return Poll::Ready(Some(Err(status(&failure))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    fn body(parts: &[&'static [u8]], budget: &ByteBudget, taken: &Taken) -> LimitedBody {
        let frames: Vec<Result<Frame<Bytes>, Status>> =
            parts.iter().map(|&part| Ok(Frame::data(Bytes::from_static(part)))).collect();
        let inner = Body::new(StreamBody::new(futures::stream::iter(frames)));
        LimitedBody::new(inner, budget.clone(), 4096, Arc::clone(taken))
    }

    #[tokio::test]
    async fn a_split_prefix_is_put_together_and_the_bytes_are_held_until_let_go() {
        let (budget, taken) = (ByteBudget::new(8192), Taken::default());
        let parts: [&[u8]; 3] = [&[0, 0, 0], &[0x08, 0], b"abc"];
        let collected = body(&parts, &budget, &taken).collect().await.unwrap().to_bytes();
        assert_eq!(collected, [&[0, 0, 0, 8, 0][..], b"abc"].concat());
        assert_eq!(budget.taken(), 2048);
        drop(taken);
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn a_message_that_announces_too_much_is_refused_unread() {
        let (budget, taken) = (ByteBudget::new(8192), Taken::default());
        let refused = body(&[&[0, 0, 0, 0x10, 1]], &budget, &taken).collect().await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let info = refused.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.metadata["size"].as_str()), ("MESSAGE_TOO_LARGE", "4097"));
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn what_follows_the_message_is_refused() {
        let (budget, taken) = (ByteBudget::new(8192), Taken::default());
        let second = body(&[&[0, 0, 0, 0, 3], b"abc", &[0, 0, 0, 0, 1]], &budget, &taken);
        let refused = second.collect().await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "SURPLUS_MESSAGE");
        let at_once = body(&[&[0, 0, 0, 0, 1, 7, 0]], &budget, &Taken::default());
        assert_eq!(at_once.collect().await.unwrap_err().code(), Code::InvalidArgument);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_falls_silent_gives_its_bytes_back() {
        let (budget, taken) = (ByteBudget::new(8192), Taken::default());
        let began = Instant::now();
        let pause = Duration::from_secs(19);
        let slow = futures::stream::iter([&[0, 0, 0, 8, 0][..], b"ab", b"c"]).then(move |part| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Status>(Frame::data(Bytes::from_static(part)))
        });
        let inner = Body::new(StreamBody::new(Box::pin(slow.chain(futures::stream::pending()))));
        let stalled = LimitedBody::new(inner, budget.clone(), 4096, Arc::clone(&taken));
        let refused = stalled.collect().await.unwrap_err();
        assert_eq!(began.elapsed(), pause * 3 + LONGEST_SILENCE, "slow is not silent");
        assert_eq!(refused.code(), Code::DeadlineExceeded);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "CALLER_SILENT");
        drop(taken);
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn a_full_budget_refuses_at_once() {
        let (budget, taken) = (ByteBudget::new(4096), Taken::default());
        let _all = budget.take(4096).unwrap();
        let refused = body(&[&[0, 0, 0, 1, 0]], &budget, &taken).collect().await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "INFLIGHT_BYTES_EXHAUSTED");
        assert!(refused.get_details_retry_info().is_some());
    }
}
