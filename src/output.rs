//! How commands print what they found: columns for people, JSON or YAML for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// The form of what is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: one array.
    Json,
    /// For programs that like it better: one sequence.
    Yaml,
}

/// Where the form is chosen.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Choice {
    /// How the result is printed
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

impl Choice {
    /// Prints items: as `table` writes them, or each with its fields.
    pub fn print<T: Serialize>(self, items: &[T], table: impl FnOnce(&[T]) -> String) -> anyhow::Result<()> {
        let text = match self.output {
            Output::Table => table(items),
            Output::Json => serde_json::to_string_pretty(items)? + "\n",
            Output::Yaml => serde_saphyr::to_string(&items)?,
        };
        match io::stdout().write_all(text.as_bytes()) {
            // Who reads along, as `head` does, may have enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

/// Rows under their heads, each column as wide as its widest entry.
pub fn columns<const N: usize>(heads: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = [heads.map(str::to_owned)].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}")).collect::<Vec<_>>();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_lines_end_where_their_text_does() {
        let rows = [["a.example".to_owned(), "/".to_owned()], ["b".to_owned(), String::new()]];
        assert_eq!(columns(["HOST", "PATH"], rows), "HOST       PATH\na.example  /\nb\n");
    }
}
