//! The answer of a forwarded request: the version that served it, the usage, and the settlement at its end.

use headgate_contract::names;
use headgate_dialect::{Label, Output, UsageScanner};

use crate::cost::Work;
use crate::decision::Ticket;
use crate::effects::Effect;
use crate::evictions::Evictions;
use crate::headers::Headers;
use crate::host::Host;
use crate::ledger::Settled;
use crate::limit::Charge;
use crate::metrics;
use crate::responses::Response;
use crate::served;
use crate::settle::{AnsweredBy, GrpcOutcome, SettlementBasis, StreamRecord, Used, unreachable};
use crate::tenants::Counted;
use crate::vm::Vm;

pub(crate) const VIA_UPSTREAM: &str = "via_upstream";

/// An answer so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    record: StreamRecord,
    meter: Meter,
}

/// How the body of the answer is metered.
#[derive(Debug, Default)]
enum Meter {
    /// Not at all.
    #[default]
    Off,
    /// It is read for usage.
    Scan(Box<UsageScanner>),
    /// It cannot be read: its bytes are counted.
    Bytes(u64),
}

impl Answer {
    /// The response headers. `end`: there is no body.
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
        self.record.status = status.unwrap_or(0);
        // A 429 from a later hop carries that hop's own limit headers; do not overwrite them.
        let balance = match ticket.shows_balance && self.record.status != 429 {
            true => admitted.headers(),
            false => Vec::new(),
        };
        let mut effects: Vec<_> = balance
            .into_iter()
            .map(|(name, value)| Effect::SetResponseHeader(name, value.into()))
            .collect();
        let details = host.code_details();
        if ticket.tag_answer && details.as_deref() == Some(VIA_UPSTREAM) {
            effects.extend(tag_with_served_version(ticket, vm, host));
        }
        // If the host does not know, the request is charged as if the upstream had answered.
        let upstream = details.as_deref().is_none_or(|d| d == VIA_UPSTREAM);
        self.record.answered_by = if upstream {
            AnsweredBy::Upstream
        } else {
            AnsweredBy::Proxy
        };
        if ticket.learns && (!upstream || vm.outages.any()) {
            let answered = upstream.then_some(VIA_UPSTREAM);
            effects.extend(learn_of(ticket, answered.or(details.as_deref()), vm, host));
        }
        self.record.details = details.filter(|_| !upstream);
        self.record.complete = end;
        self.record.grpc = ticket.grpc.then(|| GrpcOutcome::of(headers));
        if upstream && !end && ticket.reads_body() {
            self.meter = meter(ticket, self.record.status, headers, &mut effects);
        }
        if upstream && ticket.usage_requested && matches!(self.record.status, 400 | 422) {
            effects.push(stop_requesting_usage(ticket, vm));
        }
        effects
    }

    /// The next bytes of the body.
    pub(crate) fn push(&mut self, chunk: &[u8], end: bool) -> Vec<Effect> {
        self.record.complete |= end;
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

    /// The trailers: the answer is complete.
    pub(crate) fn trailers(&mut self, trailers: &Headers) {
        if let Some(outcome) = &mut self.record.grpc {
            *outcome = GrpcOutcome::of(trailers);
        }
    }

    /// The id of the response, if requests can continue it.
    fn response_id(&self) -> Option<&str> {
        match &self.meter {
            Meter::Scan(scanner) => scanner.response_id(),
            _ => None,
        }
    }

    /// Records the version that gave the response.
    pub(crate) fn record_response(&self, ticket: &Ticket, host: &dyn Host) {
        if let Some(id) = self.response_id() {
            let response = Response {
                namespace: &ticket.namespace,
                model: &ticket.model,
                id,
            };
            response.record(ticket.version(), host);
        }
    }

    /// Whether the body is metered.
    pub(crate) fn wants_body(&self) -> bool {
        !matches!(self.meter, Meter::Off)
    }

    /// The basis of the settlement if the body had not been metered.
    #[cold]
    pub(crate) fn unmetered_basis(&self, host: &dyn Host) -> SettlementBasis {
        let record = self.record.clone();
        let meter = Meter::Off;
        Self { record, meter }.basis(host)
    }

    /// The basis of the settlement.
    #[inline(never)]
    pub(crate) fn basis(self, host: &dyn Host) -> SettlementBasis {
        let mut record = self.record;
        match self.meter {
            // The end of an unmetered answer is not observed and does not affect the charge.
            Meter::Off => record.complete |= record.answered_by == AnsweredBy::Upstream,
            Meter::Scan(scanner) => {
                record.complete |= scanner.done();
                record.usage = scanner.usage();
                record.stale = scanner.usage_is_stale();
                record.observed = scanner.observed();
                record.error_only = scanner.error_only();
            }
            Meter::Bytes(bytes) => {
                record.unread = true;
                record.observed.bytes = bytes;
            }
        }
        if !record.complete || record.answered_by != AnsweredBy::Upstream {
            record.upstream = host.upstream_address().is_some();
            record.details = host.code_details().or(record.details);
        }
        record.basis()
    }
}

