//! State machine of one request, from its headers to its end: each callback of the proxy is a method that returns effects.
//!
//! The stream remembers whether its request was forwarded: to the proxy, a client that leaves before and one that leaves after
//! look alike. How a body is cut into pieces changes neither the decision nor the settlement.

use std::rc::Rc;

use headgate_contract::BodyPath;
use headgate_contract::names::HEADER_MODEL;
use headgate_dialect::{BodyHeaders, BodyScanner, Capture, Endpoint, Limits, Splice};

use crate::answer::{Answer, VIA_UPSTREAM, basis_of_unread_answer, learn_of, settle};
use crate::compiled::Place;
use crate::decide::{Request, decide, reads_bodies, refuse_unread, unmetered};
use crate::decision::{Decision, Ticket};
use crate::effects::{Effect, Flow, Step};
use crate::endpoint::{Class, PathNames, ServedApis, classify};
use crate::headers::Headers;
use crate::host::Host;
use crate::metrics;
use crate::outcome::refuse_unknown;
use crate::passing::Passing;
use crate::refusal::Refusal;
use crate::sessions::{Session, SharedSession};
use crate::settle::SettlementBasis;
use crate::vm::Vm;

/// One request and its answer.
#[derive(Debug)]
pub struct Stream(Phase);

/// The state of a stream.
#[derive(Debug)]
enum Phase {
    /// Before the request headers.
    New,
    /// The request is held until its body is complete.
    AwaitingBody(Box<Reading>),
    /// The request was forwarded; with what its response and its end need.
    Sent(Sent),
    /// A realtime session is open, or about to open.
    Session(Box<OpenSession>),
    /// The filter answered the request.
    Answered,
    /// Nothing more to do: passed through, or ended.
    Over,
}

/// A body being read.
#[derive(Debug)]
struct Reading {
    headers: Headers,
    namespace: Rc<str>,
    class: Class,
    names: PathNames,
    scanner: BodyScanner,
    /// The fields that attributes name.
    fields: Option<FieldReader>,
    /// Bytes that may still come.
    room: usize,
    max: u32,
}

/// An open realtime session of a stream.
#[derive(Debug)]
struct OpenSession {
    session: SharedSession,
    /// The upstream answered.
    via_upstream: bool,
}

#[derive(Debug)]
struct Sent {
    ticket: Box<Ticket>,
    /// From the response headers on, if the response matters.
    answer: Option<Box<Answer>>,
    /// The rest of the request body, if it is charged as it passes.
    passing: Option<Box<Passing>>,
    /// The response is known to come from the upstream.
    via_upstream: bool,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// A stream before its request.
    #[must_use]
    pub fn new() -> Self {
        Self(Phase::New)
    }

    /// The request headers. `end`: there is no body.
    pub fn request_headers(
        &mut self,
        vm: &mut Vm,
        host: &dyn Host,
        headers: Headers,
        end: bool,
    ) -> Step {
        if headers.is_empty() {
            let refusal = Refusal::HeadersUnread.into();
            let dialect = Endpoint::unknown().dialect();
            return self.decided(refuse_unknown(refusal, dialect, &headers, &mut vm.tenants));
        }
        let (class, names) = class_of(vm, host, &headers);
        let reads = vm
            .config
            .as_ref()
            .is_some_and(|config| reads_bodies(config));
        let max = vm.config.as_ref().map_or(0, |config| config.max_body_bytes);
        let scanner = match class {
            Class::Call(operation) if reads => {
                operation.endpoint.request_scanner(Limits::default())
            }
            _ => None,
        };
        let Some(mut scanner) = scanner else {
            let request = Request::of_headers(&headers, class, &names);
            let decision = decide(vm, host, request);
            return self.opened(decision, vm, host);
        };
        let (namespace, fields) = match vm.config.as_ref().map(|config| config.place(host)) {
            Some(Place::Namespace(namespace)) => {
                (Rc::clone(&namespace.name), namespace.fields.reader())
            }
            Some(Place::Elsewhere) => return self.decided(unmetered()),
            Some(Place::Unknown) | None => {
                let request = Request::of_headers(&headers, class, &names);
                return self.decided(decide(vm, host, request));
            }
        };
        scanner.set_headers(&BodyHeaders {
            content_type: headers.get("content-type").unwrap_or_default(),
            json_length: headers
                .get("inference-header-content-length")
                .unwrap_or_default(),
            content_length: headers.content_length(),
            model_known: names.model.is_some() || headers.get(HEADER_MODEL).is_some(),
        });
        let reading = Reading::new((class, names), scanner, headers, max, namespace, fields);
        if let Err(refusal) = reading.readable() {
            return self.decided(reading.refuse(vm, host, refusal));
        }
        let decided = reading.scanner.decided();
        self.0 = Phase::AwaitingBody(reading);
        if end || decided {
            return self.request_body(vm, host, b"", end);
        }
        Step::pause()
    }

