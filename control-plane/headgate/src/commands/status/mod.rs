//! `headgate status`: both ends of the story, labels seen → weights planned → acked by each proxy.
//!
//! ```text
//! ask (every replica, also those that the ones named know of) ──▶ merge (one document) ──▶ text, or ──▶ changes ──▶ lines (--watch)
//! ```

mod ask;
mod follow;
mod watch;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use headgate_report::view::text::{Page, text};
use headgate_report::view::{merge, near};
use headgate_report::{Asked, Report, seconds};

use crate::cli::{Output, StatusArgs};
use crate::settings::Failure;

/// Columns where there is no terminal.
const USUAL_WIDTH: usize = 100;
/// The narrowest and the widest page: tables need room, and eyes an end of the line.
const WIDTHS: std::ops::RangeInclusive<usize> = 80..=140;

/// Prints the status, or follows it; exits 1 if the model asked for is not known.
///
/// # Errors
/// When no control plane answers.
pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let asked = Asked {
        model: args.model.clone(),
        namespace: args.namespace.clone(),
    };
    if args.watch {
        return watch::run(args, asked);
    }
    let addresses = ask::addresses(&args.admin_address)?;
    let report = merge::merge(ask::everyone(&addresses, &asked))
        .map_err(|why| format!("no control plane answers: {why}. Is `headgate serve` running, with this --admin-address?"))?;
    if !asked.is_everything() && report.models.is_empty() && report.head.synced {
        let everything = merge::merge(ask::everyone(&addresses, &Asked::default()))?;
        eprintln!("headgate: {}", unknown(&asked, &everything));
        return Ok(ExitCode::from(1));
    }
    let said = match args.output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
        Output::Text => text(&report, page(&asked)),
    };
    // Who reads no further, as `head` does, has what it wants.
    let _ = std::io::stdout().write_all(said.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn page(asked: &Asked) -> Page {
    Page {
        now: seconds(SystemTime::now()),
        width: width(),
        detailed: asked.model.is_some(),
    }
}

/// The terminal's width, within reason.
fn width() -> usize {
    let stdout = std::io::stdout();
    let columns = stdout
        .is_terminal()
        .then(|| rustix::termios::tcgetwinsize(&stdout).ok())
        .flatten()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0);
    columns
        .unwrap_or(USUAL_WIDTH)
        .clamp(*WIDTHS.start(), *WIDTHS.end())
}

/// That a model is not known, and which ones may have been meant.
fn unknown(asked: &Asked, everything: &Report) -> String {
    let names = everything.models.iter().flat_map(|model| {
        let names = model.names.iter().cloned();
        names.chain([model.id()]).collect::<Vec<_>>()
    });
    let names: Vec<String> = names.collect();
    let at = match &asked.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    let Some(model) = &asked.model else {
        return format!("no model is declared{at}; `headgate status` lists those that are");
    };
    match near::near(model, names.iter().map(String::as_str)).as_slice() {
        [] => format!("no model {model:?} is declared{at}; `headgate status` lists those that are"),
        near => format!(
            "no model {model:?} is declared{at}: did you mean {}?",
            near.join(" or ")
        ),
    }
}
