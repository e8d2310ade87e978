//! The state of the worker that runs this VM.

use std::cell::Cell;

use headgate_core::vm::Stages;
use headgate_drive::Worker;

thread_local! {
    /// A wasm VM has one thread: its worker.
    pub(crate) static WORKER: Worker = const { Worker::new() };
    /// The stages of a configuration that names none. Set once, before the first context.
    pub(crate) static DEFAULT_STAGES: Cell<Stages> = const { Cell::new(Stages::ALL) };
}
