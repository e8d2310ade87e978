//! The order of the functions in a module, which is the order in which V8 lays their code out.
//!
//! Place in the flow: after the linker, before `dist/`. What a request runs is a tenth of a module's code; spread over all
//! of it, it takes three times the pages, and a page that is not in the worker's address cache costs as much as some hundred
//! instructions. So the functions of `filters/order.txt` come first, in its order.
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
    #[error("it has no names of functions: build it with `strip = false`")]
    Nameless,
    /// It cannot log.
    #[error("it does not import `env.proxy_log`")]
    Speechless,
}
