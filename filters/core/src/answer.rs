//! The answer of a request that was sent on: what served it, what flowed, and the settlement at its end.

use headgate_contract::names;
use headgate_dialect::{Label, Output, UsageScanner};

use crate::decide::Ticket;
use crate::effects::Effect;
use crate::headers::Headers;
use crate::host::Host;
use crate::ledger::Settled;
use crate::limit::Charge;
use crate::metrics;
use crate::settle::{Answered, Ending, Seen, Used, unreachable};
use crate::tenants::Counted;
use crate::vm::Vm;

pub(crate) const VIA_UPSTREAM: &str = "via_upstream";

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
        vm: &mut Vm,
        host: &dyn Host,
        headers: &Headers,
        end: bool,
    ) -> Vec<Effect> {
        let admitted = &ticket.admitted;
        let status = headers.text(":status").and_then(|s| s.parse().ok());
        self.seen.status = status.unwrap_or(0);
        // A 429 from a later hop carries that hop's own limit headers; do not overwrite them.
        let balance = match ticket.shows_balance && self.seen.status != 429 {
            true => admitted.headers(),
            false => Vec::new(),
        };
        let mut effects: Vec<_> = balance
            .into_iter()
            .map(|(name, value)| Effect::SetResponseHeader(name, value.into()))
            .collect();
        let details = host.code_details();
        if ticket.tag_answer && details.as_deref() == Some(VIA_UPSTREAM) {
            effects.extend(tag_with_served_version(ticket, host));
        }
        // A host that cannot say is charged as one whose upstream answered.
        let upstream = details.as_deref().is_none_or(|d| d == VIA_UPSTREAM);
        self.seen.answered = if upstream {
            Answered::Upstream
        } else {
            Answered::Locally
        };
        if ticket.learns && (!upstream || vm.outages.any()) {
            let answered = upstream.then_some(VIA_UPSTREAM);
            effects.extend(learn_of(ticket, answered.or(details.as_deref()), vm, host));
        }
        self.seen.details = details.filter(|_| !upstream);
        self.seen.complete = end;
        if upstream && !end && admitted.meters() {
            self.meter = meter(ticket, self.seen.status, headers, &mut effects);
        }
        if upstream && ticket.usage_requested && matches!(self.seen.status, 400 | 422) {
            effects.push(stop_asking_for_usage(ticket, vm));
        }
        effects
    }

    /// The next bytes of the body.
    pub(crate) fn push(&mut self, chunk: &[u8], end: bool) -> Vec<Effect> {
        self.seen.complete |= end;
        let passed = match &mut self.meter {
            Meter::Off => return Vec::new(),
            Meter::Scan(scanner) => scanner.push(chunk, end),
            Meter::Bytes(bytes) => {
                *bytes += chunk.len() as u64;
                return Vec::new();
            }
        };
        match passed {
            Output::Unchanged => Vec::new(),
            Output::Replaced(bytes) => vec![Effect::ReplaceResponseBody(bytes)],
        }
    }

    pub(crate) fn wants_body(&self) -> bool {
        !matches!(self.meter, Meter::Off)
    }

    /// What the stream is settled on.
    #[inline(never)]
    pub(crate) fn ending(self, host: &dyn Host) -> Ending {
        let mut seen = self.seen;
        match self.meter {
            // The end of an unmetered answer is not observed and does not affect the charge.
            Meter::Off => seen.complete |= seen.answered == Answered::Upstream,
            Meter::Scan(scanner) => {
                seen.complete |= scanner.done();
                seen.usage = scanner.usage();
                seen.stale = scanner.usage_is_stale();
                seen.observed = scanner.observed();
                seen.error_only = scanner.error_only();
            }
            Meter::Bytes(bytes) => {
                seen.unread = true;
                seen.observed.bytes = bytes;
            }
        }
        if !seen.complete || seen.answered != Answered::Upstream {
            seen.upstream = host.upstream_address().is_some();
            seen.details = host.code_details().or(seen.details);
        }
        seen.ending()
    }
}

/// Learns from an answer, or from its absence, whether the version can be reached.
#[cold]
#[inline(never)]
pub(crate) fn learn_of(
    ticket: &Ticket,
    details: Option<&str>,
    vm: &mut Vm,
    host: &dyn Host,
) -> Vec<Effect> {
    let target = ticket.target();
    match details {
        Some(VIA_UPSTREAM) if vm.outages.any() => vm.outages.answered(target, host.now(), host),
        Some(details) if unreachable(details) => {
            return vm.outages.failed(target, host.now(), host);
        }
        _ => {}
    }
    Vec::new()
}

/// The end of a stream without an answer, or with one that is neither tagged nor metered. `details`: the response code details,
/// unless the upstream is known to have answered.
#[inline(never)]
pub(crate) fn ending_of_unread_answer(
    host: &dyn Host,
    via_upstream: bool,
    details: Option<String>,
) -> Ending {
    let answered = via_upstream || details.as_deref() == Some(VIA_UPSTREAM);
    let seen = Seen {
        answered: if answered {
            Answered::Upstream
        } else {
            Answered::Nobody
        },
        status: host.status().unwrap_or(0),
        complete: answered,
        details,
        upstream: !answered && host.upstream_address().is_some(),
        ..Seen::default()
    };
    seen.ending()
}