/// Records whether the version was reached, by its answer or by the lack of one.
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

/// The basis of the settlement of a stream without an answer, or with an answer that is neither tagged nor metered. `details`:
/// the response code details, unless the upstream is known to have answered.
#[inline(never)]
pub(crate) fn basis_of_unread_answer(
    host: &dyn Host,
    via_upstream: bool,
    details: Option<String>,
) -> SettlementBasis {
    let answered = via_upstream || details.as_deref() == Some(VIA_UPSTREAM);
    let record = StreamRecord {
        answered_by: if answered {
            AnsweredBy::Upstream
        } else {
            AnsweredBy::Nobody
        },
        status: host.status().unwrap_or(0),
        complete: answered,
        details,
        upstream: !answered && host.upstream_address().is_some(),
        ..StreamRecord::default()
    };
    record.basis()
}

/// Settles the reserve. Returns the counters to raise. `unmetered`: the basis of buckets that limit requests, if the answer was
/// metered for buckets in shadow mode alone.
pub(crate) fn settle(
    ticket: &mut Ticket,
    basis: &SettlementBasis,
    unmetered: Option<&SettlementBasis>,
    vm: &mut Vm,
    host: &dyn Host,
) -> Vec<Effect> {
    let mut effects = Vec::with_capacity(8);
    if let SettlementBasis::Used(used) = basis {
        count_tokens(ticket, used, vm, host, &mut effects);
    }
    let unmetered = unmetered.unwrap_or(basis);
    let failed = |basis: &SettlementBasis| matches!(basis, SettlementBasis::Failed(_));
    let elapsed = (failed(basis) || failed(unmetered))
        .then(|| {
            let took = host.now().saturating_sub(ticket.forwarded_ns);
            vm.rates.tokens(&ticket.served(), took)
        })
        .flatten();
    let held = std::mem::take(&mut ticket.admitted.held);
    let mut stands = true;
    let mut used = Vec::with_capacity(held.as_slice().len());
    for (charge, reservation) in ticket.admitted.charges.iter().zip(held.as_slice()) {
        let basis = match charge.limit.shadow {
            true => basis,
            false => unmetered,
        };
        let cells = charge.used(basis, reservation.cells(), elapsed);
        stands &= cells == reservation.cells();
        used.push(cells);
        count(charge, cells, ticket, basis, &mut effects);
    }
    if !stands {
        let now = host.now();
        let settled = vm.ledger.settle(held, &used, now, host);
        count_moved(&settled, ticket, &mut vm.evictions, now, &mut effects);
    }
    effects
}

