//! The contexts of the proxy: roots (one for each configuration of a filter) and streams, by the ids that the host gives them.
//!
//! Invariants: a callback for an unknown id does nothing; a stream ends exactly once, when its context is deleted, which Envoy
//! does at every ending but a trap.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use headgate_core::headers::Headers;
use headgate_core::vm::Stages;
use headgate_drive::{Exchange, Next, Root, Worker};

use crate::abi::{self, Buffer, Map, Status};
use crate::host::{Call, complain};
use crate::pairs;

/// Period of ticks, in milliseconds: unwritten settlements are written, and counts are passed on to the host.
const TICK: u32 = 1000;

thread_local! {
    /// A wasm VM has one thread: its worker.
    pub(crate) static WORKER: Worker = const { Worker::new() };
    /// The stages of a configuration that names none. Set once, before the first context.
    static DEFAULT_STAGES: Cell<Stages> = const { Cell::new(Stages::ALL) };
    static ROOTS: RefCell<Vec<(u32, Root)>> = const { RefCell::new(Vec::new()) };
    static STREAMS: RefCell<Streams> = RefCell::default();
}

type Streams = HashMap<u32, Box<HttpStream>, BuildHasherDefault<Spread>>;

/// Spreads the ids of contexts, which the host counts up. No client chooses them, so no keyed hash is needed.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write_u32(&mut self, id: u32) {
        self.0 = u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn write(&mut self, _: &[u8]) {}
    fn finish(&self) -> u64 {
        self.0
    }
}

/// One request and its response.
#[derive(Debug)]
struct HttpStream {
    exchange: Exchange,
    /// Bytes of the request body that are held and have been read: Envoy returns them again.
    held: usize,
    #[cfg(feature = "trap")]
    trap: bool,
}

/// Sets the stages of a configuration that names none; called once, before the first context.
pub(crate) fn set_default_stages(stages: Stages) {
    DEFAULT_STAGES.set(stages);
}

/// A context was created: a root, if it has no root itself, else a stream of that root.
pub(crate) fn create(id: u32, root: u32) {
    if root == 0 {
        let new = Root::new(DEFAULT_STAGES.get());
        return ROOTS.with_borrow_mut(|roots| roots.push((id, new)));
    }
    let exchange = ROOTS.with_borrow(|roots| {
        let root = roots.iter().find(|(known, _)| *known == root);
        root.map(|(_, root)| root.open())
    });
    if let Some(exchange) = exchange {
        let stream = Box::new(HttpStream {
            exchange,
            held: 0,
            #[cfg(feature = "trap")]
            trap: false,
        });
        STREAMS.with_borrow_mut(|streams| streams.insert(id, stream));
    }
}

/// A context is deleted. A stream ends here: after every other callback of it, with its properties still there. (Not in `on_log`,
/// which is called just before: each callback costs 2 µs.)
pub(crate) fn delete(id: u32) {
    if let Some(mut stream) = STREAMS.with_borrow_mut(|streams| streams.remove(&id)) {
        WORKER.with(|worker| stream.exchange.end(worker, &Call::default()));
        return;
    }
    ROOTS.with_borrow_mut(|roots| {
        if let Some(place) = roots.iter().position(|(known, _)| *known == id) {
            let (_, root) = roots.swap_remove(place);
            WORKER.with(|worker| root.tick(worker, &Call::default()));
        }
    });
}

/// A root gets its configuration, which has so many bytes. Returns whether it is valid.
pub(crate) fn configure(id: u32, size: usize) -> bool {
    let call = Call::default();
    let name = [b"plugin_name".as_slice(), b"plugin_root_id"]
        .map(|path| abi::property(path).unwrap_or_default())
        .join(&0);
    let json = abi::buffer(Buffer::Configuration, 0, size);
    let configured = with_root(id, |root| {
        WORKER.with(|worker| root.configure(worker, &call, &name, json.map_err(Into::into)))
    });
    if configured && let Err(status) = abi::tick_every(TICK) {
        complain("tick", status);
    }
    configured
}

/// A root's tick.
pub(crate) fn tick(id: u32) {
    with_root(id, |root| {
        WORKER.with(|worker| root.tick(worker, &Call::default()));
    });
}

fn with_root<T: Default>(id: u32, then: impl FnOnce(&mut Root) -> T) -> T {
    ROOTS.with_borrow_mut(|roots| {
        let root = roots.iter_mut().find(|(known, _)| *known == id);
        root.map_or_else(T::default, |(_, root)| then(root))
    })
}

/// What Envoy does after a callback: whether it goes on with the stream.
pub(crate) fn with_stream(
    id: u32,
    then: impl FnOnce(&mut Exchange, &mut usize, &Worker, &Call) -> Next,
) -> bool {
    STREAMS.with_borrow_mut(|streams| {
        let Some(stream) = streams.get_mut(&id) else {
            return true;
        };
        let next = WORKER.with(|worker| {
            then(
                &mut stream.exchange,
                &mut stream.held,
                worker,
                &Call::default(),
            )
        });
        #[cfg(feature = "trap")]
        stream.trap_if_requested(next);
        next == Next::Continue
    })
}

#[cfg(feature = "trap")]
impl HttpStream {
    /// Ends the VM once the reserve is made, if the request has the header for it.
    fn trap_if_requested(&mut self, next: Next) {
        self.trap |= headers(Map::Request).get("x-headgate-trap") == Some(b"now");
        if self.trap && next == Next::Continue {
            std::process::abort();
        }
    }
}

/// The headers of a message; none if the host refuses.
pub(crate) fn headers(map: Map) -> Headers {
    let bytes = received(abi::header_pairs(map), "return the headers");
    pairs::read(bytes).unwrap_or_default()
}

/// The bytes of a buffer from `from` on; none if the host refuses. The core then sees a body that ends too early, and refuses
/// what it cannot read.
pub(crate) fn new_bytes(buffer: Buffer, from: usize, size: usize) -> Vec<u8> {
    match size.saturating_sub(from) {
        0 => Vec::new(),
        new => received(abi::buffer(buffer, from, new), "return a body"),
    }
}

fn received(bytes: Result<Vec<u8>, Status>, action: &str) -> Vec<u8> {
    bytes.unwrap_or_else(|status| {
        complain(action, status);
        Vec::new()
    })
}
