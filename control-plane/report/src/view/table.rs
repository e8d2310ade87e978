//! Text tables: aligned columns; the last column is wrapped. Widths are terminal columns.

use unicode_width::UnicodeWidthStr as _;

/// Smallest width of the last column.
const MIN_LAST_COLUMN: usize = 28;

/// A table with a header row.
pub(crate) struct Table {
    indent: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headers and this indent.
    pub(crate) fn new<'a>(indent: usize, heads: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            indent,
            rows: vec![heads.into_iter().map(str::to_owned).collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    /// The table as text, at most `width` columns wide if possible.
    pub(crate) fn render(&self, width: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let last = columns.saturating_sub(1);
        let before = self.indent + widths[..last].iter().map(|w| w + 2).sum::<usize>();
        let room = width.saturating_sub(before).max(MIN_LAST_COLUMN);
        let mut out = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (cell, width) in row.iter().zip(&widths[..last]) {
                let padding = width.saturating_sub(cell.width()) + 2;
                line.push_str(cell);
                line.push_str(&" ".repeat(padding));
            }
            let wrapped = row.get(last).map(|cell| wrap(cell, room));
            for part in wrapped.unwrap_or_default() {
                line.push_str(&part);
                out.push_str(line.trim_end());
                out.push('\n');
                line = " ".repeat(before);
            }
        }
        out
    }
}

/// Wraps a text at spaces into lines of at most `width` columns. A longer word gets its own line. The result is never empty.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let at = lines.len() - 1;
        let line = &mut lines[at];
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_one_wraps() {
        let mut table = Table::new(2, ["A", "LONGER", "WHY"]);
        table.row(["long cell", "b", "one two three four five six seven"].map(str::to_owned));
        let expected = "  A          LONGER  WHY\n  long cell  b       one two three four five six\n                     seven\n";
        assert_eq!(table.render(50), expected);
        assert!(
            table
                .render(50)
                .lines()
                .all(|line| line.chars().count() <= 50)
        );
    }
}
