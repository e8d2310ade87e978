//! The answer of a request that was sent on: what served it, what flowed, and the settlement at its end.

use headgate_dialect::{Label, Observed, UsageScanner};

use crate::decide::Ticket;
use crate::effects::Effect;
use crate::headers::Headers;
use crate::host::Host;
use crate::ledger::Settled;
use crate::limit::Charge;
use crate::metrics;
use crate::pick;
use crate::settle::{Answered, Ending, Seen};
use crate::vm::Vm;
use headgate_contract::names;

const VIA_UPSTREAM: &str = "via_upstream";

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    seen: Seen,
    meter: Meter,
}

/// How the body is metered.
#[derive(Debug, Default)]
enum Meter {
    /// Not at all.
    #[default]
    Off,
    /// Read for usage.
    Scan(Box<UsageScanner>),
    /// Cannot be read: only its bytes are counted.
    Bytes(u64),
}

impl Answer {
    /// The response headers.
    pub(crate) fn begin(
        &mut self,
        ticket: &mut Ticket,
        host: &dyn Host,
        headers: &Headers,
        end: bool,
    ) -> Vec<Effect> {
        let admitted = &ticket.admitted;
        self.seen.status = headers
            .text(":status")
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        // A later hop's refusal tells of its own bucket, which is the one that the client has to wait for.
        let balance = match ticket.tells && self.seen.status != 429 {
            true => admitted.headers(),
            false => Vec::new(),
        };
        let mut effects: Vec<_> = balance
            .into_iter()
            .map(|(name, value)| Effect::SetResponseHeader(name, value.into()))
            .collect();
        let details = host.code_details();
        if ticket.tag_answer && details.as_deref() == Some(VIA_UPSTREAM) {
            effects.extend(tell_served(ticket, host));
        }
        // A host that cannot say is charged as one whose upstream answered.
        let upstream = details.as_deref().is_none_or(|d| d == VIA_UPSTREAM);
        self.seen.answered = if upstream {
            Answered::Upstream
        } else {
            Answered::Locally
        };
        self.seen.details = details.filter(|_| !upstream);
        self.seen.complete = end;
        if upstream && !end && admitted.meters() {
            self.meter = Meter::of(headers);
        }
        self.seen.readable = !matches!(self.meter, Meter::Bytes(_));
        self.seen.streamed = is_stream(headers);
        effects
    }

    /// The next bytes of the body.
    pub(crate) fn push(&mut self, chunk: &[u8], end: bool) {
        match &mut self.meter {
            Meter::Off => {}
            Meter::Scan(scanner) => {
                scanner.push(chunk, end);
            }
            Meter::Bytes(bytes) => *bytes += chunk.len() as u64,
        }
        self.seen.complete |= end;
    }

    pub(crate) fn wants_body(&self) -> bool {
        !matches!(self.meter, Meter::Off)
    }

    /// What the stream is settled on.
    #[inline(never)]
    pub(crate) fn ending(self, host: &dyn Host) -> Ending {
        let mut seen = self.seen;
        match self.meter {
            Meter::Off => {}
            Meter::Scan(scanner) => {
                seen.complete |= scanner.done();
                seen.usage = scanner.usage();
                seen.observed = scanner.observed();
                seen.readable = seen.observed.unread_bytes == 0;
            }
            Meter::Bytes(bytes) => {
                seen.observed = Observed {
                    bytes,
                    ..Observed::default()
                };
            }
        }
        if seen.answered != Answered::Upstream {
            seen.upstream = host.upstream_address().is_some();
        }
        seen.ending()
    }
}

/// The ending of a stream without an answer, or whose answer nobody looked at: it is neither told anything nor metered.
#[inline(never)]
pub(crate) fn unlooked(host: &dyn Host) -> Ending {
    match host.code_details() {
        Some(details) if details == VIA_UPSTREAM => Ending::Unobserved,
        details => {
            let seen = Seen {
                details,
                upstream: host.upstream_address().is_some(),
                ..Seen::default()
            };
            seen.ending()
        }
    }
}

