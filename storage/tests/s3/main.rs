//! S3 against a real S3 server program, and uploads that are cut: nothing that reads as complete is left.
//!
//! The server (moto) is installed on first use by `s3/install`; without a Python the trials are skipped, loudly, and
//! counted as ignored, never as passed.
#![expect(clippy::unwrap_used, reason = "what a trial cannot do must fail it")]

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::LazyLock;

use libtest_mimic::{Arguments, Trial};

mod cut;
mod proxy;
mod server;
mod suite;

/// The one server of these trials; every trial has a bucket of its own.
static SERVER: LazyLock<server::S3Server> = LazyLock::new(server::S3Server::start);

type Check = fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

const CHECKS: [(&str, Check); 4] = [
    ("s3_passes_the_conformance_suite", || Box::pin(suite::passes())),
    ("a_bucket_that_is_not_there_is_not_found", || Box::pin(suite::a_missing_bucket_is_not_found())),
    ("an_upload_cut_in_the_middle_leaves_no_object", || Box::pin(cut::an_upload_leaves_no_object())),
    ("wherever_a_publication_is_cut_what_reads_as_published_is_whole", || Box::pin(cut::a_publication())),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let at_hand = server::S3Server::is_at_hand();
    if let Err(reason) = &at_hand {
        let count = CHECKS.len();
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: {count} trials against S3 cannot run: {reason}\n");
    }
    let trials = CHECKS.map(|(name, check)| {
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(check());
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(at_hand.is_err())
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}
