//! Reserve of a request: the price in every bucket, then all buckets or none. An admitted request carries what its settlement needs.
//!
//! Buckets in shadow mode come last, each alone, after the other buckets admitted the request. So each is charged as if it were the
//! only bucket, and has no effect on the others.

mod denied;

use std::borrow::Cow;
use std::rc::Rc;

use headgate_contract::{Attribute, SettleOn};
use headgate_dialect::Passed;

use crate::attributes::Attributes;
use crate::compiled::Limit;
use crate::cost::{Parts, Pricing, Quote, Work, tokens_of_bytes};
use crate::facts::{Facts, MaxTokens, single};
use crate::host::Host;
use crate::ledger::{BucketCost, Fingerprint, Reservations, Rule};
use crate::metrics::Series;
use crate::overrides::Capacity;
use crate::pick::{self, Version};
use crate::ratelimit_headers::{self, BucketStatus};
use crate::refusal::Refusal;
use crate::tags::{HEADER_TENANT, Tags, encoded};
use crate::vm::Vm;
use denied::{denied, never, suspended};

/// The properties that decide the price and the bucket of a request.
#[derive(Clone, Copy)]
pub(crate) struct ReserveInput<'a> {
    pub(crate) facts: &'a Facts<'a>,
    /// With the tenant, and the model's id; empty for a model outside the plan, so that all of them share one bucket.
    pub(crate) attributes: &'a Attributes<'a>,
    /// The tags that this hop writes. They count instead of what the client sent in their headers.
    pub(crate) tags: Option<&'a Tags<'a>>,
    pub(crate) version: Option<&'a Rc<Version>>,
    /// Live capacity, in percent.
    pub(crate) percent: u16,
    /// Tokens that the request may generate per sequence.
    pub(crate) max_tokens: MaxTokens,
    /// The reservation is the charge, whatever the answer says.
    pub(crate) keeps: bool,
}

/// A request that is admitted.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) held: Reservations,
    /// In the order of `held`: first the buckets that limit requests, then those in shadow mode.
    pub(crate) charges: Vec<Charge>,
    /// The buckets in shadow mode that would have refused the request.
    pub(crate) would_limit: Vec<Rc<Limit>>,
}

/// The input of the reserve and of the settlement of one bucket.
#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) limit: Rc<Limit>,
    /// The rule and the prices of its key.
    pub(crate) rule: Rule,
    pub(crate) pricing: Pricing,
    pub(crate) series: Rc<Series>,
    /// The bucket.
    key: Fingerprint,
    pub(crate) quote: Quote,
    pub(crate) percent: u16,
    pub(crate) temperature: u64,
    pub(crate) n: u64,
    pub(crate) prompts: u64,
    /// The prompt's tokens, as estimated before usage.
    pub(crate) input: u64,
    /// Most tokens that the body allows, over all sequences; `None` if it sets no limit.
    pub(crate) most: Option<u64>,
    /// Whether the response holds generated tokens. If not, only the input is charged.
    pub(crate) generates: bool,
    /// The reservation is the charge, whatever the answer says.
    pub(crate) keeps: bool,
    /// The cells of the first reservation, without later additions.
    pub(crate) first_cells: u64,
}

/// A request that is denied.
#[derive(Debug)]
pub(crate) struct Denied {
    /// The bucket that denied it; `None` if the request itself is invalid.
    pub(crate) limit: Option<Rc<Limit>>,
    pub(crate) refusal: Box<Refusal>,
}

impl From<Box<Refusal>> for Box<Denied> {
    fn from(refusal: Box<Refusal>) -> Self {
        Self::new(Denied {
            limit: None,
            refusal,
        })
    }
}

/// Reserves in every bucket, or in none; in a bucket in shadow mode, if it has enough.
pub(crate) fn reserve(
    vm: &mut Vm,
    limits: &[Rc<Limit>],
    request: &ReserveInput<'_>,
    now: u64,
    host: &dyn Host,
) -> Result<Admitted, Box<Denied>> {
    let version = request.version.map(|version| &*version.name);
    let mut charges = Vec::with_capacity(limits.len());
    let applies = |limit: &&Rc<Limit>| limit.is_for(version);
    for limit in limits.iter().filter(applies).filter(|l| !l.shadow) {
        charges.push(charge(limit, request, vm)?);
    }
    let costs = charges.iter().map(Charge::bucket_cost);
    let mut admitted = match vm.ledger.reserve(costs, now, host) {
        Ok(held) => Admitted {
            held,
            charges,
            would_limit: Vec::new(),
        },
        Err(refused) => return Err(denied(&charges, &refused, request.facts.endpoint.costs())),
    };
    for limit in limits.iter().filter(applies).filter(|l| l.shadow) {
        admitted.reserve_in_shadow(limit, request, vm, now, host);
    }
    Ok(admitted)
}

