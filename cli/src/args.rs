//! The command line: what was typed. [`crate::run`] turns it into what is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod connection;
mod score;

pub use connection::ConnectionArgs;
pub use score::{PromptSource, ScoreArgs};

/// Shown below every `--help` that a script's author would read.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the server refused the request, or some images could not be scored
  2    wrong usage: nothing was sent
  3    the server could not be reached within --retry-for
  4    all images were scored, one or more decided anomalous, and --fail-on-anomaly was given
  130  interrupted";

/// Find anomalies in images, given a few normal ones: the client of the InCTRL scoring server.
#[derive(Debug, Parser)]
#[command(name = "inctrl", version, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// Only errors on standard error: no progress, no notes.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Score images against a prompt set.
    #[command(after_help = EXIT_CODES)]
    Score(Box<ScoreArgs>),
    /// Create, list, show and delete prompt sets: named sets of normal images.
    #[command(subcommand)]
    Prompts(PromptsCommand),
    /// Show what the server is: version, backbone, models, limits.
    Info(InfoArgs),
}

/// What to do with prompt sets.
#[derive(Debug, Subcommand)]
pub enum PromptsCommand {
    /// Store normal images under a name; the same name with the same images is no error.
    Create(CreateArgs),
    /// List prompt sets by name.
    List(ListArgs),
    /// Show one prompt set.
    Get(GetArgs),
    /// Delete one prompt set.
    Delete(DeleteArgs),
}

/// Arguments of `prompts create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name: 1 to 63 of a-z, 0-9 and '-', beginning with a letter.
    pub name: String,
    /// What the images show, in a word or two, such as "candle"; it fills the text prompts.
    #[arg(long, value_name = "CLASS")]
    pub class: String,
    /// Normal images (info tells how many a server takes): files, folders or quoted globs.
    #[arg(required = true, value_name = "IMAGES")]
    pub images: Vec<PathBuf>,
    /// How to print the stored prompt set.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `prompts list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How to print them.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `prompts get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Name of the prompt set.
    pub name: String,
    /// How to print it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `prompts delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Name of the prompt set.
    pub name: String,
    /// Delete only if this is still its etag.
    #[arg(long, value_name = "ETAG", default_value = "")]
    pub etag: String,
}

/// Arguments of `info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = InfoFormat::Table)]
    pub format: InfoFormat,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// How to print data on standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
}

/// How the server's description is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InfoFormat {
    /// Lines for people.
    Table,
    /// One JSON object.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn prompts_come_by_name_or_inline_but_not_both() {
        let score = |typed: &[&str]| {
            CommandLine::try_parse_from(["inctrl", "score", "a.png"].iter().chain(typed)).map(|_| ())
        };
        assert!(score(&["--prompts", "candle"]).is_ok());
        assert!(score(&["--normals", "n0.png", "n1.png", "--class", "candle"]).is_ok());
        assert!(score(&[]).is_err(), "no prompts must be refused");
        assert!(score(&["--normals", "n0.png"]).is_err(), "inline prompts need a class");
        assert!(score(&["--prompts", "p", "--class", "candle"]).is_err(), "a stored set has its class");
        assert!(score(&["--prompts", "p", "--normals", "n.png", "--class", "c"]).is_err());
    }

    #[test]
    fn thresholds_outside_the_scale_are_refused() {
        let with = |threshold: &str| {
            let typed = ["inctrl", "score", "a.png", "--prompts", "p", "--threshold", threshold];
            CommandLine::try_parse_from(typed).map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(with("0.5").is_ok());
        assert!(with("1.5").unwrap_err().contains("0 to 1"));
        assert!(with("NaN").unwrap_err().contains("0 to 1"));
    }
}
