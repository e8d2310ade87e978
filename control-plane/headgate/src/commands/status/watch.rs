//! `headgate status --watch`: what is heard ──▶ one document ──▶ what changed ──▶ lines, or a screen drawn anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, SystemTime};

use super::follow::{self, Follower, Heard};
use super::{ask, page, unknown};
use crate::cli::{Output, StatusArgs};
use crate::settings::Failure;
use headgate_report::view::changes::{Line, changes};
use headgate_report::view::clock::moment;
use headgate_report::view::merge::merge;
use headgate_report::view::peers::{its_own, unasked};
use headgate_report::view::text::text;
use headgate_report::{Asked, Report, seconds};

/// How often a screen is drawn anew for its ages.
const TICK: Duration = Duration::from_secs(1);
/// What happened last, below a screen.
const LATEST: usize = 10;

/// Follows until a signal, or until nobody reads.
///
/// # Errors
/// Names without an address, at the start.
pub(super) fn run(args: &StatusArgs, asked: Asked) -> Result<ExitCode, Failure> {
    let addresses = ask::addresses(&args.admin_address)?;
    let (tell, heard) = mpsc::channel();
    follow::signals(tell.clone())?;
    follow::look_up(args.admin_address.clone(), tell.clone());
    let mut watch = Watch {
        form: match args.output {
            Output::Json => Form::Json,
            Output::Text if io::stdout().is_terminal() => Form::Screen,
            Output::Text => Form::Lines,
        },
        asked,
        tell,
        seats: BTreeMap::new(),
        shown: None,
        latest: VecDeque::new(),
        missed: false,
    };
    addresses
        .into_iter()
        .for_each(|address| watch.seat(address));
    loop {
        let went_on = match heard.recv_timeout(TICK) {
            Ok(Heard::Enough) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Heard::Told(address, answer)) => watch.told(address, *answer),
            Ok(Heard::Places(addresses)) => {
                watch
                    .seats
                    .retain(|address, seat| seat.peer.is_some() || addresses.contains(address));
                addresses
                    .into_iter()
                    .for_each(|address| watch.seat(address));
                watch.look()
            }
            Err(RecvTimeoutError::Timeout) => watch.tick(),
        };
        if went_on.is_err() {
            // Who reads no further, as `head` does, has what it wants.
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How it is shown.
#[derive(PartialEq)]
enum Form {
    /// One line for each thing that happens.
    Lines,
    /// The whole text, drawn anew.
    Screen,
    /// One document a line.
    Json,
}

/// A control plane that is listened to.
struct Seat {
    /// Listens for as long as the seat is there.
    _follower: Follower,
    /// What it said last; `None` before it said anything.
    said: Option<Result<Report, String>>,
    /// The replica that is expected there, where others told of it.
    peer: Option<String>,
}

struct Watch {
    form: Form,
    asked: Asked,
    tell: Sender<Heard>,
    seats: BTreeMap<SocketAddr, Seat>,
    /// The document that was shown last.
    shown: Option<Report>,
    latest: VecDeque<Line>,
    /// Whether it was said that the model is not known.
    missed: bool,
}

impl Watch {
    fn seat(&mut self, address: SocketAddr) {
        let start = || Seat {
            _follower: Follower::start(address, self.asked.clone(), self.tell.clone()),
            said: None,
            peer: None,
        };
        self.seats.entry(address).or_insert_with(start);
    }

    /// Listens to the replicas that those that are heard know of, and no longer to those that nobody knows of any more.
    fn seat_peers(&mut self) {
        let seats = self.seats.values();
        let told = seats.filter_map(|seat| seat.said.as_ref()?.as_ref().ok());
        let peers = told.clone().flat_map(|report| &report.peers);
        let known: BTreeSet<String> = peers.map(|peer| peer.replica.clone()).collect();
        let (somebody, unasked) = (told.clone().next().is_some(), unasked(told));
        if somebody {
            let stays = |peer: &String| known.contains(peer);
            self.seats
                .retain(|_, seat| seat.peer.as_ref().is_none_or(stays));
        }
        for (replica, address) in unasked {
            let Some(address) = address.filter(|at| !self.seats.contains_key(at)) else {
                continue;
            };
            self.seat(address);
            if let Some(seat) = self.seats.get_mut(&address) {
                seat.peer = Some(replica);
            }
        }
    }

    fn told(&mut self, address: SocketAddr, answer: Result<Report, String>) -> io::Result<()> {
        // One that was just started and knows nothing yet must not look like a world without models.
        let answer = answer.and_then(|report| match report.head.synced {
            true => Ok(report),
            false => Err(unsynced(&report)),
        });
        let Some(seat) = self.seats.get_mut(&address) else {
            return Ok(());
        };
        seat.said = Some(match &seat.peer {
            Some(replica) => its_own(replica, answer),
            None => answer,
        });
        self.seat_peers();
        self.look()
    }

    /// Shows what is known now, once every control plane that was named was heard.
    fn look(&mut self) -> io::Result<()> {
        let heard = |seat: &Seat| seat.peer.is_none() || seat.said.is_some();
        let said = self.seats.iter().filter(|(_, seat)| heard(seat));
        let said = said.map(|(at, seat)| Some((at.to_string(), seat.said.clone()?)));
        let Some(answers) = said.collect::<Option<Vec<_>>>() else {
            return Ok(());
        };
        let now = seconds(SystemTime::now());
        let report = self.merged(answers);
        let lines = changes(self.shown.as_ref(), &report, now);
        let first = self.shown.is_none();
        let many = report.models.len() > 1;
        self.shown = Some(report);
        if first || !lines.is_empty() {
            self.latest.extend(lines.iter().cloned());
            let beyond = self.latest.len().saturating_sub(LATEST);
            self.latest.drain(..beyond);
            self.show(&lines, many)?;
        }
        self.miss()
    }

    /// One document; where nobody answers, the last one with that said.
    fn merged(&self, answers: Vec<(String, Result<Report, String>)>) -> Report {
        let away: Vec<_> = answers
            .iter()
            .filter_map(|(address, answer)| {
                let error = answer.as_ref().err()?.clone();
                let then = self.shown.iter().flat_map(|shown| &shown.replicas);
                let head = then
                    .filter(|r| r.address == *address)
                    .find_map(|r| r.head.clone());
                Some(headgate_report::ReplicaReport {
                    address: address.clone(),
                    error: Some(error),
                    head,
                })
            })
            .collect();
        merge(answers).unwrap_or_else(|_| Report {
            replicas: away,
            ..self.shown.clone().unwrap_or_default()
        })
    }

    fn show(&self, lines: &[Line], many: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.form {
            Form::Lines => {
                for line in lines {
                    writeln!(out, "{}", logged(line, many))?;
                }
            }
            Form::Json => {
                if let Some(report) = &self.shown {
                    serde_json::to_writer(&mut out, report)?;
                    writeln!(out)?;
                }
            }
            Form::Screen => self.draw(&mut out)?,
        }
        out.flush()
    }

    /// From the top left, over what was there.
    fn draw(&self, out: &mut impl io::Write) -> io::Result<()> {
        let Some(report) = &self.shown else {
            return Ok(());
        };
        let page = page(&self.asked);
        write!(
            out,
            "\x1b[H\x1b[2J{}\n{}",
            moment(page.now),
            text(report, page)
        )?;
        if !self.latest.is_empty() {
            writeln!(out, "\nLATEST (ctrl-c ends)")?;
        }
        for line in &self.latest {
            writeln!(out, "{}", logged(line, report.models.len() > 1))?;
        }
        out.flush()
    }

    fn tick(&self) -> io::Result<()> {
        match self.form {
            Form::Screen => self.draw(&mut io::stdout().lock()),
            Form::Lines | Form::Json => Ok(()),
        }
    }

    /// Says once that the model is not known, and goes on: it may be about to be applied.
    fn miss(&mut self) -> io::Result<()> {
        let known = |shown: &Report| !shown.models.is_empty() || !shown.head.synced;
        if self.asked.is_everything() || self.missed || self.shown.as_ref().is_none_or(known) {
            return Ok(());
        }
        self.missed = true;
        let addresses = self.seats.keys().copied().collect();
        if let Ok(everything) = merge(ask::everyone(&addresses, &Asked::default())) {
            eprintln!(
                "headgate: {}. Waiting for it",
                unknown(&self.asked, &everything)
            );
        }
        Ok(())
    }
}

fn unsynced(report: &Report) -> String {
    let api = report.api.as_ref().and_then(|api| api.message.as_deref());
    match api {
        Some(message) => format!("it was started and has not read its source yet ({message})"),
        None => "it was started and has not read its source yet".to_owned(),
    }
}

fn logged(line: &Line, many: bool) -> String {
    let model = line.model.as_deref().filter(|_| many);
    let model = model.map_or_else(String::new, |model| format!("{model}  "));
    format!("{}  {model}{:8} {}", moment(line.at), line.what, line.text)
}
