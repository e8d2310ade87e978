//! The filter as a proxy-wasm module: the only crate that names that ABI.
//!
//! Place in the flow: between Envoy and [`headgate_drive`]. It implements the contexts of the SDK, the core's ports and the driver's traits with the host's functions. It makes no decision.
//!
//! Callbacks come through the SDK (`proxy_wasm`). The functions of the host are bound in [`abi`], because the SDK's panic on a
//! status that they do not expect.
//!
//! Invariants: no call to the host can trap ([`abi`]); a root without a configuration opens streams that answer 503.
//!
//! | module | contents |
//! |---|---|
//! | [`abi`] | the host's functions |
//! | [`contexts`] | the contexts that Envoy calls |
//! | [`host`] | the core's ports and the driver's traits |
//! | [`pairs`] | header maps, as the host serializes them |
//! | [`worker`] | the state of the worker that runs this VM |
//! | `alloc`, `free_lists` | the allocator |

mod abi;
// Sound only with one thread, as in a wasm VM.
#[cfg(target_arch = "wasm32")]
mod alloc;
mod contexts;
#[cfg(target_arch = "wasm32")]
mod free_lists;
mod host;
mod pairs;
mod worker;

pub use headgate_core::vm::Stages;
#[doc(hidden)]
pub use proxy_wasm;

/// Makes a module of the crate. The argument: the stages of a configuration that names none.
#[macro_export]
macro_rules! module {
    ($default:expr) => {
        // The SDK's macro exports a function: it needs no documentation, and nothing else can see it.
        #[allow(missing_docs, unreachable_pub)]
        mod entry {
            $crate::proxy_wasm::main!({ $crate::start($default) });
        }
    };
}

/// Registers the contexts; called once per VM, by [`module!`]. `default`: the stages of a configuration that names none.
pub fn start(default: Stages) {
    worker::DEFAULT_STAGES.set(default);
    proxy_wasm::set_root_context(|_| Box::new(contexts::RootContext::default()));
}
