//! `headgate status --watch`: answers ──▶ one document ──▶ changes ──▶ log lines, documents, or a screen.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, SystemTime};

use super::connections::{Connections, Step};
use super::differences::DifferenceLog;
use super::fetch::Answers;
use super::options::{StatusOptions, render_options, unknown_model};
use super::screen::AlternateScreen;
use super::{Failure, Outcome, fetch};
use crate::output::{Format, is_dumb, print_error, unwritable};
use crate::view::changes::{LogLine, changes};
use crate::view::clock::moment;
use crate::view::merge::merge;
use crate::view::text::text;
use crate::{Query, ReplicaReport, Report, seconds};

/// Interval at which a screen is redrawn, because its ages grow.
const REDRAW: Duration = Duration::from_secs(1);
/// Number of changes below a screen.
const LATEST: usize = 10;

/// Follows the status until a signal, or until the reader closes the pipe.
///
/// # Errors
/// No name has an address at the start, or standard output cannot be written.
pub(super) fn watch(options: &StatusOptions) -> Result<Outcome, Failure> {
    let form = match options.format {
        Format::Name => return Err("-o name prints once: leave out --watch".into()),
        Format::Json | Format::Yaml => Form::Documents,
        Format::Text | Format::Wide if io::stdout().is_terminal() && !is_dumb() => Form::Screen,
        Format::Text | Format::Wide => Form::Lines,
    };
    let connections =
        Connections::open(&options.hosts, &options.credentials, options.query.clone())?;
    let screen = match form {
        Form::Screen => Some(AlternateScreen::enter()?),
        Form::Lines | Form::Documents => None,
    };
    let watch = Watch {
        options: options.clone(),
        form,
        screen,
        connections,
        shown: None,
        latest: VecDeque::new(),
        reported_unknown: false,
        differences: DifferenceLog::default(),
    };
    match watch.run() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(&error).into()),
        _ => Ok(Outcome::Success),
    }
}

/// Form of the output.
#[derive(PartialEq)]
enum Form {
    /// One line for each change.
    Lines,
    /// One document for each change.
    Documents,
    /// The whole text, redrawn.
    Screen,
}

struct Watch {
    options: StatusOptions,
    form: Form,
    screen: Option<AlternateScreen>,
    connections: Connections,
    /// The last document that was shown.
    shown: Option<Report>,
    latest: VecDeque<LogLine>,
    /// Whether the message on an unknown model was printed.
    reported_unknown: bool,
    differences: DifferenceLog,
}

impl Watch {
    fn run(mut self) -> io::Result<()> {
        loop {
            match self.connections.next(REDRAW) {
                Step::Interrupted => return Ok(()),
                Step::Changed => self.update()?,
                Step::TimedOut | Step::Resized => self.draw()?,
            }
        }
    }

    /// Shows the current document, once every named control plane has answered or failed.
    fn update(&mut self) -> io::Result<()> {
        let Some(answers) = self.connections.answers() else {
            return Ok(());
        };
        let now = seconds(SystemTime::now());
        let report = self.merged(answers);
        // Lines would break the screen, which shows the problems itself.
        if self.screen.is_none() {
            self.differences.observe(&report);
        }
        let lines = changes(self.shown.as_ref(), &report, now);
        let is_first = self.shown.is_none();
        let several = report.models.len() > 1;
        self.shown = Some(report);
        if is_first || !lines.is_empty() {
            self.latest.extend(lines.iter().cloned());
            let excess = self.latest.len().saturating_sub(LATEST);
            self.latest.drain(..excess);
            self.show(&lines, several)?;
        }
        self.report_unknown();
        Ok(())
    }

    /// The merged document. If no control plane answers, the last document with their errors.
    fn merged(&self, answers: Answers) -> Report {
        let failed: Vec<_> = answers
            .iter()
            .filter_map(|(address, answer)| {
                let error = answer.as_ref().err()?.clone();
                let before = self.shown.iter().flat_map(|shown| &shown.replicas);
                let head = before
                    .filter(|r| r.address == *address)
                    .find_map(|r| r.head.clone());
                Some(ReplicaReport {
                    address: address.clone(),
                    error: Some(error),
                    head,
                })
            })
            .collect();
        merge(answers).unwrap_or_else(|_| Report {
            replicas: failed,
            ..self.shown.clone().unwrap_or_default()
        })
    }

    fn show(&self, lines: &[LogLine], several: bool) -> io::Result<()> {
        if self.form == Form::Screen {
            return self.draw();
        }
        let mut out = io::stdout().lock();
        if self.form == Form::Lines {
            for line in lines {
                writeln!(out, "{}", formatted(line, several))?;
            }
        } else if let Some(report) = &self.shown {
            if self.options.format == Format::Yaml {
                let yaml = Format::Yaml.document(report).map_err(io::Error::other)?;
                write!(out, "---\n{}", yaml.unwrap_or_default())?;
            } else {
                serde_json::to_writer(&mut out, report)?;
                writeln!(out)?;
            }
        }
        out.flush()
    }

    fn draw(&self) -> io::Result<()> {
        let (Some(report), Some(screen)) = (&self.shown, &self.screen) else {
            return Ok(());
        };
        let render = render_options(&self.options);
        let several = report.models.len() > 1;
        let latest: Vec<String> = self.latest.iter().map(|l| formatted(l, several)).collect();
        let body = format!("{}\n{}", moment(render.now), text(report, render));
        screen.draw(&body, &latest)
    }

    /// Prints once that the model is unknown, and keeps waiting: the model may be declared later.
    fn report_unknown(&mut self) {
        let known = |shown: &Report| !shown.models.is_empty() || !shown.head.synced;
        let query = &self.options.query;
        if query.is_everything()
            || self.reported_unknown
            || self.screen.is_some()
            || self.shown.as_ref().is_none_or(known)
        {
            return;
        }
        self.reported_unknown = true;
        let addresses = self.connections.addresses();
        let credentials = &self.options.credentials;
        let everything = fetch::fetch_all(&addresses, &Query::default(), credentials);
        if let Ok(everything) = merge(everything) {
            let message = unknown_model(query, &everything);
            print_error(&format!("headgate: {message}. Waiting for it"));
        }
    }
}

fn formatted(line: &LogLine, several: bool) -> String {
    let model = line.model.as_deref().filter(|_| several);
    let model = model.map_or_else(String::new, |model| format!("{model}  "));
    format!("{}  {model}{:8} {}", moment(line.at), line.kind, line.text)
}
