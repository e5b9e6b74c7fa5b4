//! `inctrl-cluster`: a cluster to try things out on. A real control plane, and a node that runs the programs of this
//! workspace, taken from where this one lies, as the images `inctrl-operator`, `inctrl-server` and `inctrl-trainer`.
//!
//! Prints `NAME=PATH` lines (`FOLDER`, `KUBECONFIG`, `KUBECTL`, `HELM`) once all is ready, and lives until its standard
//! input closes.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use inctrl_tests::control_plane::node::{Image, Node};
use inctrl_tests::control_plane::{ControlPlane, Controllers};
use inctrl_tests::go_tools::{GoTools, Suite};

/// What the images are called, and the programs in them.
const PROGRAMS: [&str; 3] = ["inctrl-operator", "inctrl-server", "inctrl-trainer"];

/// Where an image has its starter backbone, as in `charts/inctrl`.
const BACKBONE: &str = "/usr/share/inctrl/backbones/efficientnet-lite0";

/// Paths that are compiled into programs, which a pod of this node finds elsewhere.
const ENVIRONMENT: [(&str, &str); 2] =
    [("INCTRL_PVC_ROOT", "/mnt/inctrl/pvc"), ("INCTRL_TERMINATION_LOG", "/dev/termination-log")];

#[tokio::main]
async fn main() -> ExitCode {
    match live().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "inctrl-cluster: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn live() -> Result<(), Box<dyn Error>> {
    let helm = GoTools::build(Suite::Helm)?.program("helm");
    let plane = ControlPlane::start(Controllers::On).await?;
    let _node = Node::join(&plane, "node-1", images()?).await?;
    let kubectl = plane.kubectl();
    let mut out = std::io::stdout();
    for (name, path) in [
        ("FOLDER", plane.folder()),
        ("KUBECONFIG", plane.kubeconfig()),
        ("KUBECTL", Path::new(kubectl.get_program())),
        ("HELM", &helm),
    ] {
        writeln!(out, "{name}={}", path.display())?;
    }
    writeln!(out, "READY=yes")?;
    out.flush()?;
    // Whoever started it closes this, or ends.
    let (closed, ending) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("standard-input".to_owned()).spawn(move || {
        let _ = closed.send(std::io::stdin().read_to_end(&mut Vec::new()));
    })?;
    ending.await??;
    Ok(())
}

fn images() -> Result<Vec<(String, Image)>, Box<dyn Error>> {
    let this = std::env::current_exe()?;
    let folder = this.parent().unwrap_or(Path::new("."));
    let backbone = std::env::var_os("INCTRL_BACKBONE").map(Into::into);
    let mut images = Vec::new();
    for name in PROGRAMS {
        let program = folder.join(name);
        if !program.is_file() {
            return Err(format!("{} is missing; run make build first", program.display()).into());
        }
        let mut files = vec![(format!("/usr/local/bin/{name}"), program)];
        files.extend(backbone.iter().cloned().map(|folder| (BACKBONE.to_owned(), folder)));
        let environment = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let image = Image { files, environment, ..Image::default() };
        images.push((format!("{name}:{}", env!("CARGO_PKG_VERSION")), image));
    }
    Ok(images)
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(said, ": {error}");
        cause = error.source();
    }
    said
}
