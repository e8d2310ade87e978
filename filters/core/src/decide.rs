//! The decision about a request, once its headers and, where it matters, its body are known.
//!
//! facts → namespace → model → tenant → pin or pick → reserve → effects. A request is refused before any reserve, unless
//! the reserve itself refuses it. The decision is returned, and the stream keeps only the [`Ticket`].

mod choice;
mod reach;
mod reservation;
mod tenant;
mod unserved;

use std::cell::OnceCell;
use std::rc::Rc;

use headgate_contract::{Bodies, BodyPath, Role, Tagging, UnknownEndpoints, names};
use headgate_dialect::{Api, Body, Operation, Price};

use crate::attributes::Attributes;
use crate::compiled::{Compiled, Model, Namespace, Place, Rules};
use crate::decision::{Decision, Ticket};
use crate::effects::{Effect, Text};
use crate::endpoint::{self, Class, PathNames};
use crate::facts::Facts;
use crate::headers::Headers;
use crate::host::Host;
use crate::labels::{Labels, UNKNOWN};
use crate::limit::{Admitted, Denied, ReserveInput};
use crate::metrics::{self, Metric, Series};
use crate::outcome::{is_grpc, refuse_unknown};
use crate::pick::{self, Version};
use crate::refusal::Refusal;
use crate::tag_rules::{Matched, tag_names};
use crate::tags::{self, HEADER_LANE, Tags, Value};
use crate::tenants::Counted;
use crate::vm::Vm;
use choice::Chosen;
use unserved::{model_mismatch, not_found, not_ready, same_model};

pub(crate) use unserved::unmetered;

const ADMITTED: &str = "admitted";
/// A tag that is not written.
const NONE: Value<'static> = Value::Fixed("");

/// The known properties of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) body: Option<&'a Body>,
    /// Bytes of the body that are held and are JSON, if it is.
    pub(crate) held: usize,
    /// The fields of the body that attributes name, as far as the body has them.
    pub(crate) captured: &'a [(BodyPath, String)],
    pub(crate) class: Class,
    /// What its path names.
    pub(crate) names: &'a PathNames,
    /// Its namespace, where that was looked up before the body was read.
    pub(crate) namespace: Option<&'a str>,
    /// It was held for its body. Since then, a filter before this one may have written headers.
    pub(crate) waited: bool,
}

impl<'a> Request<'a> {
    /// A request without a body, or whose body is not read.
    pub(crate) fn of_headers(headers: &'a Headers, class: Class, names: &'a PathNames) -> Self {
        Self {
            headers,
            body: None,
            held: 0,
            captured: &[],
            class,
            names,
            namespace: None,
            waited: false,
        }
    }
}

/// Whether this hop decides what the request is, with this configuration and these stages.
pub(crate) fn decides(config: &Compiled) -> bool {
    config.stages.tag && config.role == Role::Decide
}

/// Whether bodies matter, for the pick or for a cost.
pub(crate) fn reads_bodies(config: &Compiled) -> bool {
    config.bodies == Bodies::Read && (decides(config) || config.limits)
}

/// Decides about a request whose headers and, if needed, body are complete. Reserves its cost if it is admitted.
pub(crate) fn decide(vm: &mut Vm, host: &dyn Host, request: Request<'_>) -> Decision {
    with_config(vm, host, request, |decider, vm| decider.run(vm))
}

/// Refuses a request whose body could not be read. `model`: the model's name in the part of the body that was read.
#[cold]
pub(crate) fn refuse_unread(
    vm: &mut Vm,
    host: &dyn Host,
    request: Request<'_>,
    model: Option<&str>,
    refusal: Box<Refusal>,
) -> Decision {
    with_config(vm, host, request, |decider, vm| {
        let Place::Namespace(namespace) = decider.place() else {
            let dialect = request.class.dialect();
            return refuse_unknown(refusal, dialect, request.headers, &mut vm.tenants);
        };
        let labels = Labels {
            namespace: &namespace.name,
            ..Labels::default()
        };
        let denied: Box<Denied> = refusal.into();
        decider.denied(vm, namespace, &denied, labels, model)
    })
}

