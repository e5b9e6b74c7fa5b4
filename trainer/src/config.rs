//! What a training run works with: the settings of file and flags, checked once and turned into one value.
//!
//! Second of three moves (args, config, run). After it nothing reads a file of settings, a flag or the environment.

use std::path::PathBuf;

use inctrl_model::HeadKind;
use inctrl_model::device::DeviceChoice;
use inctrl_telemetry::LogConfig;

use crate::data::DatasetSpec;
use crate::loss::Sigmoids;

mod flags;
mod recipe;
mod settings;

pub use flags::Flags;
pub use recipe::{Recipe, Training};
pub use settings::{LogSettings, Settings, TrainingSettings, ValidationSettings};

/// Most shots of a prompt set that the model is meant for.
const MOST_SHOTS: usize = 16;

/// Everything a training run needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// The backbone's folder.
    pub backbone: PathBuf,
    /// The auxiliary data sets, at least one.
    pub data: Vec<DatasetSpec>,
    /// Where the head is written to.
    pub out: PathBuf,
    /// Where features are cached.
    pub cache: PathBuf,
    /// Which head.
    pub head: HeadKind,
    /// Whose recipe filled what was not set.
    pub recipe: Recipe,
    /// Seed of every random draw.
    pub seed: u64,
    /// Where the backbone computes; the head is trained on the CPU.
    pub device: DeviceChoice,
    /// Threads of one tensor operation; 0 means one a core.
    pub threads: usize,
    /// How the head is trained.
    pub training: Training,
    /// Logs.
    pub log: LogConfig,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting without a default is missing.
    #[error("{setting} is not set; give {flag}, or {setting:?} in the configuration file")]
    Missing {
        /// Its name in the file.
        setting: &'static str,
        /// The flag.
        flag: &'static str,
    },
    /// Nothing to train on.
    #[error("no data set is given; list at least one under \"data\", such as {{format: mvtec, path: …}}")]
    NoData,
    /// A number is outside its range.
    #[error("{setting} is {value}, it must be {range}")]
    OutOfRange {
        /// Its name in the file.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// What the authors never had.
    #[error("the official recipe trains the paper's head; set \"head: paper\", or \"recipe: corrected\"")]
    OfficialContextual,
    /// The second sigmoid belongs to the paper's loss.
    #[error(
        "\"training.sigmoids: double\" is the loss of the paper's head; leave it out, or set \"head: paper\""
    )]
    DoubleContextual,
}

impl TrainConfig {
    /// Checks settings.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let Settings {
            backbone,
            data,
            out,
            cache,
            head,
            recipe,
            seed,
            device,
            threads,
            training,
            validation,
            log,
        } = settings;
        let missing = |setting, flag| move || ConfigError::Missing { setting, flag };
        if data.is_empty() {
            return Err(ConfigError::NoData);
        }
        if (recipe, head) == (Recipe::Official, HeadKind::Contextual) {
            return Err(ConfigError::OfficialContextual);
        }
        let training = recipe.training(head).overridden(&training, &validation);
        check(&training)?;
        if (training.sigmoids, head) == (Sigmoids::Double, HeadKind::Contextual) {
            return Err(ConfigError::DoubleContextual);
        }
        Ok(Self {
            backbone: backbone.ok_or_else(missing("backbone", "--backbone DIR"))?,
            data,
            out: out.ok_or_else(missing("out", "--out DIR"))?,
            cache,
            head,
            recipe,
            seed,
            device,
            threads,
            training,
            log: LogConfig { format: log.format, filter: log.filter },
        })
    }
}

