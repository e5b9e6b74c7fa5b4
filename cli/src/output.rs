//! Data on standard output: rows as table, JSON lines or CSV, each written whole as soon as it is known.

use std::io::Write;

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::args::Format;

/// Standard output cannot take more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Its reader has gone, as `| head` does: there is nobody to write for, and nothing went wrong.
    #[error("standard output was closed by its reader")]
    Closed,
    /// It failed.
    #[error("standard output cannot be written")]
    Write(#[source] std::io::Error),
    /// A row does not fit the format.
    #[error("a row cannot be put into {format}: {reason}")]
    Encode {
        /// The format.
        format: &'static str,
        /// Why.
        reason: String,
    },
}

impl From<std::io::Error> for OutputError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Write(error),
        }
    }
}

/// What a row of a kind of data looks like to people; to programs it looks as its serialisation.
pub(crate) trait Row: Serialize {
    /// Headings of the table's columns.
    const COLUMNS: &'static [Column];

    /// One text a column.
    fn cells(&self) -> Vec<String>;
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    heading: &'static str,
    /// Least width in characters; what is longer sticks out.
    width: usize,
    is_number: bool,
}

impl Column {
    pub(crate) const fn text(heading: &'static str, width: usize) -> Self {
        Self { heading, width, is_number: false }
    }

    pub(crate) const fn number(heading: &'static str, width: usize) -> Self {
        Self { heading, width, is_number: true }
    }
}

/// Rows of one kind on their way to a writer.
pub(crate) struct Output<W> {
    writer: W,
    format: Format,
    /// Width of the first column, which alone varies a lot.
    first_width: usize,
    is_begun: bool,
}

impl<W: Write> Output<W> {
    /// Rows whose first cells are at most `first_width` wide.
    pub(crate) fn new(writer: W, format: Format, first_width: usize) -> Self {
        Self { writer, format, first_width, is_begun: false }
    }

    /// Writes one row, after the heading if it is the first.
    pub(crate) fn row<R: Row>(&mut self, row: &R) -> Result<(), OutputError> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let bytes = match self.format {
            Format::Table => self.table(row, is_first).into_bytes(),
            Format::Json => {
                let mut line = serde_json::to_vec(row).map_err(|error| encode("JSON", &error))?;
                line.push(b'\n');
                line
            }
            Format::Csv => csv_bytes(row, is_first)?,
        };
        self.writer.write_all(&bytes)?;
        Ok(self.writer.flush()?)
    }

    fn table<R: Row>(&self, row: &R, is_first: bool) -> String {
        let heading = || R::COLUMNS.iter().map(|column| column.heading.to_uppercase()).collect::<Vec<_>>();
        let lines = is_first.then(heading).into_iter().chain([row.cells()]);
        lines.map(|cells| self.line(R::COLUMNS, &cells)).collect()
    }

    fn line(&self, columns: &[Column], cells: &[String]) -> String {
        let mut line = String::new();
        for (place, (column, cell)) in columns.iter().zip(cells).enumerate() {
            let width = if place == 0 { column.width.max(self.first_width) } else { column.width };
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) =
                if column.is_number { (padding.as_str(), "") } else { ("", padding.as_str()) };
            for part in [if place == 0 { "" } else { "  " }, before, cell, after] {
                line.push_str(part);
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// A record of RFC 4180, after the header if it is the first.
fn csv_bytes<R: Row>(row: &R, is_first: bool) -> Result<Vec<u8>, OutputError> {
    let mut writer = csv::WriterBuilder::new().has_headers(is_first).from_writer(Vec::new());
    writer.serialize(row).map_err(|error| encode("CSV", &error))?;
    writer.into_inner().map_err(|error| encode("CSV", error.error()))
}

fn encode(format: &'static str, error: &dyn std::error::Error) -> OutputError {
    OutputError::Encode { format, reason: error.to_string() }
}

/// Width of a text in columns of a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The first twelve digits of a digest: enough to tell revisions apart by eye.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Fruit {
        name: &'static str,
        weight: Option<f32>,
    }

    impl Row for Fruit {
        const COLUMNS: &'static [Column] = &[Column::text("name", 0), Column::number("weight", 6)];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.weight.map_or_else(|| "-".to_owned(), |it| it.to_string())]
        }
    }

    fn printed(format: Format, fruits: &[(&'static str, Option<f32>)]) -> String {
        let mut written = Vec::new();
        let mut output = Output::new(&mut written, format, 5);
        for &(name, weight) in fruits {
            output.row(&Fruit { name, weight }).unwrap();
        }
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn tables_align_text_left_and_numbers_right() {
        let table = printed(Format::Table, &[("fig", Some(0.25)), ("梨", None)]);
        assert_eq!(table, "NAME   WEIGHT\nfig      0.25\n梨          -\n");
    }

    #[test]
    fn json_has_one_object_a_line_and_floats_as_short_as_they_are() {
        let lines = printed(Format::Json, &[("fig", Some(0.1)), ("nut", None)]);
        assert_eq!(lines, "{\"name\":\"fig\",\"weight\":0.1}\n{\"name\":\"nut\",\"weight\":null}\n");
    }

    #[test]
    fn csv_quotes_what_would_break_it() {
        let csv = printed(Format::Csv, &[("a,b", Some(1.5)), ("say \"hi\"", None), ("two\nlines", None)]);
        assert_eq!(csv, "name,weight\n\"a,b\",1.5\n\"say \"\"hi\"\"\",\n\"two\nlines\",\n");
    }

    #[test]
    fn a_reader_that_has_gone_is_told_from_a_full_disk() {
        struct Broken(std::io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let failed = |kind| {
            let fig = Fruit { name: "fig", weight: None };
            Output::new(Broken(kind), Format::Csv, 0).row(&fig).unwrap_err()
        };
        assert!(matches!(failed(std::io::ErrorKind::BrokenPipe), OutputError::Closed));
        assert!(matches!(failed(std::io::ErrorKind::StorageFull), OutputError::Write(_)));
    }

    #[test]
    fn digests_are_shortened_only_when_they_are_long() {
        assert_eq!(short("sha256:0123456789abcdef"), "sha256:0123456789ab");
        assert_eq!(short("sha256:01"), "sha256:01");
    }
}
