//! What the trials share: a head on the backbone at hand, and one server of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use inctrl_model::head::contextual::STATISTICS;
use inctrl_model::{Backbone, Device, Head, HeadKind, HeadMetadata, Precision};
use inctrl_tests::backbone;
use inctrl_tests::go_tools::{GoTools, Suite};
use inctrl_tests::programs::program;
use inctrl_tests::server::{ScoringServer, Served};
use tch::Tensor;
use tempfile::TempDir;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static GO_TOOLS: LazyLock<GoTools> =
    LazyLock::new(|| GoTools::build(Suite::Conformance).unwrap_or_else(|error| panic!("{error}")));
static INCTRL: LazyLock<PathBuf> =
    LazyLock::new(|| program("inctrl-cli", "inctrl").unwrap_or_else(|error| panic!("{error}")));
static HEAD: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    write_head(&backbone::find().unwrap(), &path);
    (folder, path)
});
static SERVER: Mutex<Option<ScoringServer>> = Mutex::new(None);

/// Address of the server that all trials share, started by the first.
pub(crate) fn server() -> String {
    let mut server = SERVER.lock().unwrap();
    server.get_or_insert_with(|| own_server(&[])).address().to_string()
}

/// A server for one trial alone.
pub(crate) fn own_server(flags: &[&str]) -> ScoringServer {
    let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    let served = Served { backbone: backbone::find().unwrap(), head: HEAD.1.clone(), flags };
    RUNTIME.block_on(ScoringServer::start(served)).unwrap_or_else(|error| panic!("{error}"))
}

/// Starts a killed server anew.
pub(crate) fn start_again(server: &mut ScoringServer) {
    RUNTIME.block_on(server.start_again()).unwrap_or_else(|error| panic!("{error}"));
}

/// The clients in Go, built by the first trial that needs them.
pub(crate) fn go_tools() -> &'static GoTools {
    &GO_TOOLS
}

/// Stops the shared server: statics are not dropped.
pub(crate) fn strike() {
    drop(SERVER.lock().unwrap().take());
}

/// Our own command, brought up to date once.
pub(crate) fn inctrl() -> Command {
    Command::new(&*INCTRL)
}

/// A contextual head that weighs every statistic alike; untrained, but a real one.
fn write_head(backbone: &Path, path: &Path) {
    let backbone = Backbone::open(backbone, Device::Cpu, Precision::Fp32).unwrap();
    let metadata = HeadMetadata::new(HeadKind::Contextual, backbone.info().clone());
    let each = [1.0_f32; STATISTICS.len()];
    let tensors = [
        ("linear.weight", Tensor::from_slice(&each)),
        ("linear.bias", Tensor::from_slice(&[-2.0_f32])),
        ("standard.mean", Tensor::from_slice(&[0.0_f32; STATISTICS.len()])),
        ("standard.deviation", Tensor::from_slice(&each)),
    ];
    let head = Head::from_tensors(&metadata, tensors, Device::Cpu).unwrap();
    std::fs::write(path, head.to_bytes()).unwrap();
}
