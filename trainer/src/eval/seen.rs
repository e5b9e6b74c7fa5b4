//! The 2 x 2 table of a synthetic benchmark: families and defects that training has seen, and those it has not.
//!
//! The benchmark describes itself in a file at its root. A category is of one family, an anomalous image shows one kind
//! of defect; each cell takes all normal images of its categories and those anomalous ones that show its defects.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::benchmark::{Row, Task};
use super::error::EvalError;
use crate::data::Dataset;
use crate::synth::MANIFEST_FILE;

/// A cell of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    /// Whether training has seen images of the family.
    pub family: bool,
    /// Whether training has seen defects of the kind.
    pub defect: bool,
}

impl Seen {
    /// All cells, the one that counts (nothing seen) first.
    pub const ALL: [Self; 4] = [
        Self { family: false, defect: false },
        Self { family: false, defect: true },
        Self { family: true, defect: false },
        Self { family: true, defect: true },
    ];

    /// Whether training has seen neither.
    pub fn is_unseen(self) -> bool {
        !self.family && !self.defect
    }

    fn name(self) -> String {
        let word = |seen| if seen { "seen" } else { "unseen" };
        format!("{} families, {} defects", word(self.family), word(self.defect))
    }
}

/// What training has seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenLabels {
    /// By category: whether its family was seen.
    pub categories: BTreeMap<String, bool>,
    /// By kind of defect: whether it was seen.
    pub defects: BTreeMap<String, bool>,
}

/// Reads the description; none in other data sets.
pub(super) fn read(root: &Path) -> Result<Option<SeenLabels>, EvalError> {
    let path = root.join(MANIFEST_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let refused = |reason: String| EvalError::SynthManifest { path: path.clone(), reason };
    let text = std::fs::read(&path).map_err(|error| refused(error.to_string()))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| refused(error.to_string()))
}

/// A row a cell that has queries of both labels.
pub(super) fn rows(seen: &SeenLabels, dataset: &Dataset, tasks: &[Task]) -> Result<Vec<Row>, EvalError> {
    let unknown = |what: &str, name: &str| EvalError::SynthManifest {
        path: dataset.root.join(MANIFEST_FILE),
        reason: format!("{what} {name:?} is not in it"),
    };
    let mut rows = Vec::new();
    for cell in Seen::ALL {
        let mut members = Vec::new();
        for (position, task) in tasks.iter().enumerate() {
            let family = seen.categories.get(&task.name).ok_or_else(|| unknown("category", &task.name))?;
            if *family != cell.family {
                continue;
            }
            let mut queries = Vec::new();
            let mut anomalies = 0;
            for (query_position, query) in task.queries.iter().enumerate() {
                if !query.anomalous {
                    queries.push(query_position);
                    continue;
                }
                let defect = dataset.samples[query.image].defect.as_deref().unwrap_or_default();
                let defect_seen = seen.defects.get(defect).ok_or_else(|| unknown("defect", defect))?;
                if *defect_seen == cell.defect {
                    queries.push(query_position);
                    anomalies += 1;
                }
            }
            if 0 < anomalies && anomalies < queries.len() {
                members.push((position, queries));
            }
        }
        if !members.is_empty() {
            rows.push(Row { name: cell.name(), cell: Some(cell), members });
        }
    }
    Ok(rows)
}