fn with_config(
    vm: &mut Vm,
    host: &dyn Host,
    request: Request<'_>,
    decide: impl FnOnce(&Decider<'_>, &mut Vm) -> Decision,
) -> Decision {
    let Some(config) = vm.config.clone() else {
        let refusal = Refusal::NotConfigured.into();
        let dialect = request.class.dialect();
        return refuse_unknown(refusal, dialect, request.headers, &mut vm.tenants);
    };
    let decider = Decider {
        tagging: decides(&config),
        config: &config,
        host,
        request,
    };
    decide(&decider, vm)
}

/// Whether requests of an operation do not name their model themselves.
fn names_no_model(operation: &Operation) -> bool {
    let silent = !operation.endpoint.reads_body() && operation.api != Api::Infer;
    silent || !operation.api.names_model()
}

/// Whether a header names the model.
fn names_model(headers: &Headers) -> bool {
    headers
        .get(names::HEADER_MODEL)
        .is_some_and(|name| !name.is_empty())
}

struct Decider<'a> {
    config: &'a Compiled,
    host: &'a dyn Host,
    request: Request<'a>,
    /// This hop picks the version, writes tags and removes those of the client.
    tagging: bool,
}

/// The model of a request and its rules; for a model that is not in the plan, the rules for all models.
#[derive(Clone, Copy)]
struct Subject<'a> {
    model: Option<&'a Model>,
    rules: &'a Rules,
}

impl<'a> Decider<'a> {
    fn run(&self, vm: &mut Vm) -> Decision {
        let headers = self.request.headers;
        match self.request.class {
            Class::Other => return self.pass(),
            Class::Health if !names_model(headers) => return self.pass(),
            class
                if class.reads_body()
                    && self.config.bodies == Bodies::Never
                    && self.request.names.model.is_none()
                    && !names_model(headers) =>
            {
                return self.pass_unread();
            }
            // Only the hop that decides refuses these. The next hop leaves them to the routes.
            Class::Health | Class::Preflight | Class::WrongMethod { .. } | Class::Unlisted(_)
                if !self.tagging =>
            {
                return Decision::Pass(Vec::new());
            }
            _ => {}
        }
        let namespace = match self.place() {
            Place::Namespace(namespace) => namespace,
            Place::Unknown => return self.no_namespace(vm),
            Place::Elsewhere => return unmetered(),
        };
        let mut labels = Labels {
            namespace: &namespace.name,
            ..Labels::default()
        };
        let decision = match self.request.class {
            Class::Models(dialect) => self.models(namespace, dialect, labels),
            Class::Preflight | Class::WrongMethod { .. } | Class::Unlisted(_) => {
                Err(self.not_served().into())
            }
            Class::Unknown { reads: false } if self.denies_unknown(namespace) => {
                Err(self.not_served().into())
            }
            _ => self.serve(vm, namespace, &mut labels),
        };
        decision.unwrap_or_else(|denied| self.denied(vm, namespace, &denied, labels, None))
    }