/// Fails at the first number that is outside its range.
fn check(training: &Training) -> Result<(), ConfigError> {
    let Training {
        epochs,
        steps,
        batch,
        shots,
        other_class,
        learning_rate,
        weight_decay,
        sigmoids: _,
        query_among_prompts: _,
        validation_share,
    } = training;
    let within = |setting, value: String, range, holds: bool| {
        if holds { Ok(()) } else { Err(ConfigError::OutOfRange { setting, value, range }) }
    };
    within("training.epochs", epochs.to_string(), "at least 1", *epochs >= 1)?;
    within("training.steps", steps.to_string(), "at least 1", *steps >= 1)?;
    let even = *batch >= 2 && batch % 2 == 0;
    within("training.batch", batch.to_string(), "even and at least 2, half normal and half anomalous", even)?;
    let usable = !shots.is_empty() && shots.iter().all(|shots| (1..=MOST_SHOTS).contains(shots));
    within("training.shots", format!("{shots:?}"), "a list of numbers between 1 and 16", usable)?;
    let share = (0.0..=1.0).contains(other_class);
    within("training.other_class", other_class.to_string(), "between 0 and 1", share)?;
    let positive = learning_rate.is_finite() && *learning_rate > 0.0;
    within("training.learning_rate", learning_rate.to_string(), "a number above 0", positive)?;
    let decay = weight_decay.is_finite() && *weight_decay >= 0.0;
    within("training.weight_decay", weight_decay.to_string(), "a number of at least 0", decay)?;
    let share = (0.0..1.0).contains(validation_share);
    within("validation.share", validation_share.to_string(), "at least 0 and below 1", share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Format;

    fn complete() -> Settings {
        Settings {
            backbone: Some("tower".into()),
            out: Some("heads".into()),
            data: vec![DatasetSpec::new(Format::Mvtec, "bolts")],
            ..Settings::default()
        }
    }

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = complete();
        change(&mut settings);
        TrainConfig::new(settings).unwrap_err().to_string()
    }

    #[test]
    fn what_has_no_default_is_asked_for_by_key_and_flag() {
        let said = refused(|settings| settings.backbone = None);
        assert!(said.contains("\"backbone\"") && said.contains("--backbone DIR"), "{said}");
        let said = refused(|settings| settings.out = None);
        assert!(said.contains("--out DIR"), "{said}");
        let said = refused(|settings| settings.data.clear());
        assert!(said.contains("\"data\""), "{said}");
    }

    #[test]
    fn numbers_outside_their_range_are_named_with_it() {
        let said = refused(|settings| settings.training.shots = Some(vec![2, 17]));
        assert_eq!(said, "training.shots is [2, 17], it must be a list of numbers between 1 and 16");
        let said = refused(|settings| settings.training.batch = Some(7));
        assert!(said.starts_with("training.batch is 7, it must be even"), "{said}");
        let said = refused(|settings| settings.training.learning_rate = Some(f64::NAN));
        assert!(said.starts_with("training.learning_rate is NaN"), "{said}");
        let said = refused(|settings| settings.validation.share = Some(1.0));
        assert_eq!(said, "validation.share is 1, it must be at least 0 and below 1");
    }

    #[test]
    fn the_official_recipe_is_the_published_one_and_for_the_papers_head() {
        let said = refused(|settings| settings.recipe = Recipe::Official);
        assert!(said.contains("head: paper"), "{said}");
        let official = Settings { recipe: Recipe::Official, head: HeadKind::Paper, ..complete() };
        let Training { epochs, steps, batch, learning_rate, sigmoids, query_among_prompts, .. } =
            TrainConfig::new(official).unwrap().training;
        assert_eq!((epochs, steps, batch), (10, 100, 16));
        assert_eq!((sigmoids, query_among_prompts), (Sigmoids::Double, true));
        assert!((learning_rate - 1e-3).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_set_wins_over_the_recipe() {
        let mut settings = complete();
        settings.training.epochs = Some(3);
        settings.training.shots = Some(vec![8, 2, 8]);
        let training = TrainConfig::new(settings).unwrap().training;
        assert_eq!((training.epochs, training.shots), (3, vec![2, 8]));
        assert!(!training.query_among_prompts);
    }
}
