//! Reorders the functions of a wasm module; V8 places their code in this order.
//!
//! Place in the flow: after the linker, before `dist/`. A request runs only a part of a module's code. Spread over the whole
//! module, that part occupies more memory pages and cache lines than necessary, and loading these dominates the time of a request
//! (DECISIONS.md). Therefore the functions listed in `filters/order.txt` come first, in its order.
//!
//! | module | what it is |
//! |---|---|
//! | [`functions`] | the functions of a module with their names |
//! | [`order`] | the list, and the new position of each function |
//! | [`reorder`] | the module with reordered functions |
//! | [`trace`] | a module that logs the functions it runs, to create the list |

pub mod functions;
pub mod order;
pub mod reorder;
pub mod trace;

/// A module that cannot be parsed or rewritten.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The module is malformed.
    #[error("malformed wasm module: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It contains a construct that is not supported, which our modules never have.
    #[error("the module cannot be rewritten: {0}")]
    Unknown(#[from] wasm_encoder::reencode::Error),
    /// It has no function names, so the list cannot be applied.
    #[error("the module has no function names; build it without `strip`")]
    NoNames,
    /// It does not import the log function.
    #[error("the module does not import `env.proxy_log`")]
    NoLogImport,
}