/// Settles the reserve. What is returned are counts.
pub(crate) fn settle(
    ticket: &mut Ticket,
    ending: &Ending,
    vm: &mut Vm,
    host: &dyn Host,
) -> Vec<Effect> {
    let mut effects = Vec::with_capacity(8);
    if let Ending::Used { input, output, .. } = *ending {
        count_tokens(input, output, ticket, &mut effects);
    }
    let held = std::mem::take(&mut ticket.admitted.held);
    let mut stands = true;
    let mut used = Vec::with_capacity(held.spends().len());
    for (charge, spend) in ticket.admitted.charges.iter().zip(held.spends()) {
        let cells = charge.used(ending, spend.cells());
        stands &= cells == spend.cells();
        used.push(cells);
        count(charge, cells, ticket, ending, &mut effects);
    }
    if !stands {
        let settled = vm.ledger.settle(held, &used, host.now(), host);
        count_moved(&settled, ticket, &mut effects);
    }
    effects
}

impl Meter {
    /// JSON and event streams are read, unless compressed; anything else is only counted.
    fn of(headers: &Headers) -> Self {
        if headers.encoded() {
            return Self::Bytes(0);
        }
        if is_stream(headers) {
            return Self::Scan(Box::new(UsageScanner::new(Label::Events, 1)));
        }
        if media_type(headers) == b"application/json" {
            return Self::Scan(Box::new(UsageScanner::new(Label::Json, 1)));
        }
        Self::Bytes(0)
    }
}

fn is_stream(headers: &Headers) -> bool {
    media_type(headers) == b"text/event-stream"
}

/// The content type without its parameters, in lower case.
fn media_type(headers: &Headers) -> Vec<u8> {
    let value = headers.get("content-type").unwrap_or_default();
    let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    value[..end].trim_ascii().to_ascii_lowercase()
}

/// Tags the answer with what served it.
fn tell_served(ticket: &Ticket, host: &dyn Host) -> Vec<Effect> {
    let Some(served) = host.served_version() else {
        return Vec::new();
    };
    let model = Effect::SetResponseHeader(names::HEADER_MODEL.into(), (&ticket.model).into());
    let mut effects = vec![model];
    if let Some(version) = ticket.version.as_ref().filter(|v| *v.name != *served) {
        const ELSEWHERE: &str = "served_elsewhere";
        let render = || metrics::by_version(ELSEWHERE, &ticket.model, &version.name);
        let metric = version.series.get(ELSEWHERE, "", render);
        effects.push(Effect::Count(metric, 1));
    }
    let version = Effect::SetResponseHeader(names::HEADER_VERSION.into(), served.into());
    effects.push(version);
    effects
}

#[inline(never)]
fn count_tokens(input: Option<u64>, output: u64, ticket: &Ticket, effects: &mut Vec<Effect>) {
    let mut observe = |name, value| {
        let render = || metrics::tokens(name, &ticket.model, ticket.version());
        let metric = pick::stat(ticket.version.as_ref(), name, "", render);
        effects.push(Effect::Observe(metric, value));
    };
    observe("output_tokens", output);
    if let Some(input) = input {
        observe("input_tokens", input);
    }
}

/// What became of one charge, and the cells it came to.
fn count(charge: &Charge, cells: u64, ticket: &Ticket, ending: &Ending, effects: &mut Vec<Effect>) {
    let (rule, series) = (charge.limit.rule.id(), &charge.series);
    let (model, version, outcome) = (&ticket.model, ticket.version(), ending.as_str());
    let metric = series.get("settlements", outcome, || {
        metrics::settlements(rule, model, version, outcome)
    });
    effects.push(Effect::Count(metric, 1));
    let metric = series.get("charged", "", || metrics::charged(rule, model, version));
    effects.push(Effect::Observe(metric, charge.milli(cells)));
}

/// What a settlement moved.
#[inline(never)]
fn count_moved(settled: &[Settled], ticket: &Ticket, effects: &mut Vec<Effect>) {
    for (charge, settled) in ticket.admitted.charges.iter().zip(settled) {
        let (rule, series) = (charge.limit.rule.id(), &charge.series);
        for (name, ns) in [
            ("refunded_milli", settled.refunded),
            ("debited_milli", settled.debited),
            ("evaporated_milli", settled.evaporated),
            ("debt_clipped_milli", settled.clipped),
            ("unwritten_milli", settled.unwritten),
        ] {
            if ns > 0 {
                let render = || metrics::amount(name, rule, &ticket.model, ticket.version());
                let metric = series.get(name, "", render);
                effects.push(Effect::Count(metric, charge.milli_of_ns(ns)));
            }
        }
        if settled.evicted {
            effects.push(charge.evicted());
        }
    }
}