fn charge(
    limit: &Rc<Limit>,
    request: &ReserveInput<'_>,
    vm: &mut Vm,
) -> Result<Charge, Box<Denied>> {
    let facts = request.facts;
    let (rule, pricing) = rule_and_pricing(limit, request)?;
    let input = tokens_of_bytes(facts.prompt_bytes, limit.bytes_per_token)
        .saturating_add(facts.prompt_tokens);
    let quote = quote(&pricing, request, input);
    if quote.cost > quote.unscaled {
        return Err(never(limit, &quote, facts.endpoint.costs()));
    }
    Ok(Charge {
        key: fingerprint(limit, request)?,
        first_cells: quote.cells(rule.window()),
        quote,
        limit: limit.clone(),
        rule: rule.clone(),
        pricing,
        series: Rc::clone(vm.counters.limit(limit, request.version)),
        percent: request.percent,
        temperature: facts.temperature,
        n: facts.n,
        prompts: facts.prompts,
        input,
        most: facts
            .output_limit()
            .map(|most| most.saturating_mul(facts.n)),
        generates: facts.endpoint.generates(),
        keeps: limit.settle_on == SettleOn::Reservation || request.keeps,
    })
}

/// The rule and the pricing of the bucket's key: those of its override, if there is one.
fn rule_and_pricing<'a>(
    limit: &'a Rc<Limit>,
    request: &ReserveInput<'_>,
) -> Result<(&'a Rule, Pricing), Box<Denied>> {
    let (rule, pricing) = (&limit.rule, limit.pricing);
    let Some(overrides) = &limit.overrides else {
        return Ok((rule, pricing));
    };
    let own = overrides.find(rule, &|part| value(part, request))?;
    match own {
        None => Ok((rule, pricing)),
        Some(Capacity::Tokens(capacity, own)) => Ok((
            own.as_ref().unwrap_or(rule),
            pricing.with_capacity(*capacity),
        )),
        Some(Capacity::Scaled(factor)) => Ok((rule, pricing.scaled(*factor))),
        Some(Capacity::Suspended(reason)) => Err(suspended(limit, reason.as_deref())),
    }
}

/// The price of the requested work.
fn quote(pricing: &Pricing, request: &ReserveInput<'_>, input: u64) -> Quote {
    let (facts, max_tokens) = (request.facts, request.max_tokens);
    let quote = |tokens: u64| {
        let work = Work {
            input,
            output: facts.n.saturating_mul(tokens),
            n: facts.n,
            parts: Parts::default(),
        };
        pricing.announced(work, facts.temperature, request.percent)
    };
    let mut quoted = quote(match pricing {
        Pricing::Tokens { .. } => max_tokens.tokens,
        // A request that generates nothing still counts as a request.
        Pricing::Semantic { .. } => max_tokens.tokens.max(1),
    });
    // A default takes at most the capacity: only a prompt that does not fit by itself is too large.
    if max_tokens.at_most_capacity && quoted.cost > quoted.capacity && fits(&quote(0)) {
        quoted.cost = quoted.capacity;
    }
    quoted
}

fn fits(quote: &Quote) -> bool {
    quote.cost <= quote.capacity
}

fn fingerprint(limit: &Limit, request: &ReserveInput<'_>) -> Result<Fingerprint, Box<Refusal>> {
    let mut key = limit.rule.key();
    for part in &limit.key {
        key.part(&value(part, request)?);
    }
    Ok(key.finish())
}

/// The value of a part of a key.
fn value<'a>(part: &Attribute, request: &ReserveInput<'a>) -> Result<Cow<'a, str>, Box<Refusal>> {
    Ok(match part {
        Attribute::Version => pick::label(request.version).into(),
        // What the client sent under this name is not its tenant.
        Attribute::Header(name) if name.as_str() == HEADER_TENANT => {
            request.attributes.tenant.into()
        }
        Attribute::Header(name) => return header(name.as_str(), request),
        // The tenant is encoded already.
        Attribute::Tenant => request.attributes.tenant.into(),
        part => match request.attributes.value(part)? {
            Some(value) => encoded(value.as_bytes()).into_owned().into(),
            None => "".into(),
        },
    })
}

/// The value of a header in a key: what this hop writes, else what was sent.
#[inline(never)]
fn header<'a>(name: &str, request: &ReserveInput<'a>) -> Result<Cow<'a, str>, Box<Refusal>> {
    match request.tags.and_then(|tags| tags.header(name)) {
        Some(written) => Ok(written.into()),
        None => {
            let sent = single(request.attributes.headers, name)?;
            Ok(encoded(sent.unwrap_or_default()))
        }
    }
}

