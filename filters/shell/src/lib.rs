//! The thin shell around the core: the only crate that names `proxy_wasm`.
//!
//! Place in the flow: between Envoy and [`headgate_core`]. It turns callbacks into calls of the core's state
//! machine, hands over bytes as the host gave them, and performs the effects that come back. It decides
//! nothing.
//!
//! Invariants: no hostcall can trap ([`abi`]); a hook returns at once when its stream does not want the bytes;
//! a stream ends exactly once, when its context is deleted; what must outlive a configuration lives in [`vms`].
//!
//! | module | what it is |
//! |---|---|
//! | [`abi`] | the hostcalls, every status a value |
//! | `alloc` | the allocator |
//! | [`pairs`] | header maps, as the host serialises them |
//! | [`host`] | the core's ports over the hostcalls |
//! | [`perform`] | effects and replies, done |
//! | [`tally`] | what is counted, until the host is told |
//! | [`vms`] | what lives as long as the wasm VM |
//! | [`root`], [`stream`] | the contexts that Envoy calls |

mod abi;
// Where there are threads it would not be sound, and nothing of ours runs there.
#[cfg(target_arch = "wasm32")]
mod alloc;
mod host;
mod pairs;
mod perform;
mod root;
mod stream;
mod tally;
mod vms;

use std::cell::Cell;

pub use headgate_core::vm::Stages;
#[doc(hidden)]
pub use proxy_wasm;

use crate::root::Root;

thread_local! {
    /// Which stages this module runs: set once, before the first context.
    static STAGES: Cell<Stages> = const { Cell::new(Stages { tag: false, limit: false }) };
}

/// Makes the crate it is written in a module of these stages: `headgate_shell::module!(tag: true, limit: true);`
#[macro_export]
macro_rules! module {
    (tag: $tag:literal, limit: $limit:literal) => {
        // The SDK's macro exports a function: it need not be documented, and nothing else can see it.
        #[allow(missing_docs, unreachable_pub)]
        mod entry {
            $crate::proxy_wasm::main!({
                $crate::start($crate::Stages {
                    tag: $tag,
                    limit: $limit,
                });
            });
        }
    };
}

/// Registers the contexts of a module; called once per VM, through [`module!`].
pub fn start(stages: Stages) {
    STAGES.with(|cell| cell.set(stages));
    proxy_wasm::set_root_context(|_| Box::new(Root::new(STAGES.with(Cell::get))));
}
