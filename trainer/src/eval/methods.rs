//! What is compared: trained heads, and baselines that no training has touched.

use std::path::PathBuf;

use inctrl_model::{Backbone, Device, Head, HeadKind};
use serde::{Deserialize, Serialize};

use super::error::EvalError;

/// A way to score images without a trained head.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// Largest patch residual over the same backbone: what a head has to add to.
    MaxResidual,
    /// Largest patch residual over the same architecture with drawn weights: what the backbone's weights add.
    RandomBackbone,
    /// Distance to the nearest prompt image in pixels at 60 x 60: what any features have to add to.
    RawPixels,
}

impl Baseline {
    /// All, the strongest first.
    pub const ALL: [Self; 3] = [Self::MaxResidual, Self::RandomBackbone, Self::RawPixels];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxResidual => "max residual",
            Self::RandomBackbone => "random backbone",
            Self::RawPixels => "raw pixels",
        }
    }
}

/// A trained head and where it came from.
pub struct NamedHead {
    /// Name in reports; heads of one name are runs of one recipe with different seeds.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The head.
    pub head: Head,
}

impl NamedHead {
    /// Opens the head and checks that it goes with `backbone`.
    pub fn open(name: &str, path: &std::path::Path, backbone: &Backbone) -> Result<Self, EvalError> {
        let failed = |source| EvalError::Head { name: name.to_owned(), source };
        let head = Head::load(path, Device::Cpu).map_err(failed)?;
        head.check_backbone(backbone.info()).map_err(failed)?;
        Ok(Self { name: name.to_owned(), path: path.to_owned(), head })
    }
}

/// A column of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Method {
    /// Heads of one name.
    Head {
        /// The name.
        name: String,
        /// What kind they are.
        kind: HeadKind,
        /// Digests of the head files, a seed each.
        heads: Vec<String>,
    },
    /// A baseline.
    Baseline {
        /// The name.
        name: String,
        /// Which.
        baseline: Baseline,
    },
}

impl Method {
    /// Name in reports.
    pub fn name(&self) -> &str {
        match self {
            Self::Head { name, .. } | Self::Baseline { name, .. } => name,
        }
    }

    /// Whether it is a trained head.
    pub fn is_head(&self) -> bool {
        match self {
            Self::Head { .. } => true,
            Self::Baseline { .. } => false,
        }
    }
}

/// One list of scores a run: a head, or a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scorer {
    /// A head, by position among all heads.
    Head(usize),
    /// A baseline.
    Baseline(Baseline),
}

/// The columns of the report, and for each the scorers whose results are averaged in it.
pub(super) fn columns(
    heads: &[NamedHead],
    baselines: &[Baseline],
) -> Result<Vec<(Method, Vec<Scorer>)>, EvalError> {
    let mut columns: Vec<(Method, Vec<Scorer>)> = Vec::new();
    for (position, head) in heads.iter().enumerate() {
        let (kind, digest) = (head.head.metadata().kind, head.head.digest().to_owned());
        match columns.iter_mut().find(|(method, _)| method.name() == head.name) {
            Some((Method::Head { kind: known, heads, .. }, scorers)) if *known == kind => {
                heads.push(digest);
                scorers.push(Scorer::Head(position));
            }
            Some(_) => {
                let message =
                    format!("heads named {:?} are of different kinds; give each kind its name", head.name);
                return Err(EvalError::Usage(message));
            }
            None => {
                let method = Method::Head { name: head.name.clone(), kind, heads: vec![digest] };
                columns.push((method, vec![Scorer::Head(position)]));
            }
        }
    }
    for baseline in baselines {
        let name = baseline.name().to_owned();
        if columns.iter().any(|(method, _)| method.name() == name) {
            return Err(EvalError::Usage(format!("a head cannot be named {name:?}: a baseline is")));
        }
        let method = Method::Baseline { name, baseline: *baseline };
        columns.push((method, vec![Scorer::Baseline(*baseline)]));
    }
    Ok(columns)
}