    /// The next bytes of the request body, each byte once. `end`: they are the last.
    pub fn request_body(&mut self, vm: &mut Vm, host: &dyn Host, chunk: &[u8], end: bool) -> Step {
        let reading = match &mut self.0 {
            Phase::AwaitingBody(reading) => reading,
            Phase::Answered => return Step::pause(),
            Phase::Sent(sent) => return Step::with(sent.request_body(vm, host, chunk)),
            Phase::Session(open) => {
                open.session.borrow_mut().pass(chunk.len());
                return Step::go_on();
            }
            Phase::New | Phase::Over => return Step::go_on(),
        };
        if let Err(refusal) = reading.push(chunk) {
            let decision = reading.refuse(vm, host, refusal);
            return self.decided(decision);
        }
        if !end && !reading.scanner.decided() {
            return Step::pause();
        }
        let decision = reading.finish(vm, host);
        self.passed_on(decision, vm, host, end)
    }

    /// The headers decided the request. It may be a session.
    fn opened(&mut self, decision: Decision, vm: &mut Vm, host: &dyn Host) -> Step {
        match decision {
            Decision::Forward(effects, ticket) if !ticket.admitted.charges.is_empty() => {
                let Some(price) = ticket.session else {
                    return self.decided(Decision::Forward(effects, ticket));
                };
                let session = Session::new(ticket, price, host.now());
                self.0 = Phase::Session(Box::new(OpenSession {
                    session: vm.sessions.add(session),
                    via_upstream: false,
                }));
                Step::with(effects)
            }
            decision => self.decided(decision),
        }
    }

    /// The body, or a part of it, decided the request. The rest is read as it passes. It begins with the bytes that arrived in the same chunk.
    fn passed_on(&mut self, decision: Decision, vm: &mut Vm, host: &dyn Host, end: bool) -> Step {
        let before = std::mem::replace(&mut self.0, Phase::Over);
        let mut step = self.decided(decision);
        if let (Phase::AwaitingBody(reading), Phase::Sent(sent)) = (before, &mut self.0)
            && !sent.ticket.admitted.charges.is_empty()
            && !(end && reading.scanner.holds_all())
        {
            let mut passing = Passing::of_scanner(reading.scanner);
            step.effects
                .extend(passing.push(b"", &mut sent.ticket, vm, host));
            sent.passing = Some(Box::new(passing));
        }
        step
    }

    /// The request trailers: the body is complete.
    pub fn request_trailers(&mut self, vm: &mut Vm, host: &dyn Host) -> Step {
        self.request_body(vm, host, b"", true)
    }

    /// The response headers. `end`: there is no body.
    pub fn response_headers(
        &mut self,
        vm: &mut Vm,
        host: &dyn Host,
        headers: &Headers,
        end: bool,
    ) -> Step {
        match &mut self.0 {
            Phase::Sent(sent) => {
                let Sent { ticket, answer, .. } = sent;
                let answer = answer.get_or_insert_default();
                Step::with(answer.begin(ticket, vm, host, headers, end))
            }
            Phase::Session(open) => {
                open.via_upstream = host.code_details().as_deref() == Some(VIA_UPSTREAM);
                Step::go_on()
            }
            _ => Step::go_on(),
        }
    }

