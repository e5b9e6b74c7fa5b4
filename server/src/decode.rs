//! Encoded bytes to pixels: a bounded pool of CPU threads beside the event loop.

use std::panic::{AssertUnwindSafe, catch_unwind};

use inctrl_model::{DecodedImage, ImageError, ImageLimits, Pixels, Preprocess};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::request::ImageInput;

/// Threads for work that would hold up the event loop: decoding, hashing, files.
#[derive(Debug)]
pub(crate) struct CpuPool {
    pool: ThreadPool,
}

impl CpuPool {
    pub(crate) fn new(threads: usize) -> Result<Self, ThreadPoolBuildError> {
        let builder = ThreadPoolBuilder::new().num_threads(threads);
        Ok(Self { pool: builder.thread_name(|index| format!("cpu-{index}")).build()? })
    }

    /// Runs `work` on the pool. Skips it when the caller is gone before it begins; a panic in it is a failure of
    /// this call alone.
    ///
    /// The pool's own queue holds at most what admission let in: every caller waits for its work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.pool.spawn(move || {
            if reply.is_closed() {
                return;
            }
            if let Ok(done) = catch_unwind(AssertUnwindSafe(work)) {
                let _ = reply.send(done);
            }
        });
        answer.await.map_err(|_| Failure::Panicked { doing })
    }
}

/// Decodes and pre-processes one image.
pub(crate) fn decode(
    image: &ImageInput,
    preprocess: &Preprocess,
    limits: &ImageLimits,
) -> Result<Pixels, ImageError> {
    let decoded = match image {
        ImageInput::Encoded(bytes) => DecodedImage::decode(bytes, limits)?,
        ImageInput::Raw { width, height, rgb } => {
            let pixels = u64::from(*width) * u64::from(*height);
            if limits.max_pixels < pixels {
                let (width, height, limit) = (*width, *height, limits.max_pixels);
                return Err(ImageError::TooManyPixels { width, height, limit });
            }
            DecodedImage::from_rgb(*width, *height, rgb.to_vec())?
        }
    };
    Ok(preprocess.apply(&decoded))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_whose_caller_is_gone_is_skipped() {
        let pool = CpuPool::new(1).unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let first = pool.run("waiting", move || blocked.recv());
        let ran = Arc::new(AtomicBool::new(false));
        let marks = Arc::clone(&ran);
        let mut second = Box::pin(pool.run("marking", move || marks.store(true, Ordering::Relaxed)));
        let mut first = Box::pin(first);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        pool.run("passing", || ()).await.unwrap();
        assert!(!ran.load(Ordering::Relaxed), "nobody waits for it any more");
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_work_only() {
        let pool = CpuPool::new(1).unwrap();
        let failed = pool.run("adding", || -> u8 { panic!("on purpose") }).await.unwrap_err();
        assert!(matches!(failed, Failure::Panicked { doing: "adding" }));
        assert_eq!(pool.run("adding", || 2).await.unwrap(), 2);
    }
}