    /// Where the request belongs.
    fn place(&self) -> Place<'a> {
        let known = self.request.namespace;
        match known.and_then(|name| self.config.namespace(name)) {
            Some(namespace) => Place::Namespace(namespace),
            None => self.config.place(self.host),
        }
    }

    fn serve(
        &self,
        vm: &mut Vm,
        namespace: &'a Namespace,
        labels: &mut Labels<'a>,
    ) -> Result<Decision, Box<Denied>> {
        let headers = self.request.headers;
        let endpoint = self.request.class.endpoint();
        let mut facts = Facts::read(endpoint, headers, self.request.body, self.request.names)?;
        let passing = self.passing(namespace);
        if let Some(prepaid) = passing {
            facts.prompt_bytes = prepaid;
        }
        match endpoint.price() {
            Price::Batch => facts.prompt_tokens = namespace.served.batch_tokens.into(),
            Price::Session => {
                facts.prompt_tokens = namespace.served.realtime.tokens_per_minute.into();
            }
            Price::Facts | Price::Bytes => {}
        }
        let subject = self.subject(namespace, &facts)?;
        let id = subject.model.map_or("", |m| &*m.id);
        if let Some(model) = subject.model
            && self.config.role == Role::Decide
            && !model.picker.ready()
        {
            return Err(not_ready(model).into());
        }
        let tagging = &subject.rules.tagging;
        let mut attributes = self.attributes(Some(&facts));
        attributes.model = id;
        let tenant = self.tenant(tagging, &attributes)?;
        attributes.tenant = tenant.as_deref().unwrap_or_default();
        let mut effects = Vec::with_capacity(16);
        labels.model = subject.model.map_or(UNKNOWN, |m| &*m.id);
        self.check_schema(subject, labels.model)?;
        let tenant_name = tenant.as_deref();
        let session = OnceCell::new();
        let matched = self.matched(subject, &attributes, &session)?;
        let chosen = Chosen {
            rule: matched.as_ref().map(|matched| matched.rule),
            session: &session,
        };
        let (version, lane) =
            self.version(vm, subject, chosen, &attributes, *labels, &mut effects)?;
        let rename = self.rename(version, &facts, &mut effects)?;
        let series = version.map(|version| Rc::clone(vm.counters.version(version)));
        labels.version = pick::label(version);
        labels.lane = lane;
        let (own, left_out) = own_tags(tagging, matched.as_ref(), headers);
        if left_out > 0 {
            effects.push(left_out_of(
                TAG_VALUES_LEFT_OUT,
                labels,
                series.as_ref(),
                left_out,
            ));
        }
        let tags = self.tagging.then(|| Tags {
            fixed: [
                subject.model.map_or(NONE, |m| Value::Shared(&m.id)),
                version.map_or(NONE, |v| Value::Shared(&v.name)),
                Value::Fixed(lane),
                tenant.as_ref().map_or(NONE, Value::Shared),
            ],
            own,
        });
        let input = ReserveInput {
            facts: &facts,
            attributes: &attributes,
            tags: tags.as_ref(),
            version,
            max_tokens: facts.output(
                subject
                    .model
                    .map_or_else(Default::default, |m| m.default_max_tokens),
            ),
            // The clock, and so the live scale, is read only if a bucket applies.
            percent: 100,
            keeps: self.keeps_reservation(namespace),
        };
        let (admitted, forwarded_ns) = match self.is_charged(namespace) {
            true => self.reserve(vm, subject, input, series.as_ref(), &mut effects)?,
            false => (Admitted::nothing(), 0),
        };
        match &tags {
            Some(tags) => {
                let size = || self.host.request_headers_size();
                let sent = tags::Sent {
                    headers,
                    current: !self.request.waited || size() == Some(headers.size()),
                };
                let left_out = tags::write(tags, sent, tagging, &mut effects);
                if left_out > 0 {
                    effects.push(left_out_of(
                        BAGGAGE_LEFT_OUT,
                        labels,
                        series.as_ref(),
                        left_out,
                    ));
                }
            }
            None => {
                if self.distrusts_tenant(tagging) {
                    tags::replace_tenant(headers, tenant_name, &mut effects);
                }
                if self.config.stages.tag && tagging.filter_state {
                    self.log_previous_hop(tagging, tenant.as_ref(), &mut effects);
                }
            }
        }
        effects.push(Effect::Count(admitted_requests(labels, series.as_ref()), 1));
        let tenant = tagging.tenant_metrics.map(|metrics| {
            let (most, counted) = (metrics.max_tenants, Counted::Request(ADMITTED));
            let named = tenant.as_deref();
            let metric = vm.tenants.metric(&namespace.name, most, named, counted);
            effects.push(Effect::Count(metric, 1));
            (tenant.clone(), most)
        });
        let shows_balance = tagging.response_headers;
        let tag_answer = self.config.stages.tag && shows_balance && !id.is_empty();
        let ticket = Box::new(Ticket {
            endpoint,
            namespace: Rc::clone(&namespace.name),
            model: subject.model.map_or(UNKNOWN.into(), |m| Rc::clone(&m.id)),
            version: version.map(Rc::clone),
            series,
            learns: self.tagging && version.is_some_and(|v| v.has_others),
            tag_answer,
            shows_balance: shows_balance && admitted.has_balance(),
            admitted,
            forwarded_ns,
            usage_requested: false,
            rename,
            grpc: is_grpc(headers),
            session: (endpoint.price() == Price::Session).then_some(namespace.served.realtime),
            passing,
            counts_bytes: self.is_unknown() && namespace.served.unknown == UnknownEndpoints::Bytes,
            continues: self.tagging && endpoint.continues(),
            tenant,
        });
        Ok(Decision::Forward(effects, ticket))
    }

    /// The values of the request, still without its tenant and its model.
    fn attributes<'f>(&self, facts: Option<&'f Facts<'f>>) -> Attributes<'f>
    where
        'a: 'f,
    {
        Attributes {
            headers: self.request.headers,
            class: self.request.class,
            facts,
            stream: self.request.body.and_then(|body| body.stream),
            captured: self.request.captured,
            host: self.host,
            tenant: "",
            model: "",
        }
    }

    /// The model. A hop that does not decide limits unknown models by the rules for all models.
    fn subject(
        &self,
        namespace: &'a Namespace,
        facts: &Facts<'_>,
    ) -> Result<Subject<'a>, Box<Refusal>> {
        let hop = match self.config.role {
            Role::Decide => None,
            Role::Follow => self.previous_hop_header(names::HEADER_MODEL),
        };
        let named = hop.or(facts.model());
        let name = named.or_else(|| self.only_model(namespace));
        if name.is_none() && self.config.role == Role::Decide {
            return Err(self.model_missing());
        }
        let model = name.and_then(|name| namespace.model(name));
        if let (Role::Decide, Some(body), Some(header)) =
            (self.config.role, facts.named_model(), facts.header_model)
            && body != header
            && !same_model(model, namespace.model(header))
        {
            return Err(model_mismatch(body, header));
        }
        match (model, name) {
            (None, Some(name)) if self.tagging => Err(not_found(name)),
            _ => Ok(Subject {
                model,
                rules: model.map_or(&namespace.rest, |m| &m.rules),
            }),
        }
    }

    /// Checks the body against the schema of its operation and its model.
    fn check_schema(&self, subject: Subject<'_>, model: &str) -> Result<(), Box<Refusal>> {
        let (Some(schemas), Class::Call(operation)) = (&subject.rules.schemas, self.request.class)
        else {
            return Ok(());
        };
        if !self.tagging || self.request.body.is_none() {
            return Ok(());
        }
        schemas.check(operation.name, model, self.host, self.request.held)
    }

    /// The only model of the namespace, for an API whose requests do not name their model.
    fn only_model(&self, namespace: &'a Namespace) -> Option<&'a str> {
        match (self.request.class, namespace.models()) {
            (Class::Call(operation), [only]) if names_no_model(operation) => Some(&only.id),
            _ => None,
        }
    }

    /// Whether the request is charged.
    fn is_charged(&self, namespace: &Namespace) -> bool {
        let free = namespace.served.unknown == UnknownEndpoints::Free;
        self.request.class.is_charged() && !(free && self.is_unknown())
    }

    fn is_unknown(&self) -> bool {
        matches!(self.request.class, Class::Unknown { .. })
    }

    /// The model name that the servers of the version want in the body, if it differs from the client's. A name in the path is replaced at
    /// once.
    fn rename(
        &self,
        version: Option<&Rc<Version>>,
        facts: &Facts<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<Rc<str>>, Box<Refusal>> {
        let served = version.and_then(|version| version.served_name.as_ref());
        let (Some(served), Some(written), true) = (served, facts.named_model(), self.tagging)
        else {
            return Ok(None);
        };
        if **served == *written {
            return Ok(None);
        }
        if let Some(header) = self.request.headers.signature() {
            return Err(Refusal::BodySigned { header }.into());
        }
        let Class::Call(operation) = self.request.class else {
            return Ok(None);
        };
        if facts.path_model.is_some() {
            let path = self.request.headers.get(":path").unwrap_or_default();
            let renamed = endpoint::renamed(path, operation, served, self.request.names);
            effects.push(Effect::SetRequestHeader(":path".into(), renamed.into()));
            return Ok(None);
        }
        let digests = self.request.headers.digests();
        effects.extend(digests.map(|name| Effect::RemoveRequestHeader(name.into())));
        Ok(Some(Rc::clone(served)))
    }

    /// Bytes of the body that the reservation covers, if the body is charged by its bytes as it passes.
    fn passing(&self, namespace: &Namespace) -> Option<u64> {
        let by_bytes = match self.request.class {
            Class::Call(operation) => operation.endpoint.price() == Price::Bytes,
            Class::Unknown { .. } => namespace.served.unknown == UnknownEndpoints::Bytes,
            _ => false,
        };
        let length = || self.request.headers.content_length().unwrap_or_default();
        (by_bytes && self.is_charged(namespace)).then(length)
    }

    /// Whether the reservation is the charge, whatever the answer says.
    fn keeps_reservation(&self, namespace: &Namespace) -> bool {
        let unknown = namespace.served.unknown == UnknownEndpoints::Reservation;
        let background = self.request.body.is_some_and(|body| body.background);
        let batch = self.request.class.endpoint().price() == Price::Batch;
        background || batch || (unknown && self.is_unknown())
    }

    /// Whether this hop refuses a path that no API knows.
    fn denies_unknown(&self, namespace: &Namespace) -> bool {
        self.tagging && namespace.served.unknown == UnknownEndpoints::Deny
    }

    /// A header that the previous hop wrote.
    #[inline(never)]
    fn previous_hop_header(&self, name: &str) -> Option<&'a str> {
        self.request.headers.text(name)
    }

    /// Writes the decision of the previous hop to the filter state, for this hop's access log.
    #[inline(never)]
    fn log_previous_hop(
        &self,
        tagging: &Tagging,
        tenant: Option<&Rc<str>>,
        effects: &mut Vec<Effect>,
    ) {
        let headers = self.request.headers;
        let clean = |name: &str| headers.get(name).map(tags::clean).unwrap_or_default();
        let names = tagging.tags.iter().map(|tag| tag.name.as_str());
        let mut names: Vec<&str> = names.chain(tag_names(&tagging.rules)).collect();
        names.sort_unstable();
        names.dedup();
        let own = names.into_iter().map(|name| {
            let value = clean(&format!("{}{name}", names::TAG_HEADER_PREFIX));
            (name, value.into())
        });
        let [model, version, lane] =
            [names::HEADER_MODEL, names::HEADER_VERSION, HEADER_LANE].map(clean);
        let tags = Tags {
            fixed: [
                Value::Copied(&model),
                Value::Copied(&version),
                Value::Copied(&lane),
                tenant.map_or(NONE, Value::Shared),
            ],
            own: own.collect(),
        };
        tags::state(&tags, effects);
    }
}

