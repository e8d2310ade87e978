//! The functions that the proxy calls (proxy-wasm ABI 0.2.1).
//!
//! Each export is a way into the VM of about 2 µs, and the host calls every one that exists. So there are only those that do
//! something.
// An exported name could collide with another one in the module; these names are the ABI's.
#![allow(unsafe_code)]

use headgate_drive::Next;

use crate::abi::{Buffer, Map};
use crate::contexts::{self, headers, new_bytes, with_stream};

/// The version of the ABI.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_abi_version_0_2_1() {}

/// See [`contexts::create`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_context_create(id: u32, root: u32) {
    contexts::create(id, root);
}

/// See [`contexts::delete`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_delete(id: u32) {
    contexts::delete(id);
}

/// See [`contexts::configure`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_configure(id: u32, size: usize) -> u32 {
    contexts::configure(id, size).into()
}

/// See [`contexts::tick`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_tick(id: u32) {
    contexts::tick(id);
}

/// The ABI's `Action`: 0 continues, 1 pauses.
fn action(continues: bool) -> u32 {
    u32::from(!continues)
}

/// The request headers are here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_request_headers(id: u32, _: usize, end: u32) -> u32 {
    action(with_stream(id, |exchange, _, worker, call| {
        exchange.request_headers(worker, call, headers(Map::Request), end != 0)
    }))
}

/// Bytes of the request body are here: all that are held, so only the new ones are read.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_request_body(id: u32, size: usize, end: u32) -> u32 {
    action(with_stream(id, |exchange, held, worker, call| {
        let bytes = || new_bytes(Buffer::RequestBody, *held, size);
        let next = exchange.request_body(worker, call, bytes, end != 0);
        *held = match next {
            Next::Hold => size,
            Next::Continue | Next::Answered => 0,
        };
        next
    }))
}

/// The request trailers are here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_request_trailers(id: u32, _: usize) -> u32 {
    action(with_stream(id, |exchange, _, worker, call| {
        exchange.request_trailers(worker, call)
    }))
}

/// The response headers are here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_response_headers(id: u32, _: usize, end: u32) -> u32 {
    action(with_stream(id, |exchange, _, worker, call| {
        exchange.response_headers(worker, call, || headers(Map::Response), end != 0)
    }))
}

/// Bytes of the response body are here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_response_body(id: u32, size: usize, end: u32) -> u32 {
    action(with_stream(id, |exchange, _, worker, call| {
        let bytes = || new_bytes(Buffer::ResponseBody, 0, size);
        exchange.response_body(worker, call, bytes, end != 0)
    }))
}

/// The response trailers are here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_response_trailers(id: u32, _: usize) -> u32 {
    action(with_stream(id, |exchange, _, worker, call| {
        exchange.response_trailers(worker, call)
    }))
}