impl Charge {
    fn bucket_cost(&self) -> BucketCost<'_> {
        BucketCost {
            rule: &self.rule,
            key: self.key,
            cost: self.quote.cost,
            capacity: self.quote.capacity,
            unscaled_capacity: self.quote.unscaled,
        }
    }

    /// Whether the response has to be read to settle it.
    fn meters(&self) -> bool {
        self.limit.meters() && !self.keeps
    }

    /// Adds to the prompt. Returns the cells that this costs. (`semantic` has no price for a prompt: there, a further message costs as
    /// much as the first.)
    pub(crate) fn add_input(&mut self, passed: Passed) -> u64 {
        let before = self.price(self.input, 0);
        let tokens = tokens_of_bytes(passed.bytes, self.limit.bytes_per_token);
        self.input = self
            .input
            .saturating_add(tokens)
            .saturating_add(passed.tokens);
        match self.pricing {
            Pricing::Tokens { .. } => self.price(self.input, 0).saturating_sub(before),
            Pricing::Semantic { .. } => self.first_cells.saturating_mul(passed.messages),
        }
    }

    /// A number of cells in thousandths of the bucket's unit.
    pub(crate) fn milli(&self, cells: u64) -> u64 {
        self.quote.milli_units(self.rule.window(), cells)
    }

    /// Nanoseconds of the bucket's time in thousandths of its unit.
    pub(crate) fn milli_of_ns(&self, ns: u64) -> u64 {
        self.milli(ns / self.rule.window().period().max(1))
    }

    /// The window of the policy in whole ns. (`span` is up to 7200 cells longer, which a client would read as another second.)
    fn policy_window(&self) -> u64 {
        let (numerator, denominator) = self.rule.window().exact();
        u64::try_from(numerator.div_ceil(denominator)).unwrap_or(u64::MAX)
    }

    fn status(&self, remaining: u64, limit: u64, reset_ns: u64) -> BucketStatus {
        BucketStatus {
            bucket: self.limit.bucket.clone(),
            kind: self.pricing.kind(),
            limit: self.milli(limit),
            remaining: self.milli(remaining),
            reset_ns,
            window_ns: self.policy_window(),
        }
    }
}

impl Admitted {
    /// No bucket applies.
    pub(crate) fn nothing() -> Self {
        Self {
            held: Reservations::default(),
            charges: Vec::new(),
            would_limit: Vec::new(),
        }
    }

    /// Reserves in a bucket in shadow mode. If that fails, the bucket would have refused the request.
    #[inline(never)]
    fn reserve_in_shadow(
        &mut self,
        limit: &Rc<Limit>,
        request: &ReserveInput<'_>,
        vm: &mut Vm,
        now: u64,
        host: &dyn Host,
    ) {
        if let Ok(charge) = charge(limit, request, vm) {
            let costs = std::slice::from_ref(&charge).iter();
            let costs = costs.map(Charge::bucket_cost);
            if let Ok(held) = vm.ledger.reserve(costs, now, host) {
                self.held.append(held);
                self.charges.push(charge);
                return;
            }
        }
        self.would_limit.push(Rc::clone(limit));
    }

    /// Whether the response has to be read to settle.
    pub(crate) fn meters(&self) -> bool {
        self.charges.iter().any(Charge::meters)
    }

    /// Whether the response is read for buckets in shadow mode alone, while others apply too.
    pub(crate) fn meters_only_in_shadow(&self) -> bool {
        let others = || self.charges.iter().filter(|c| !c.limit.shadow);
        others().next().is_some() && !others().any(Charge::meters) && self.meters()
    }

    /// Whether the upstream may be asked to report the usage of a stream: settlement needs it, and every bucket allows it. A bucket in
    /// shadow mode forbids nothing that another one needs.
    pub(crate) fn requests_usage(&self) -> bool {
        let needed = self.charges.iter().find(|c| c.meters());
        needed.is_some_and(|needed| {
            let mut asked = self.charges.iter();
            asked.all(|c| c.limit.asks() || (c.limit.shadow && !needed.limit.shadow))
        })
    }

    /// Whether a bucket has a balance that clients see.
    pub(crate) fn has_balance(&self) -> bool {
        self.charges.iter().any(|charge| !charge.limit.shadow)
    }

    /// The balances after the reserve, as response headers.
    pub(crate) fn headers(&self) -> Vec<(crate::effects::Name, String)> {
        let status: Vec<_> = self
            .charges
            .iter()
            .zip(self.held.as_slice())
            .filter(|(charge, _)| !charge.limit.shadow)
            .map(|(charge, reservation)| {
                let balance = reservation.balance();
                charge.status(balance.remaining, balance.limit, balance.reset_ns)
            })
            .collect();
        ratelimit_headers::headers(&status)
    }
}