    /// The next bytes of the response body, each byte once. `end`: they are the last.
    pub fn response_body(
        &mut self,
        _vm: &mut Vm,
        _host: &dyn Host,
        chunk: &[u8],
        end: bool,
    ) -> Step {
        if let Phase::Sent(sent) = &mut self.0
            && let Some(answer) = &mut sent.answer
        {
            return Step::with(answer.push(chunk, end));
        }
        if let Phase::Session(open) = &mut self.0 {
            open.session.borrow_mut().pass(chunk.len());
        }
        Step::go_on()
    }

    /// The response trailers: the body is complete.
    pub fn response_trailers(&mut self, vm: &mut Vm, host: &dyn Host, trailers: &Headers) -> Step {
        if let Phase::Sent(sent) = &mut self.0
            && let Some(answer) = &mut sent.answer
        {
            answer.trailers(trailers);
        }
        self.response_body(vm, host, b"", true)
    }

    /// The end of the stream, however it ended. Further calls do nothing.
    pub fn end(&mut self, vm: &mut Vm, host: &dyn Host) -> Step {
        match std::mem::replace(&mut self.0, Phase::Over) {
            Phase::Sent(sent) => sent.end(vm, host),
            Phase::Session(open) => open.end(vm, host),
            Phase::AwaitingBody(_) => aborted(),
            Phase::New | Phase::Answered | Phase::Over => Step::go_on(),
        }
    }

    /// Whether bytes of the request body still matter. If not, the driver does not request them from the proxy.
    #[must_use]
    pub fn wants_request_body(&self) -> bool {
        match &self.0 {
            Phase::AwaitingBody(_) | Phase::Session(_) => true,
            Phase::Sent(sent) => sent.passing.is_some(),
            _ => false,
        }
    }

    /// Whether the filter answered the request. Nothing of it may go on, even if the reply could not be sent.
    #[must_use]
    pub fn answered(&self) -> bool {
        matches!(self.0, Phase::Answered)
    }

    /// Reports that more bytes of an unread response follow. Such a response comes from the upstream, because the proxy sends its own
    /// in one piece. Who sent a response of one piece is a property of the proxy, read at the end, which costs more.
    pub fn more_to_come(&mut self) {
        if let Phase::Sent(sent) = &mut self.0 {
            sent.via_upstream = true;
        }
    }

    /// Whether the beginning of the response matters. If not, [`Self::response_headers`] need not be called.
    #[must_use]
    pub fn wants_response(&self) -> bool {
        match &self.0 {
            Phase::Sent(sent) => sent.ticket.reads_answer(),
            Phase::Session(_) => true,
            _ => false,
        }
    }

    /// Whether the response headers matter. If not, empty ones may be passed.
    #[must_use]
    pub fn wants_response_headers(&self) -> bool {
        matches!(&self.0, Phase::Sent(sent) if sent.ticket.reads_headers())
    }

    /// Whether bytes of the response body matter. If not, the driver does not request them from the proxy.
    #[must_use]
    pub fn wants_response_body(&self) -> bool {
        match &self.0 {
            Phase::Sent(sent) => sent
                .answer
                .as_ref()
                .is_some_and(|answer| answer.wants_body()),
            Phase::Session(_) => true,
            _ => false,
        }
    }

    /// Whether the trailers of the response matter. If not, empty ones may be passed.
    #[must_use]
    pub fn wants_response_trailers(&self) -> bool {
        matches!(&self.0, Phase::Sent(sent) if sent.ticket.reads_trailers())
    }

    fn decided(&mut self, decision: Decision) -> Step {
        let (phase, effects, flow) = match decision {
            Decision::Pass(effects) => (Phase::Over, effects, Flow::Continue),
            Decision::Reply(effects, reply) => (Phase::Answered, effects, Flow::Reply(reply)),
            Decision::Forward(effects, ticket) => {
                let passing = ticket
                    .passing
                    .filter(|_| !ticket.admitted.charges.is_empty());
                let sent = Sent {
                    passing: passing.map(|prepaid| Box::new(Passing::of_bytes(prepaid))),
                    ticket,
                    answer: None,
                    via_upstream: false,
                };
                (Phase::Sent(sent), effects, Flow::Continue)
            }
        };
        self.0 = phase;
        Step { effects, flow }
    }
}

