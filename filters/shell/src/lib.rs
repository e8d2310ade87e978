//! The filter as a proxy-wasm module: the only crate that names that ABI.
//!
//! Place in the flow: between Envoy and [`headgate_drive`]. It exports the hooks of the ABI, finds the context of each callback,
//! and implements the core's ports and the driver's traits with the host's functions. It makes no decision.
//!
//! The ABI is bound by hand: a general SDK looks up every callback in several maps, exports hooks that nobody answers, and makes
//! the module larger.
//!
//! Invariants: no call to the host can trap ([`abi`]); a callback for an unknown context does nothing.
//!
//! | module | contents |
//! |---|---|
//! | [`abi`] | the host's functions |
//! | [`hooks`] | the functions that the host calls |
//! | [`contexts`] | roots and streams by id |
//! | [`host`] | the core's ports and the driver's traits |
//! | [`pairs`] | header maps, as the host serializes them |
//! | `alloc`, `free_lists` | the allocator |

mod abi;
// Sound only with one thread, as in a wasm VM.
#[cfg(target_arch = "wasm32")]
mod alloc;
mod contexts;
#[cfg(target_arch = "wasm32")]
mod free_lists;
mod hooks;
mod host;
mod pairs;

pub use headgate_core::vm::Stages;

/// Makes a module of the crate. The argument: the stages of a configuration that names none.
#[macro_export]
macro_rules! module {
    ($default:expr) => {
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }

        /// Called by the host once, before anything else.
        #[unsafe(no_mangle)]
        pub extern "C" fn _initialize() {
            // SAFETY: a module without `main` runs the constructors of its C library here, once.
            unsafe { __wasm_call_ctors() };
            $crate::start($default);
        }
    };
}

/// Prepares the module; called once, by [`module!`]. `default`: the stages of a configuration that names none.
pub fn start(default: Stages) {
    contexts::set_default_stages(default);
}
