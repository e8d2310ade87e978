//! State of one filter on one worker: the active configuration, its counters, and the ledger.
//!
//! The driver keeps it for the life of the worker: each configuration update creates new root contexts, and unwritten
//! settlements must outlive them.

use std::rc::Rc;

use headgate_contract::{ConfigError, FilterConfig};

use crate::compiled::Compiled;
use crate::counters::Counters;
use crate::effects::Effect;
use crate::evictions::Evictions;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::metrics;
use crate::outages::Outages;
use crate::periodic::Open;
use crate::rates::Rates;
use crate::scale::ReceivedScales;
use crate::tenants::Tenants;
use crate::usage_refusals::UsageRefusals;

pub use headgate_contract::Stages;

/// The state of one filter on one worker.
#[derive(Debug)]
pub struct Vm {
    default_stages: Stages,
    pub(crate) config: Option<Rc<Compiled>>,
    pub(crate) counters: Counters,
    pub(crate) ledger: Ledger,
    pub(crate) evictions: Evictions,
    pub(crate) outages: Outages,
    pub(crate) rates: Rates,
    pub(crate) tenants: Tenants,
    pub(crate) usage_refusals: UsageRefusals,
    pub(crate) sessions: Open,
    receptions: ReceivedScales,
}

impl Vm {
    /// A filter without a configuration: it answers 503. `default_stages`: the stages of a configuration that names none.
    #[must_use]
    pub fn new(default_stages: Stages) -> Self {
        Self {
            default_stages,
            config: None,
            counters: Counters::default(),
            ledger: Ledger::new(),
            evictions: Evictions::default(),
            outages: Outages::default(),
            rates: Rates::default(),
            tenants: Tenants::default(),
            usage_refusals: UsageRefusals::default(),
            sessions: Open::default(),
            receptions: ReceivedScales::default(),
        }
    }

    /// Activates a configuration. An invalid one changes nothing.
    ///
    /// # Errors
    /// [`ConfigError`] with the JSON path and the fix.
    pub fn configure(&mut self, json: &[u8], host: &dyn Host) -> Result<(), ConfigError> {
        let config = FilterConfig::parse(json)?;
        let compiled = Compiled::new(config, self.default_stages, &mut self.receptions, host)?;
        let before = self.config.as_ref();
        self.outages.replanned(host.now(), host, |target| {
            let before = before.map_or(u32::MAX, |config| config.endpoints(target));
            (before, compiled.endpoints(target))
        });
        self.config = Some(Rc::new(compiled));
        self.counters = Counters::default();
        Ok(())
    }

    /// Writes what is unwritten, and exchanges with other workers what all of them need. To be called once a second, and when a
    /// configuration is removed. The effects are counts.
    pub fn tick(&mut self, host: &dyn Host) -> Vec<Effect> {
        self.tenants.tick(host);
        self.usage_refusals.tick(host);
        self.outages.tick(host);
        self.ledger.flush(host.now(), host);
        let mut counts = self
            .sessions
            .tick(&mut self.ledger, &mut self.evictions, host);
        for deferred in self.ledger.take_deferred() {
            let mut count = |name| {
                let metric = metrics::by_rule(name, deferred.rule.id());
                counts.push(Effect::Count(metric, 1));
            };
            if deferred.settled.unwritten == 0 {
                count("carried_writes_total");
            }
            if deferred.settled.evicted {
                count("evictions_total");
            }
        }
        counts
    }
}
