//! What can be typed after `inctrl-trainer eval`.

use std::path::PathBuf;

use clap::ValueEnum as _;
use inctrl_model::device::DeviceChoice;

use super::methods::Baseline;
use crate::data::{DatasetSpec, Format};

/// Evaluates heads beside baselines on data sets that they were not trained on.
///
/// Writes evaluation.json and report.html to `--out` and a table to standard output. Flags win over the file.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Configuration (YAML); every flag below is a key of it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the backbone.
    #[arg(long, value_name = "FOLDER")]
    pub backbone: Option<PathBuf>,
    /// A head and its name in the report; files of one name are seeds of one recipe, and are averaged.
    #[arg(long, value_name = "NAME=FILE", value_parser = named_head)]
    pub head: Vec<(String, PathBuf)>,
    /// A data set: mvtec, visa, list, folders or classes, and its root. Options of a data set go into the file.
    #[arg(long, value_name = "FORMAT:PATH", value_parser = data_set)]
    pub data: Vec<DatasetSpec>,
    /// Sizes of prompt sets [default: 1,2,4,8]
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    pub shots: Vec<usize>,
    /// The size that tables, curves and maps are of [default: 4 where it is among the shots, else the largest]
    #[arg(long, value_name = "K")]
    pub headline_shots: Option<usize>,
    /// Prompt sets drawn for each category [default: 5]
    #[arg(long)]
    pub draws: Option<usize>,
    /// Seed of all draws [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Most normal and most anomalous queries of a category, drawn by the seed; 0 takes all [default: 0]
    #[arg(long)]
    pub queries: Option<usize>,
    /// What heads are compared with [default: all]
    #[arg(long, value_delimiter = ',')]
    pub baseline: Vec<Baseline>,
    /// Side in pixels at which maps are compared with masks; 0 takes the backbone's input size [default: 0]
    #[arg(long, value_name = "PIXELS")]
    pub map_side: Option<usize>,
    /// Where the backbone computes: auto, cpu or cuda:N [default: auto]
    #[arg(long)]
    pub device: Option<DeviceChoice>,
    /// Folder of the feature cache [default: inctrl-features]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Where to write evaluation.json and report.html [default: evaluation]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Log directives, such as `info,inctrl_trainer=debug`.
    #[arg(long, env = "INCTRL_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

fn named_head(typed: &str) -> Result<(String, PathBuf), String> {
    match typed.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("write NAME=FILE, such as contextual=run/head.safetensors".to_owned()),
    }
}

fn data_set(typed: &str) -> Result<DatasetSpec, String> {
    let (format, path) = typed
        .split_once(':')
        .filter(|(_, path)| !path.is_empty())
        .ok_or("write FORMAT:PATH, such as mvtec:data/mvtec")?;
    let format = Format::from_str(format, false)
        .map_err(|_| format!("unknown format {format:?}; take mvtec, visa, list, folders or classes"))?;
    Ok(DatasetSpec::new(format, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_data_sets_are_taken_apart() {
        assert_eq!(
            named_head("paper=a/b=c.safetensors"),
            Ok(("paper".to_owned(), PathBuf::from("a/b=c.safetensors")))
        );
        assert!(named_head("head.safetensors").unwrap_err().contains("NAME=FILE"));
        assert_eq!(data_set("classes:data:1"), Ok(DatasetSpec::new(Format::Classes, "data:1")));
        assert!(data_set("coco:data").unwrap_err().contains("unknown format \"coco\""));
        assert!(data_set("data").unwrap_err().contains("FORMAT:PATH"));
    }
}