/// Reads JSON and event streams unless compressed. For other content types, the first bytes decide.
fn meter(ticket: &Ticket, status: u16, headers: &Headers, effects: &mut Vec<Effect>) -> Meter {
    if headers.encoded() || ticket.counts_bytes {
        return Meter::Bytes(0);
    }
    let label = match &media_type(headers)[..] {
        b"text/event-stream" => Label::Events,
        b"application/json" => Label::Json,
        _ => Label::Other,
    };
    let charge = ticket.admitted.charges.first();
    let (sequences, prompts) = charge.map_or((1, 1), |charge| (charge.n, charge.prompts));
    let scanner = ticket.endpoint.usage_scanner(label, sequences);
    let mut scanner = scanner.of_prompts(prompts);
    let sized = headers.get("content-length").is_some();
    let document = label == Label::Json && sized;
    if ticket.usage_requested && (200..300).contains(&status) && !document {
        scanner = scanner.removing_usage();
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

/// The version refused a request that was amended to report usage. Its requests are no longer amended.
#[cold]
fn stop_requesting_usage(ticket: &Ticket, vm: &mut Vm) -> Effect {
    vm.usage_refusals.insert(&ticket.served());
    let refused = metrics::by_version(
        "usage_requests_refused_total",
        &ticket.model,
        ticket.version(),
    );
    Effect::Count(refused, 1)
}

/// Counts the tokens that were used, and records how fast they were generated.
#[inline(never)]
fn count_tokens(
    ticket: &Ticket,
    used: &Used,
    vm: &mut Vm,
    host: &dyn Host,
    effects: &mut Vec<Effect>,
) {
    let Some(charge) = ticket.admitted.charges.first() else {
        return;
    };
    let Work {
        input,
        output,
        parts,
        ..
    } = charge.used_tokens(used);
    let mut observe = |name, value| {
        let render = || metrics::tokens(name, &ticket.model, ticket.version());
        let metric = metrics::of_series(ticket.series.as_ref(), name, "", render);
        effects.push(Effect::Observe(metric, value));
    };
    if charge.generates {
        observe("output_tokens", output);
    }
    if used.usage.is_some_and(|usage| usage.input.is_some()) {
        observe("input_tokens", input);
    }
    for (kind, tokens) in parts.named() {
        if tokens > 0 {
            let render = || metrics::token_parts(&ticket.model, ticket.version(), kind);
            let series = ticket.series.as_ref();
            let metric = metrics::of_series(series, "token_parts_total", kind, render);
            effects.push(Effect::Count(metric, tokens));
        }
    }
    // Other buckets are charged by this speed, too. A bucket in shadow mode must not change it.
    if used.complete && charge.generates && !ticket.metered_only_in_shadow() {
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

/// Tags the answer with the model and the version that served it.
fn tag_with_served_version(ticket: &Ticket, vm: &Vm, host: &dyn Host) -> Vec<Effect> {
    let Some(served) = served::version(ticket, vm, host) else {
        return Vec::new();
    };
    let model = Effect::SetResponseHeader(names::HEADER_MODEL.into(), (&ticket.model).into());
    let mut effects = vec![model];
    if let Some(version) = ticket.version.as_ref().filter(|v| v.name != served) {
        const ELSEWHERE: &str = "served_elsewhere_total";
        let render = || metrics::by_version(ELSEWHERE, &ticket.model, &version.name);
        let metric = metrics::of_series(ticket.series.as_ref(), ELSEWHERE, "", render);
        effects.push(Effect::Count(metric, 1));
    }
    let version = Effect::SetResponseHeader(names::HEADER_VERSION.into(), (&served).into());
    effects.push(version);
    effects
}

/// Counts the settlement of one charge, and the cells that it amounts to.
fn count(
    charge: &Charge,
    cells: u64,
    ticket: &Ticket,
    basis: &SettlementBasis,
    effects: &mut Vec<Effect>,
) {
    let (rule, series) = (charge.limit.rule.id(), &charge.series);
    let (model, version, outcome) = (&ticket.model, ticket.version(), basis.as_str());
    let metric = series.get("settlements_total", outcome, || {
        metrics::settlements(rule, model, version, outcome)
    });
    effects.push(Effect::Count(metric, 1));
    let metric = series.get("charged", "", || metrics::charged(rule, model, version));
    effects.push(Effect::Observe(metric, charge.milli(cells)));
}

/// Counts the amounts that a settlement moved.
#[inline(never)]
pub(crate) fn count_moved(
    settled: &[Settled],
    ticket: &Ticket,
    evictions: &mut Evictions,
    now: u64,
    effects: &mut Vec<Effect>,
) {
    for (charge, settled) in ticket.admitted.charges.iter().zip(settled) {
        let (rule, series) = (charge.limit.rule.id(), &charge.series);
        for (name, ns) in [
            ("refunded_milli_total", settled.refunded),
            ("debited_milli_total", settled.debited),
            ("evaporated_milli_total", settled.evaporated),
            ("debt_clipped_milli_total", settled.clipped),
            ("unwritten_milli_total", settled.unwritten),
        ] {
            if ns > 0 {
                let render = || metrics::amount(name, rule, &ticket.model, ticket.version());
                let metric = series.get(name, "", render);
                effects.push(Effect::Count(metric, charge.milli_of_ns(ns)));
            }
        }
        if settled.evicted {
            effects.extend(evictions.count(&charge.limit.rule, now));
        }
    }
}
