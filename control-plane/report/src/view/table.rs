//! Columns that line up, the last of them in as many lines as it takes.

/// The last column is never narrower than this, however wide the others are.
const NARROWEST: usize = 28;

/// Rows of cells under their heads.
pub(crate) struct Table {
    indent: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads, so far from the left.
    pub(crate) fn new<const N: usize>(indent: usize, heads: [&str; N]) -> Self {
        Self {
            indent,
            rows: vec![heads.map(str::to_owned).to_vec()],
        }
    }

    /// A further row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// The lines, no wider than `width` where that is possible.
    pub(crate) fn render(&self, width: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let last = columns.saturating_sub(1);
        let before = self.indent + widths[..last].iter().map(|w| w + 2).sum::<usize>();
        let room = width.saturating_sub(before).max(NARROWEST);
        let mut out = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (cell, width) in row.iter().zip(&widths[..last]) {
                line.push_str(&format!("{cell:width$}  "));
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

/// A text in lines of at most `width` characters, broken at spaces; a longer word has a line of its own. Never empty.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let at = lines.len() - 1;
        let line = &mut lines[at];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
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
    fn columns_line_up_and_the_last_one_wraps_under_itself() {
        let mut table = Table::new(2, ["A", "LONGER", "WHY"]);
        table.row(["long cell", "b", "one two three four five six seven"].map(str::to_owned));
        let said = "  A          LONGER  WHY\n  long cell  b       one two three four five six\n                     seven\n";
        assert_eq!(table.render(50), said);
        assert!(
            table
                .render(50)
                .lines()
                .all(|line| line.chars().count() <= 50)
        );
    }
}
