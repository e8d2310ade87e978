//! The root context: takes configurations, opens streams, flushes.
//!
//! Invariant: a configuration that is refused changes nothing but the log.

use headgate_core::effects::{Effect, Step};
use headgate_core::metrics;
use headgate_core::vm::Stages;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::abi::{self, Buffer, Level};
use crate::host::{Call, complain, lost_tries};
use crate::stream::HttpStream;
use crate::vms::{self, Shared};
use crate::{perform, tally};

/// How often unwritten changes are written, and the host is told what was counted, in milliseconds.
const TICK: u32 = 1000;

/// One configuration of one filter.
#[derive(Debug)]
pub(crate) struct Root {
    stages: Stages,
    /// Known once configured: a filter's name cannot be asked for earlier.
    vm: Option<Shared>,
}

impl Root {
    pub(crate) fn new(stages: Stages) -> Self {
        Self { stages, vm: None }
    }

    fn configure(&mut self, size: usize) -> Result<(), String> {
        let json = abi::buffer(Buffer::Configuration, 0, size)
            .map_err(|status| format!("it cannot be read (status {})", status.0))?;
        let vm = self.vm.insert(vms::of_this_filter(self.stages));
        vm.borrow_mut()
            .configure(&json, &Call::default())
            .map_err(|error| error.to_string())
    }
}

/// Counts these too, and tells the host everything that is counted.
fn tell(mut counts: Vec<Effect>) {
    let lost = lost_tries();
    if lost > 0 {
        counts.push(Effect::Count(metrics::lost_tries(), lost));
    }
    perform::step(Step::with(counts));
    tally::tell();
}

impl Context for Root {}

/// What is unwritten is written when the context is deleted. (Not in `on_done`: a module that exports it is asked for
/// each stream as well.)
impl Drop for Root {
    fn drop(&mut self) {
        if let Some(vm) = &self.vm {
            let counts = vm.borrow_mut().tick(&Call::default());
            tell(counts);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        if let Err(why) = self.configure(size) {
            abi::log(
                Level::Error,
                &format!("headgate: configuration refused, what was in force stays: {why}"),
            );
            return false;
        }
        if let Err(status) = abi::tick_every(TICK) {
            complain("tick", status);
        }
        true
    }

    fn on_tick(&mut self) {
        if let Some(vm) = &self.vm {
            let counts = vm.borrow_mut().tick(&Call::default());
            tell(counts);
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        // A root that was never configured gets no streams from Envoy; if it did, the core answers 503.
        let vm = match &self.vm {
            Some(vm) => Shared::clone(vm),
            None => vms::of_this_filter(self.stages),
        };
        Some(Box::new(HttpStream::open(vm)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