impl OpenSession {
    fn end(self, vm: &mut Vm, host: &dyn Host) -> Step {
        let details = match self.via_upstream {
            true => None,
            false => host.code_details(),
        };
        let basis = basis_of_unread_answer(host, self.via_upstream, details);
        let mut session = self.session.borrow_mut();
        let now = host.now();
        let mut effects = match basis {
            SettlementBasis::Unobserved => {
                session.charge(&mut vm.ledger, &mut vm.evictions, now, host)
            }
            _ => Vec::new(),
        };
        effects.extend(settle(&mut session.ticket, &basis, None, vm, host));
        Step::with(effects)
    }
}

impl Sent {
    /// The next bytes of the request body pass.
    fn request_body(&mut self, vm: &mut Vm, host: &dyn Host, chunk: &[u8]) -> Vec<Effect> {
        match &mut self.passing {
            Some(passing) => passing.push(chunk, &mut self.ticket, vm, host),
            None => Vec::new(),
        }
    }

    fn end(mut self, vm: &mut Vm, host: &dyn Host) -> Step {
        if let Some(passing) = self.passing.take() {
            passing.end(&mut self.ticket);
        }
        if let Some(answer) = self.answer.as_ref().filter(|_| self.ticket.continues) {
            answer.record_response(&self.ticket, host);
        }
        let charged = !self.ticket.admitted.charges.is_empty();
        match self.answer.take() {
            Some(answer) if charged => {
                let metered_in_shadow = self.ticket.metered_only_in_shadow();
                let unmetered = metered_in_shadow.then(|| answer.unmetered_basis(host));
                let basis = answer.basis(host);
                let ticket = &mut self.ticket;
                Step::with(settle(ticket, &basis, unmetered.as_ref(), vm, host))
            }
            None if charged || self.ticket.learns => self.end_unread(charged, vm, host),
            _ => Step::go_on(),
        }
    }

    /// The end of a stream whose response was not read.
    #[inline(never)]
    fn end_unread(mut self, charged: bool, vm: &mut Vm, host: &dyn Host) -> Step {
        let details = match self.via_upstream {
            true => None,
            false => host.code_details(),
        };
        let learnt = self.learn(details.as_deref(), vm, host);
        if !charged {
            return Step::with(learnt);
        }
        let basis = basis_of_unread_answer(host, self.via_upstream, details);
        let mut effects = settle(&mut self.ticket, &basis, None, vm, host);
        if !learnt.is_empty() {
            effects.extend(learnt);
        }
        Step::with(effects)
    }

    /// Records whether the version was reached, from a response that was not read.
    fn learn(&self, details: Option<&str>, vm: &mut Vm, host: &dyn Host) -> Vec<Effect> {
        let answered = self.via_upstream || details == Some(VIA_UPSTREAM);
        if !self.ticket.learns || (answered && !vm.outages.any()) {
            return Vec::new();
        }
        let details = self.via_upstream.then_some(VIA_UPSTREAM).or(details);
        learn_of(&self.ticket, details, vm, host)
    }
}

/// The class of a request, by the APIs of its namespace. The namespace is looked up only where namespaces serve different APIs.
fn class_of(vm: &Vm, host: &dyn Host, headers: &Headers) -> (Class, PathNames) {
    let Some(config) = &vm.config else {
        return classify(headers, &ServedApis::default());
    };
    let class = classify(headers, &config.served);
    if config.same_apis || class.0 == Class::Other {
        return class;
    }
    match config.place(host) {
        Place::Namespace(namespace) => classify(headers, &namespace.served),
        Place::Unknown | Place::Elsewhere => class,
    }
}

/// The client left before a decision.
#[cold]
fn aborted() -> Step {
    let left = metrics::requests("", "unknown", "", "", "aborted");
    Step::with(vec![Effect::Count(left, 1)])
}

/// The names of fields, and the reader of their values.
type FieldReader = (Rc<[BodyPath]>, Capture);

/// The fields that a body has, with their values.
fn captured((names, fields): FieldReader) -> Vec<(BodyPath, String)> {
    let values = fields.values().into_iter();
    let fields = names.iter().zip(values);
    fields
        .filter_map(|(name, value)| Some((name.clone(), value?)))
        .collect()
}

