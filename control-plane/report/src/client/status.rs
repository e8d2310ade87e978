//! `headgate status`: fetches, merges and prints the status of all replicas.

use super::differences::DifferenceLog;
use super::options::{StatusOptions, render_options, unknown_model};
use super::{Failure, Outcome, fetch, watch};
use crate::output::{Format, print, print_error};
use crate::view::merge::merge;
use crate::view::text::text;
use crate::{Query, Report};

/// Prints the status, or follows it. The outcome is negative if the query selects no model.
///
/// # Errors
/// No control plane answers, or standard output cannot be written.
pub fn status(options: &StatusOptions) -> Result<Outcome, Failure> {
    if options.watch {
        return watch::watch(options);
    }
    let query = &options.query;
    let addresses = fetch::resolve(&options.hosts)?;
    let report = merge(fetch::fetch_all(&addresses, query, &options.credentials)).map_err(|why| {
        format!("no control plane answers: {why}. Check that `headgate serve` runs, and that --admin-address is its admin address")
    })?;
    DifferenceLog::default().observe(&report);
    if !query.is_everything() && report.models.is_empty() && report.head.synced {
        let everything = merge(fetch::fetch_all(
            &addresses,
            &Query::default(),
            &options.credentials,
        ))?;
        print_error(&format!("headgate: {}", unknown_model(query, &everything)));
        return Ok(Outcome::Negative);
    }
    let output = match options.format.document(&report)? {
        Some(document) => document,
        None if options.format == Format::Name => names(&report),
        None => text(&report, render_options(options)),
    };
    print(&output)?;
    Ok(Outcome::Success)
}

/// One `namespace/model` per line.
fn names(report: &Report) -> String {
    let models = report.models.iter();
    models.map(|model| format!("{}\n", model.id())).collect()
}
