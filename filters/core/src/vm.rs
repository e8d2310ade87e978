//! What one wasm VM holds for all its streams: the configuration in force and the ledger of its worker.
//!
//! It lives in a static of the shell: every configuration update makes new root contexts, and what is owed
//! must outlive them.

use headgate_contract::{ConfigError, FilterConfig};

use crate::compiled::Compiled;
use crate::effects::Effect;
use crate::evictions::Evictions;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::metrics;
use crate::outages::Outages;
use crate::rates::Rates;
use crate::scale::Receptions;
use crate::stream::Stream;
use crate::tenants::Tenants;
use crate::usage_refusals::UsageRefusals;

/// Which stages a module runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// Pick the version, tag request and answer.
    pub tag: bool,
    /// Reserve and settle.
    pub limit: bool,
}

/// The state of one VM.
#[derive(Debug)]
pub struct Vm {
    pub(crate) stages: Stages,
    pub(crate) config: Option<Compiled>,
    pub(crate) ledger: Ledger,
    pub(crate) evictions: Evictions,
    pub(crate) outages: Outages,
    pub(crate) rates: Rates,
    pub(crate) tenants: Tenants,
    pub(crate) usage_refusals: UsageRefusals,
    receptions: Receptions,
}

impl Vm {
    /// A VM that has not been configured yet: it answers 503.
    #[must_use]
    pub fn new(stages: Stages) -> Self {
        Self {
            stages,
            config: None,
            ledger: Ledger::new(),
            evictions: Evictions::default(),
            outages: Outages::default(),
            rates: Rates::default(),
            tenants: Tenants::default(),
            usage_refusals: UsageRefusals::default(),
            receptions: Receptions::default(),
        }
    }

    /// Takes a configuration. A bad one changes nothing.
    ///
    /// # Errors
    /// [`ConfigError`] with the JSON path and the fix.
    pub fn configure(&mut self, json: &[u8], host: &dyn Host) -> Result<(), ConfigError> {
        let config = FilterConfig::parse(json)?;
        let compiled = Compiled::new(config, self.stages, &mut self.receptions, host)?;
        let before = self.config.as_ref();
        self.outages.replanned(host.now(), host, |target| {
            let before = before.map_or(u32::MAX, |config| config.endpoints(target));
            (before, compiled.endpoints(target))
        });
        self.config = Some(compiled);
        Ok(())
    }

    /// A stream at its beginning.
    #[must_use]
    pub fn open(&self) -> Stream {
        Stream::new()
    }

    /// On timer, and when the root context goes: writes what is unwritten, and shares with other workers what they have to
    /// know. What is returned are counts.
    pub fn tick(&mut self, host: &dyn Host) -> Vec<Effect> {
        self.tenants.tick(host);
        self.usage_refusals.tick(host);
        self.outages.tick(host);
        self.ledger.flush(host.now(), host);
        let carried = self.ledger.carried();
        let counted = carried.iter().flat_map(|carried| {
            let settled = &carried.settled;
            let written = (settled.unwritten == 0).then_some("carried_writes");
            let evicted = settled.evicted.then_some("evictions");
            let names = written.into_iter().chain(evicted);
            names.map(|name| Effect::Count(metrics::by_rule(name, carried.rule.id()), 1))
        });
        counted.collect()
    }
}
