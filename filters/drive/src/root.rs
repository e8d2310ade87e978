//! The configuration of one filter: accepted or refused, with a tick once a second, and the streams that it opens.
//!
//! Invariant: a configuration that is refused changes nothing but the log.

use std::cell::RefCell;
use std::rc::Rc;

use headgate_core::vm::{Stages, Vm};

use crate::Proxy;
use crate::actions::{Refused, Severity};
use crate::exchange::Exchange;
use crate::worker::{SharedVm, Worker};

/// One configuration of one filter.
#[derive(Debug)]
pub struct Root {
    default_stages: Stages,
    /// `None` until it is configured: a proxy names the filter only then.
    vm: Option<SharedVm>,
}

impl Root {
    /// A root without a configuration. `default_stages`: the stages of a configuration that names none.
    #[must_use]
    pub fn new(default_stages: Stages) -> Self {
        Self {
            default_stages,
            vm: None,
        }
    }

    /// Activates a configuration of the filter with this name. Returns whether it is valid; if not, the log says why.
    pub fn configure<P: Proxy>(
        &mut self,
        worker: &Worker,
        proxy: &P,
        filter: &[u8],
        json: Result<Vec<u8>, Refused>,
    ) -> bool {
        let vm = self.vm.insert(worker.filter(filter, self.default_stages));
        let configured = match json {
            Ok(json) => vm
                .borrow_mut()
                .configure(&json, proxy)
                .map_err(|error| error.to_string()),
            Err(Refused(status)) => Err(format!("it cannot be read (status {status})")),
        };
        if let Err(why) = &configured {
            let line = format!(
                "headgate: the new configuration is not valid, so the filter keeps the active one: {why}"
            );
            proxy.log(Severity::Error, &line);
        }
        configured.is_ok()
    }

    /// Writes what is unwritten, and passes counts on to the proxy. To be called once a second, and before the root is removed.
    pub fn tick<P: Proxy>(&self, worker: &Worker, proxy: &P) {
        if let Some(vm) = &self.vm {
            let counts = vm.borrow_mut().tick(proxy);
            worker.flush(proxy, counts);
        }
    }

    /// A new stream. Without a configuration it answers 503.
    #[must_use]
    pub fn open(&self) -> Exchange {
        Exchange::new(match &self.vm {
            Some(vm) => Rc::clone(vm),
            None => Rc::new(RefCell::new(Vm::new(self.default_stages))),
        })
    }
}
