//! The terminal: its size, and frames on its alternate screen.
//!
//! Invariant: whatever ends the process except SIGKILL, the main screen and the cursor come back.

use std::io::{self, IsTerminal as _, Write};

/// Columns if standard output is not a terminal.
const DEFAULT_WIDTH: usize = 100;
/// Narrowest and widest text: tables need space, and long lines are hard to read.
const WIDTHS: std::ops::RangeInclusive<usize> = 80..=140;
/// Rows if the terminal does not report any.
const DEFAULT_HEIGHT: usize = 24;

fn window() -> Option<rustix::termios::Winsize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&stdout).ok()
}

/// Width of the text, in columns.
pub(super) fn width() -> usize {
    let columns = window().map(|size| usize::from(size.ws_col));
    columns
        .filter(|columns| *columns > 0)
        .unwrap_or(DEFAULT_WIDTH)
        .clamp(*WIDTHS.start(), *WIDTHS.end())
}

/// Height of the window, in rows.
fn height() -> usize {
    let rows = window().map(|size| usize::from(size.ws_row));
    rows.filter(|rows| *rows > 0).unwrap_or(DEFAULT_HEIGHT)
}

/// The alternate screen of the terminal, until it is dropped.
pub(super) struct AlternateScreen;

impl AlternateScreen {
    /// Switches to the alternate screen, hides the cursor, and turns line wrapping off so that a line takes one row.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn enter() -> io::Result<Self> {
        let mut out = io::stdout().lock();
        out.write_all(b"\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        out.flush()?;
        Ok(Self)
    }

    /// Draws a frame over the last one.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn draw(&self, body: &str, latest: &[String]) -> io::Result<()> {
        let mut frame = String::from("\x1b[H");
        for line in fit(body, latest, height()) {
            frame.push_str(&line);
            frame.push_str("\x1b[K\r\n");
        }
        // The cursor is in the last row: a newline there would scroll.
        let frame = frame.strip_suffix("\r\n").unwrap_or(&frame);
        let mut out = io::stdout().lock();
        write!(out, "{frame}\x1b[J")?;
        out.flush()
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(b"\x1b[?7h\x1b[?25h\x1b[?1049l");
        let _ = out.flush();
    }
}

/// The lines of a frame: the body, and below it the latest changes. Lines that exceed the height are left out, and counted.
fn fit(body: &str, latest: &[String], height: usize) -> Vec<String> {
    let mut lines: Vec<String> = body.lines().map(str::to_owned).collect();
    // The changes get at most a third of the window, plus a blank line and their header.
    let shown = latest.len().min((height / 3).saturating_sub(2));
    let mut below = Vec::new();
    if shown > 0 {
        below.extend([String::new(), "LATEST (ctrl-c ends)".to_owned()]);
        below.extend(latest[latest.len() - shown..].iter().cloned());
    }
    let space = height.saturating_sub(below.len()).max(1);
    if lines.len() > space {
        let hidden = lines.len() - (space - 1);
        lines.truncate(space - 1);
        lines.push(format!(
            "… {hidden} more lines: enlarge the window, or name a model"
        ));
    }
    lines.extend(below);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_window_and_counts_the_lines_it_omits() {
        let body: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let latest: Vec<String> = (0..10).map(|n| format!("change {n}")).collect();
        for height in [1, 2, 10, 24, 52, 100] {
            let lines = fit(&body, &latest, height);
            assert!(lines.len() <= height, "{height}: {lines:?}");
            let hides = lines.iter().any(|line| line.contains("more lines"));
            assert_eq!(hides, height < 52, "{height}: {lines:?}");
        }
        let lines = fit(&body, &latest, 24);
        assert_eq!(
            lines[15],
            "… 26 more lines: enlarge the window, or name a model"
                .replace("26", &(40 - 15).to_string())
        );
        assert_eq!(lines.last().map(String::as_str), Some("change 9"));
        assert_eq!(fit("one\n", &[], 24), ["one"]);
    }
}
