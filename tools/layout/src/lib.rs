//! The order of the functions in a module, which is the order in which V8 lays their code out.
//!
//! Place in the flow: after the linker, before `dist/`. What a request runs is a part of a module's code; strewn over all
//! of it, it takes more pages and lines than it has to, and those are what a request's time goes into (DECISIONS.md). So the
//! functions of `filters/order.txt` come first, in its order.
//!
//! | module | what it is |
//! |---|---|
//! | [`functions`] | the functions of a module and their names |
//! | [`order`] | the list, and where it puts each function |
//! | [`lay`] | a module, laid out |
//! | [`trace`] | a module that tells which functions it runs, to make the list with |

pub mod functions;
pub mod lay;
pub mod order;
pub mod trace;

/// Why a module cannot be taken apart or put together.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// It is no well-formed module.
    #[error("not a well-formed wasm module: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It has something in it that our modules never have.
    #[error("it cannot be written again: {0}")]
    Unknown(#[from] wasm_encoder::reencode::Error),
    /// Without names, nobody knows which function is which.
    #[error("it has no names of functions: build it without `strip`")]
    Nameless,
    /// It cannot log.
    #[error("it does not import `env.proxy_log`")]
    Speechless,
}
