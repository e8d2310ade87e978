//! What lives as long as the wasm VM: the configuration in force and what its worker owes or has borrowed.
//!
//! Every configuration update makes a new root context in the same VM, while old ones live on until their
//! last stream has ended; all of them share one [`Vm`]. Filters of different names that run the same module
//! share the wasm VM too, and must not share their configuration: hence one [`Vm`] per name.

use std::cell::RefCell;
use std::rc::Rc;

use headgate_core::vm::{Stages, Vm};

use crate::abi;

/// A [`Vm`] as contexts hold it. Borrowed within a callback only, and callbacks do not nest.
pub(crate) type Shared = Rc<RefCell<Vm>>;

thread_local! {
    static VMS: RefCell<Vec<(Vec<u8>, Shared)>> = const { RefCell::new(Vec::new()) };
}

/// The one of the filter that is being configured.
pub(crate) fn of_this_filter(stages: Stages) -> Shared {
    let part = |path: &[u8]| abi::property(path).unwrap_or_default();
    let name = [part(b"plugin_name"), part(b"plugin_root_id")].join(&0);
    VMS.with_borrow_mut(|vms| {
        if let Some((_, vm)) = vms.iter().find(|(known, _)| *known == name) {
            return Rc::clone(vm);
        }
        let vm = Rc::new(RefCell::new(Vm::new(stages)));
        vms.push((name, Rc::clone(&vm)));
        vm
    })
}