/// The counter of a request that is forwarded.
fn admitted_requests(labels: &Labels<'_>, series: Option<&Rc<Series>>) -> Metric {
    let render = || labels.requests(ADMITTED);
    metrics::of_series(series, ADMITTED, labels.lane, render)
}

const BAGGAGE_LEFT_OUT: &str = "baggage_members_left_out_total";
const TAG_VALUES_LEFT_OUT: &str = "tag_values_left_out_total";

#[cold]
fn left_out_of(
    name: &'static str,
    labels: &Labels<'_>,
    series: Option<&Rc<Series>>,
    count: u64,
) -> Effect {
    let render = || metrics::by_version(name, labels.model, labels.version);
    Effect::Count(metrics::of_series(series, name, "", render), count)
}

/// The own tags of a request, and how many values were left out. The tags of its rule replace those of the same name.
fn own_tags<'a>(
    tagging: &'a Tagging,
    matched: Option<&Matched<'a>>,
    headers: &Headers,
) -> (Vec<(&'a str, Text)>, u64) {
    let mut own = tags::own(tagging, headers);
    let mut left_out = 0;
    for (name, value) in matched.into_iter().flat_map(Matched::tags) {
        own.retain(|(known, _)| *known != name);
        match value {
            Some(value) => own.push((name, value)),
            None => left_out += 1,
        }
    }
    (own, left_out)
}
