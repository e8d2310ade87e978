//! Options of a rendering, and the text helpers that all views share.

use super::clock::age;
use crate::Report;

/// Inputs of a rendering besides the document.
#[derive(Debug, Clone, Copy)]
pub struct RenderOptions {
    /// The current time, in Unix seconds.
    pub now: f64,
    /// Width of the output, in terminal columns.
    pub width: usize,
    /// Whether each model is shown in full: labels, planned weights and the state of each proxy.
    pub detailed: bool,
    /// Whether tables have their additional columns.
    pub wide: bool,
}

impl RenderOptions {
    /// The age of a moment in Unix seconds; `-` if the moment is unknown.
    pub fn age(&self, at: Option<f64>) -> String {
        at.map_or_else(|| "-".to_owned(), |at| age(self.now - at))
    }

    /// The age of an observation. A `>` marks an observation that the control plane made in its first read: the state may be older.
    pub fn observed_age(&self, at: Option<f64>, report: &Report) -> String {
        let in_first_read = at.is_some() && at <= report.head.synced_at;
        format!("{}{}", if in_first_read { ">" } else { "" }, self.age(at))
    }
}

/// A percentage with at most two decimals.
pub fn number(percent: f64) -> String {
    let text = format!("{percent:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The first `limit` items of a list, and the number of further ones.
pub fn first_items(all: &[String], limit: usize) -> String {
    let (first, more) = (all.len().min(limit), all.len().saturating_sub(limit));
    match (first, more) {
        (0, _) => "-".to_owned(),
        (_, 0) => all.join(", "),
        (first, more) => format!("{} and {more} more", all[..first].join(", ")),
    }
}

/// The first twelve characters of a version; `-` if it is empty.
pub fn short(version: &str) -> &str {
    match version {
        "" => "-",
        long => long.get(..12).unwrap_or(long),
    }
}
