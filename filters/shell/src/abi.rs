//! The functions that the proxy offers to a module (proxy-wasm ABI 0.2.1, and WASI's clock and generator).
//!
//! Every status of the host is a value, so no call can trap: a trap would end the VM and every stream on it. Bytes of the host
//! are passed on as they came.
//!
//! The `unsafe` here is sound because the host writes a pointer and a length that it got from the SDK's `proxy_on_memory_allocate` (a
//! boxed slice of exactly that length), or leaves both zero; every other pointer is borrowed for the duration of the call only.
#![allow(unsafe_code)]

use std::ptr::null_mut;

/// Why the host did nothing: a status code of proxy-wasm. Kept as a number, because a host may have more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    /// There is nothing with that name.
    pub(crate) const NOT_FOUND: Self = Self(1);
    /// Another VM wrote first.
    pub(crate) const CAS_MISMATCH: Self = Self(8);
}

/// A map of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Map {
    /// The request headers.
    Request = 0,
    /// The response headers.
    Response = 2,
    /// The response trailers.
    ResponseTrailers = 3,
}

/// A buffer of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Buffer {
    /// The request body, as far as it is held.
    RequestBody = 0,
    /// The response body, as far as it is held.
    ResponseBody = 1,
    /// The filter's configuration.
    Configuration = 7,
}

/// A kind of statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Statistic {
    /// A sum that only grows.
    Counter = 0,
    /// A distribution of values.
    Histogram = 2,
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Level {
    /// Something was not done as configured.
    Warn = 3,
    /// Something was refused.
    Error = 4,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *const u8,
        len: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_get_header_map_size(map: u32, size: *mut u32) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_len: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
        cas: u32,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, id: *mut u32) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, len: usize) -> u32;
}

/// WASI's name for `CLOCK_MONOTONIC`.
const CLOCK_MONOTONIC: u32 = 1;

fn done(status: u32) -> Result<(), Status> {
    match status {
        0 => Ok(()),
        other => Err(Status(other)),
    }
}

/// Runs a call in which the host allocates bytes here, and takes ownership of them.
fn receive(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let (mut data, mut len) = (null_mut::<u8>(), 0_usize);
    done(call(&raw mut data, &raw mut len))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: a non-null pointer is that of a vector of `len` bytes, allocated by the SDK's `proxy_on_memory_allocate`, which the host has
    // filled and does not keep.
    Ok(unsafe { Vec::from_raw_parts(data, len, len) })
}

/// Writes a line to Envoy's log.
pub(crate) fn log(level: Level, text: &str) {
    // SAFETY: the text is borrowed for the call. A line that cannot be written is not worth an error.
    let _ = unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
}

/// Starts a tick on the calling root context every `period` milliseconds.
pub(crate) fn tick_every(period: u32) -> Result<(), Status> {
    // SAFETY: no pointers.
    done(unsafe { proxy_set_tick_period_milliseconds(period) })
}

/// At most `max` bytes of a buffer, from `start` on.
pub(crate) fn buffer(buffer: Buffer, start: usize, max: usize) -> Result<Vec<u8>, Status> {
    // SAFETY: see `receive`.
    receive(|data, len| unsafe { proxy_get_buffer_bytes(buffer as u32, start, max, data, len) })
}

/// Replaces the whole content of a buffer.
pub(crate) fn set_buffer(buffer: Buffer, bytes: &[u8]) -> Result<(), Status> {
    // SAFETY: the bytes are borrowed for the call. A size beyond the buffer's own means all of it.
    done(unsafe {
        proxy_set_buffer_bytes(
            buffer as u32,
            0,
            i32::MAX as usize,
            bytes.as_ptr(),
            bytes.len(),
        )
    })
}

/// A whole map of headers, as the host serializes it: [`crate::pairs`] reads it.
pub(crate) fn header_pairs(map: Map) -> Result<Vec<u8>, Status> {
    // SAFETY: see `receive`.
    receive(|data, len| unsafe { proxy_get_header_map_pairs(map as u32, data, len) })
}

/// Bytes of all names and values of a map.
pub(crate) fn headers_size(map: Map) -> Result<u32, Status> {
    let mut size = 0_u32;
    // SAFETY: the host writes one number.
    done(unsafe { proxy_get_header_map_size(map as u32, &raw mut size) })?;
    Ok(size)
}

/// Adds a value to a header.
pub(crate) fn add_header(map: Map, name: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: both are borrowed for the call.
    done(unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Sets a header to one value, and replaces every value that it has.
pub(crate) fn set_header(map: Map, name: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: both are borrowed for the call.
    done(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes every value of a header.
pub(crate) fn remove_header(map: Map, name: &[u8]) -> Result<(), Status> {
    // SAFETY: the name is borrowed for the call.
    done(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A property; the parts of its path are joined by NUL.
pub(crate) fn property(path: &[u8]) -> Result<Vec<u8>, Status> {
    // SAFETY: the path is borrowed for the call; the rest as in `receive`.
    receive(|data, len| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, len) })
}

/// Sets a property: filter state `wasm.<path>`.
pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: both are borrowed for the call.
    done(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// A value shared by all workers, and the number of its write.
pub(crate) fn shared(key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
    let mut cas = 0_u32;
    // SAFETY: the key is borrowed for the call; the rest as in `receive`.
    let value = receive(|data, len| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &raw mut cas)
    })?;
    Ok((value, cas))
}

/// A version number that is never assigned: the write succeeds only if the key does not exist. (0 would overwrite
/// unconditionally.)
pub(crate) const ABSENT: u32 = u32::MAX;

/// Writes a shared value if its last write was `cas`.
pub(crate) fn set_shared(key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
    // SAFETY: both are borrowed for the call.
    done(unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
    })
}

/// Answers in place of the upstream. With a gRPC status, the answer is a gRPC reply and the body is its message.
pub(crate) fn send_reply(
    status: u16,
    details: &[u8],
    headers: &[u8],
    body: &[u8],
    grpc: Option<u8>,
) -> Result<(), Status> {
    let grpc = grpc.map_or(-1, i32::from);
    // SAFETY: all are borrowed for the call.
    done(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc,
        )
    })
}

/// The id of a statistic, valid for the life of the VM.
pub(crate) fn define_metric(kind: Statistic, name: &str) -> Result<u32, Status> {
    let mut id = 0_u32;
    // SAFETY: the name is borrowed for the call; the host writes one number.
    done(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter.
pub(crate) fn count(id: u32, by: u64) -> Result<(), Status> {
    // SAFETY: no pointers.
    done(unsafe { proxy_increment_metric(id, i64::try_from(by).unwrap_or(i64::MAX)) })
}

/// Adds a value to a histogram.
pub(crate) fn observe(id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no pointers.
    done(unsafe { proxy_record_metric(id, value) })
}

/// `CLOCK_MONOTONIC` in ns: one timeline for all workers of a machine. (`std::time::Instant` reads the same clock, but has no
/// absolute value.)
pub(crate) fn monotonic_ns() -> Result<u64, Status> {
    let mut time = 0_u64;
    // SAFETY: the host writes one number.
    done(unsafe { clock_time_get(CLOCK_MONOTONIC, 1, &raw mut time) })?;
    Ok(time)
}

/// Eight bytes from the operating system's generator.
pub(crate) fn random() -> Result<u64, Status> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the host fills exactly the slice it is given.
    done(unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) })?;
    Ok(u64::from_le_bytes(bytes))
}
