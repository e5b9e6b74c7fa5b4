//! The figures of a run as one table, each with its target.

use std::fmt::Write as _;

/// Rows in the order in which they came.
pub(crate) struct Table {
    columns: Vec<usize>,
    rows: Vec<Row>,
}

struct Row {
    what: &'static str,
    target: Target,
    unit: &'static str,
    /// By column.
    figures: Vec<Option<f64>>,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// Anything: it explains the others.
    None,
    /// Less than this.
    Below(f64),
    /// This or less.
    AtMost(f64),
}

impl Target {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::None => true,
            Self::Below(bound) => figure < bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::None => String::new(),
            Self::Below(bound) => format!("< {bound} {unit}"),
            Self::AtMost(bound) => format!("≤ {bound} {unit}"),
        }
    }
}

impl Table {
    /// A table with a column for each number of models.
    pub(crate) fn of(models: &[usize]) -> Self {
        Self { columns: models.to_vec(), rows: Vec::new() }
    }

    /// Number of models of the last column.
    pub(crate) fn last(&self) -> usize {
        self.columns.last().copied().unwrap_or_default()
    }

    /// Puts a figure in.
    pub(crate) fn put(
        &mut self,
        models: usize,
        what: &'static str,
        figure: f64,
        unit: &'static str,
        target: Target,
    ) {
        let column = self.columns.iter().position(|column| *column == models).unwrap();
        super::wait::say(&format!("{models}: {what}: {} {unit}", number(figure)));
        let place = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            self.rows.push(Row { what, target, unit, figures: vec![None; self.columns.len()] });
            self.rows.len() - 1
        });
        self.rows[place].figures[column] = Some(figure);
    }

    /// Prints it as Markdown.
    #[expect(clippy::print_stdout, reason = "the table is what a benchmark is run for")]
    pub(crate) fn print(&self) {
        println!("{}", self.text());
    }

    fn text(&self) -> String {
        let mut text = String::from("\n| what |");
        for column in &self.columns {
            let _ = write!(text, " {column} models |");
        }
        text += " target |\n|---|";
        text += &"---:|".repeat(self.columns.len());
        text += "---|\n";
        for Row { what, target, unit, figures } in &self.rows {
            let _ = write!(text, "| {what} |");
            for figure in figures {
                let cell = figure.map_or(String::new(), |figure| format!("{} {unit}", number(figure)));
                let _ = write!(text, " {} |", cell.trim());
            }
            let missed = figures.iter().flatten().any(|figure| !target.is_met(*figure));
            let _ = writeln!(text, " {}{} |", target.text(unit).trim(), if missed { " MISSED" } else { "" });
        }
        text
    }
}

/// Three digits that count.
fn number(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 || figure.fract() == 0.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