/// Settles the reserve. What is returned are counts.
pub(crate) fn settle(
    ticket: &mut Ticket,
    ending: &Ending,
    vm: &mut Vm,
    host: &dyn Host,
) -> Vec<Effect> {
    let mut effects = Vec::with_capacity(8);
    let elapsed = match ending {
        Ending::Used(used) => {
            learn(ticket, used, vm, host, &mut effects);
            None
        }
        Ending::Failed(_) => {
            let took = host.now().saturating_sub(ticket.forwarded_ns);
            vm.rates.tokens(&ticket.served(), took)
        }
        _ => None,
    };
    let held = std::mem::take(&mut ticket.admitted.held);
    let mut stands = true;
    let mut used = Vec::with_capacity(held.spends().len());
    for (charge, spend) in ticket.admitted.charges.iter().zip(held.spends()) {
        let cells = charge.used(ending, spend.cells(), elapsed);
        stands &= cells == spend.cells();
        used.push(cells);
        count(charge, cells, ticket, ending, &mut effects);
    }
    if !stands {
        let now = host.now();
        let settled = vm.ledger.settle(held, &used, now, host);
        count_moved(&settled, ticket, vm, now, &mut effects);
    }
    effects
}

/// Reads JSON and event streams unless compressed. For other content types, the first bytes decide.
fn meter(ticket: &Ticket, status: u16, headers: &Headers, effects: &mut Vec<Effect>) -> Meter {
    if headers.encoded() {
        return Meter::Bytes(0);
    }
    let label = match &media_type(headers)[..] {
        b"text/event-stream" => Label::Events,
        b"application/json" => Label::Json,
        _ => Label::Other,
    };
    let sequences = ticket.admitted.charges.first().map_or(1, |charge| charge.n);
    let mut scanner = UsageScanner::new(label, sequences);
    let sized = headers.get("content-length").is_some();
    let document = label == Label::Json && sized;
    if ticket.usage_requested && (200..300).contains(&status) && !document {
        scanner = scanner.taking_out_usage();
        if sized {
            effects.push(Effect::RemoveResponseHeader("content-length".into()));
        }
    }
    Meter::Scan(Box::new(scanner))
}

/// The content type without its parameters, in lower case.
fn media_type(headers: &Headers) -> Vec<u8> {
    let value = headers.get("content-type").unwrap_or_default();
    let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    value[..end].trim_ascii().to_ascii_lowercase()
}

/// The version refused a request that was made to ask for usage: it is observed from now on.
#[cold]
fn stop_asking_for_usage(ticket: &Ticket, vm: &mut Vm) -> Effect {
    vm.usage_refusals.insert(&ticket.served());
    let refused = metrics::by_version("usage_requests_refused", &ticket.model, ticket.version());
    Effect::Count(refused, 1)
}

/// Counts the tokens that were used, and learns how fast they were generated.
#[inline(never)]
fn learn(ticket: &Ticket, used: &Used, vm: &mut Vm, host: &dyn Host, effects: &mut Vec<Effect>) {
    let Some(charge) = ticket.admitted.charges.first() else {
        return;
    };
    let (input, output) = charge.used_tokens(used);
    let mut observe = |name, value| {
        let render = || metrics::tokens(name, &ticket.model, ticket.version());
        let metric = metrics::of_series(ticket.series.as_ref(), name, "", render);
        effects.push(Effect::Observe(metric, value));
    };
    observe("output_tokens", output);
    if used.usage.is_some_and(|usage| usage.input.is_some()) {
        observe("input_tokens", input);
    }
    if used.complete {
        let now = host.now();
        let took = now.saturating_sub(ticket.forwarded_ns);
        let tokens = output.div_ceil(charge.n.max(1));
        vm.rates.learn(&ticket.served(), tokens, took, now);
    }
    if let Some((tenant, most)) = &ticket.tenant {
        for (counted, tokens) in [(Counted::Input, input), (Counted::Output, output)] {
            let (namespace, tenant) = (&ticket.namespace, tenant.as_deref());
            let metric = vm.tenants.metric(namespace, *most, tenant, counted);
            effects.push(Effect::Count(metric, tokens));
        }
    }
}

/// Tags the answer with what served it.
fn tag_with_served_version(ticket: &Ticket, host: &dyn Host) -> Vec<Effect> {
    let Some(served) = host.served_version() else {
        return Vec::new();
    };
    let model = Effect::SetResponseHeader(names::HEADER_MODEL.into(), (&ticket.model).into());
    let mut effects = vec![model];
    if let Some(version) = ticket.version.as_ref().filter(|v| *v.name != *served) {
        const ELSEWHERE: &str = "served_elsewhere";
        let render = || metrics::by_version(ELSEWHERE, &ticket.model, &version.name);
        let metric = metrics::of_series(ticket.series.as_ref(), ELSEWHERE, "", render);
        effects.push(Effect::Count(metric, 1));
    }
    let version = Effect::SetResponseHeader(names::HEADER_VERSION.into(), served.into());
    effects.push(version);
    effects
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
fn count_moved(
    settled: &[Settled],
    ticket: &Ticket,
    vm: &mut Vm,
    now: u64,
    effects: &mut Vec<Effect>,
) {
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
            effects.extend(vm.evictions.count(charge, now));
        }
    }
}