impl Reading {
    #[inline(never)]
    fn new(
        (class, names): (Class, PathNames),
        scanner: BodyScanner,
        headers: Headers,
        max: u32,
        namespace: Rc<str>,
        fields: Option<FieldReader>,
    ) -> Box<Self> {
        Box::new(Self {
            headers,
            namespace,
            class,
            names,
            scanner,
            fields,
            room: usize::try_from(max).unwrap_or(usize::MAX),
            max,
        })
    }

    /// Whether a body with these headers can be read. If only a part of it is held, it may have any length.
    fn readable(&self) -> Result<(), Box<Refusal>> {
        let max = self.max;
        if self.headers.encoded() {
            return Err(Refusal::BodyEncoded.into());
        }
        match self.headers.content_length() {
            Some(length) if length > u64::from(max) && self.scanner.holds_all() => {
                Err(Refusal::BodyTooLarge { max }.into())
            }
            _ => Ok(()),
        }
    }

    /// Reads up to the size limit. Errors within the limit are reported first, however the bytes are split. Bytes after the deciding part do not
    /// count against the limit.
    fn push(&mut self, chunk: &[u8]) -> Result<(), Box<Refusal>> {
        let within = chunk.len().min(self.room);
        self.scanner.push(&chunk[..within]);
        if let Some((_, fields)) = &mut self.fields {
            fields.push(&chunk[..within]);
        }
        self.room -= within;
        if let Some(error) = self.scanner.error() {
            return Err(Refusal::Body(error.clone()).into());
        }
        let beyond = chunk.get(within..).unwrap_or_default();
        if self.scanner.decided() {
            self.scanner.push(beyond);
        } else if !beyond.is_empty() {
            return Err(Refusal::BodyTooLarge { max: self.max }.into());
        }
        Ok(())
    }

    /// Bytes of the body that were read and are JSON, if it is.
    fn held(&self) -> usize {
        let max = usize::try_from(self.max).unwrap_or(usize::MAX);
        let read = max.saturating_sub(self.room);
        let json = self.scanner.json_length().unwrap_or(u64::MAX);
        read.min(usize::try_from(json).unwrap_or(usize::MAX))
    }

    fn finish(&mut self, vm: &mut Vm, host: &dyn Host) -> Decision {
        let body = match self.scanner.finish() {
            Ok(body) => body,
            Err(error) => return self.refuse(vm, host, Refusal::Body(error).into()),
        };
        let captured = self.fields.take().map(captured).unwrap_or_default();
        let request = Request {
            headers: &self.headers,
            body: Some(&body),
            held: self.held(),
            captured: &captured,
            class: self.class,
            names: &self.names,
            namespace: Some(&self.namespace),
            waited: true,
        };
        let mut decision = decide(vm, host, request);
        if let Decision::Forward(effects, ticket) = &mut decision {
            let mut splices = match ticket.rename.take() {
                Some(name) => self.scanner.renaming(&name),
                None => Vec::new(),
            };
            if let Some(splice) = self.scanner.usage_option()
                && ticket.admitted.requests_usage()
                && !self.headers.signed()
                && !vm.usage_refusals.contains(&ticket.served())
            {
                ticket.usage_requested = true;
                splices.push(splice);
            }
            if !splices.is_empty() {
                splices.sort_by_key(|splice| splice.at);
                effects.push(self.amend(splices));
            }
        }
        decision
    }

    /// Amends the body of the request.
    #[inline(never)]
    fn amend(&self, splices: Vec<Splice>) -> Effect {
        let length = self.headers.content_length();
        let length = length.map(|length| Splice::length_after(&splices, length));
        Effect::AmendRequestBody(splices, length)
    }

    fn refuse(&self, vm: &mut Vm, host: &dyn Host, refusal: Box<Refusal>) -> Decision {
        let request = Request {
            namespace: Some(&self.namespace),
            ..Request::of_headers(&self.headers, self.class, &self.names)
        };
        refuse_unread(vm, host, request, self.scanner.model(), refusal)
    }
}
