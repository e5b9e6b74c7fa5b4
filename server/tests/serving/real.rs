//! The tiny CLIP of the parity data behind a server in this process.

use inctrl_model::{Backbone, Device, Head, HeadKind, HeadMetadata, Precision};
use inctrl_server::app::App;
use inctrl_server::config::{Config, DeviceChoice, PrecisionChoice, Settings};
use inctrl_server::scorer::{Scorer, TorchError, TorchScorer, TorchSpec};
use tempfile::TempDir;

use crate::stage::{Server, settings};
use crate::support::{ParityFolder, parity_folders};

/// A backbone folder and a head file of the authors' weights.
pub(crate) struct Official {
    pub(crate) parity: ParityFolder,
    pub(crate) backbone: TempDir,
    /// The head file's bytes.
    pub(crate) head: Vec<u8>,
}

impl Official {
    pub(crate) fn every() -> Vec<Self> {
        parity_folders().into_iter().map(Self::new).collect()
    }

    pub(crate) fn new(parity: ParityFolder) -> Self {
        let backbone = parity.backbone_folder();
        let info = Backbone::open(backbone.path(), Device::Cpu, Precision::Fp32).unwrap().info().clone();
        let metadata = HeadMetadata::new(HeadKind::Paper, info);
        // The authors construct and save a first batch norm and counters that nothing reads.
        let unused = |name: &str| name.contains(".bn1.") || name.ends_with(".num_batches_tracked");
        let tensors = parity.head_state().into_iter().filter(|(name, _)| !unused(name));
        let head = Head::from_tensors(&metadata, tensors, Device::Cpu).unwrap().to_bytes();
        Self { parity, backbone, head }
    }

    /// A server of it, in full precision.
    pub(crate) async fn serve(&self) -> Server {
        self.serve_with(|_| {}).await
    }

    pub(crate) async fn serve_with(&self, change: impl FnOnce(&mut Settings)) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        change(&mut settings);
        std::fs::write(settings.head.as_ref().unwrap(), &self.head).unwrap();
        let spec = TorchSpec {
            backbone: self.backbone.path().to_owned(),
            device: DeviceChoice::Cpu,
            precision: PrecisionChoice::Fixed(Precision::Fp32),
            threads: 1,
        };
        let app = App::bind(Config::new(settings).unwrap()).unwrap();
        let make = move || Ok::<Box<dyn Scorer>, TorchError>(Box::new(TorchScorer::open(&spec)?));
        Server::run(app.start(make).await.unwrap(), folder)
    }
}
