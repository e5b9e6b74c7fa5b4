//! What to evaluate: flags over a file, checked once.

use std::path::{Path, PathBuf};

use inctrl_model::device::DeviceChoice;
use inctrl_storage::settings;
use serde::{Deserialize, Serialize};

use super::args::Args;
use super::error::EvalError;
use super::methods::Baseline;
use crate::data::{DatasetSpec, Format};

/// Shots that are reported on their own where they are among those asked for.
const USUAL_SHOTS: usize = 4;

/// Most images of a prompt set, as in the server.
const MAX_SHOTS: usize = 16;

/// Heads of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedFiles {
    /// Name in reports.
    pub name: String,
    /// Head files: runs of one recipe with different seeds, whose numbers are averaged.
    pub files: Vec<PathBuf>,
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Folder of the backbone.
    pub backbone: PathBuf,
    /// What is evaluated beside the baselines.
    pub heads: Vec<NamedFiles>,
    /// Data sets.
    pub data: Vec<DatasetSpec>,
    /// Sizes of prompt sets.
    pub shots: Vec<usize>,
    /// The size that tables, curves and maps are of; 4 where it is among `shots`, else the largest.
    pub headline_shots: Option<usize>,
    /// Prompt sets drawn for each task.
    pub draws: usize,
    /// Seed of all draws.
    pub seed: u64,
    /// Most normal and most anomalous queries of a task; 0 takes all.
    pub queries: usize,
    /// What heads are compared with.
    pub baselines: Vec<Baseline>,
    /// Side in pixels at which maps are compared with masks; 0 takes the backbone's input size.
    pub map_side: usize,
    /// Where the backbone computes.
    pub device: DeviceChoice,
    /// Folder of the feature cache.
    pub cache: PathBuf,
    /// Folder for `evaluation.json` and `report.html`.
    pub out: PathBuf,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            backbone: PathBuf::new(),
            heads: Vec::new(),
            data: Vec::new(),
            shots: vec![1, 2, 4, 8],
            headline_shots: None,
            draws: 5,
            seed: 0,
            queries: 0,
            baselines: Baseline::ALL.to_vec(),
            map_side: 0,
            device: DeviceChoice::Auto,
            cache: PathBuf::from("inctrl-features"),
            out: PathBuf::from("evaluation"),
        }
    }
}

impl EvalConfig {
    /// The file that `args` names, if any, with the flags over it.
    pub fn from_args(args: &Args) -> Result<Self, EvalError> {
        let mut config = args.config.as_deref().map_or_else(|| Ok(Self::default()), Self::read)?;
        let Args {
            config: _,
            backbone,
            head,
            data,
            shots,
            headline_shots,
            draws,
            seed,
            queries,
            baseline,
            map_side,
            device,
            cache,
            out,
            log: _,
        } = args;
        for (typed, setting) in
            [(backbone, &mut config.backbone), (cache, &mut config.cache), (out, &mut config.out)]
        {
            if let Some(typed) = typed {
                setting.clone_from(typed);
            }
        }
        if !head.is_empty() {
            config.heads.clear();
        }
        for (name, path) in head {
            config.heads.push(NamedFiles { name: name.clone(), files: vec![path.clone()] });
        }
        if !data.is_empty() {
            config.data.clone_from(data);
        }
        if !shots.is_empty() {
            config.shots.clone_from(shots);
        }
        if !baseline.is_empty() {
            config.baselines.clone_from(baseline);
        }
        config.headline_shots = headline_shots.or(config.headline_shots);
        config.device = device.unwrap_or(config.device);
        config.draws = draws.unwrap_or(config.draws);
        config.seed = seed.unwrap_or(config.seed);
        config.queries = queries.unwrap_or(config.queries);
        config.map_side = map_side.unwrap_or(config.map_side);
        config.checked()
    }

    fn read(path: &Path) -> Result<Self, EvalError> {
        let data = DatasetSpec {
            name: Some(String::new()),
            lists: vec![PathBuf::new()],
            categories: vec![String::new()],
            ..DatasetSpec::new(Format::Mvtec, "")
        };
        let heads = vec![NamedFiles { name: String::new(), files: vec![PathBuf::new()] }];
        let complete = Self { data: vec![data], heads, ..Self::default() };
        Ok(settings::read(path, &complete)?)
    }

    /// Sorts and checks; below here nobody checks again.
    pub fn checked(mut self) -> Result<Self, EvalError> {
        let refuse = |message: &str| Err(EvalError::Usage(message.to_owned()));
        if self.backbone.as_os_str().is_empty() {
            return refuse("no backbone is given; name its folder with --backbone or `backbone`");
        }
        if self.data.is_empty() {
            return refuse("no data set is given; name one with --data FORMAT:PATH or under `data`");
        }
        self.shots.sort_unstable();
        self.shots.dedup();
        let (Some(&least), Some(&most)) = (self.shots.first(), self.shots.last()) else {
            return refuse("no number of shots is given; try --shots 1,2,4,8");
        };
        if least == 0 || MAX_SHOTS < most {
            return refuse("shots must be between 1 and 16");
        }
        if self.draws == 0 {
            return refuse("draws must be at least 1");
        }
        let usual = if self.shots.contains(&USUAL_SHOTS) { USUAL_SHOTS } else { most };
        let headline = self.headline_shots.unwrap_or(usual);
        if !self.shots.contains(&headline) {
            return refuse("`headline_shots` must be one of `shots`");
        }
        self.headline_shots = Some(headline);
        self.baselines.sort_unstable();
        self.baselines.dedup();
        if self.heads.is_empty() && self.baselines.is_empty() {
            return refuse("nothing to evaluate; give a head with --head NAME=FILE, or a baseline");
        }
        Ok(self)
    }

    /// Sizes of prompt sets: the largest.
    pub fn most_shots(&self) -> usize {
        self.shots.last().copied().unwrap_or(1)
    }

    /// The size that tables, curves and maps are of.
    pub fn headline(&self) -> usize {
        self.headline_shots.unwrap_or_else(|| self.most_shots())
    }
}
