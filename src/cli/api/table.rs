//! Rows in columns that line up.

use std::fmt::Write;

use serde_json::Value;

use super::text::plain;

/// A column is no wider, but for the first, which has what can be asked for by itself, and the last.
const WIDTH_MAX: usize = 40;
const GAP: &str = "  ";

/// How the entries of a list are shown.
#[derive(Debug)]
pub(super) struct View {
    /// What the columns are called.
    pub(super) head: &'static [&'static str],
    /// The cells of one entry, one for each column.
    pub(super) row: fn(&Value) -> Vec<String>,
}

/// A table that is written a part at a time: the columns stay as wide as they were.
#[derive(Debug, Default)]
pub(super) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// The next part, which begins with the head if it is the first.
    pub(super) fn part(&mut self, view: &View, entries: &[Value]) -> String {
        let head = self.widths.is_empty().then(|| view.head.iter().map(|name| name.to_uppercase()).collect());
        let rows: Vec<Vec<String>> = head.into_iter().chain(entries.iter().map(view.row)).map(cells).collect();
        self.widths.resize(view.head.len(), 0);
        for row in &rows {
            let lens = row.iter().map(|cell| cell.chars().count());
            self.widths.iter_mut().zip(lens).for_each(|(width, len)| *width = len.max(*width));
        }
        rows.iter().fold(String::new(), |out, row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&self.widths) {
                let _ = write!(line, "{cell:<width$}{GAP}");
            }
            out + line.trim_end() + "\n"
        })
    }
}

/// Cells that fit, and that a terminal does not obey.
fn cells(row: Vec<String>) -> Vec<String> {
    let last = row.len().saturating_sub(1);
    let fit = |(place, cell): (usize, String)| match plain(&cell) {
        cell if place == 0 || place == last || cell.chars().count() <= WIDTH_MAX => cell,
        cell => cell.chars().take(WIDTH_MAX - 1).chain(['…']).collect(),
    };
    row.into_iter().enumerate().map(fit).collect()
}

/// A field as the cell of a table: nothing where it is absent.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.into(),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VIEW: View = View { head: &["id", "subject"], row: |one| vec![cell(&one["id"]), cell(&one["subject"])] };

    #[test]
    fn columns_line_up_and_stay_as_wide_as_they_were() {
        let mut table = Table::default();
        let first = table.part(&VIEW, &[json!({"id": "a", "subject": "x"}), json!({"id": "größer", "subject": "y"})]);
        assert_eq!(first, "ID      SUBJECT\na       x\ngrößer  y\n");
        assert_eq!(table.part(&VIEW, &[json!({"id": "b", "subject": "z"})]), "b       z\n");
        assert_eq!(table.part(&VIEW, &[json!({"id": "c"})]), "c\n");
    }

    #[test]
    fn a_cell_is_cut_and_holds_nothing_that_a_terminal_obeys() {
        let mut table = Table::default();
        let long = "x".repeat(60);
        let view =
            View { head: &["id", "from", "subject"], row: |one| vec![cell(one), cell(one), "a\u{1b}]0;b\nc".into()] };
        let told = table.part(&view, &[json!(long)]);
        let cut = format!("{long}  {}…  a\\u{{1b}}]0;b\\u{{a}}c\n", "x".repeat(39));
        assert!(told.ends_with(&cut), "{told}");
    }
}
