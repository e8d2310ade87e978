//! The imports and exports of a module, without running it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_tests_abi::module::{MODULES, anatomy};

/// The functions of WASI that Envoy must provide; all others are of the proxy-wasm ABI.
const WASI: [&str; 6] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];

/// The callbacks that Envoy calls.
const HOOKS: [&str; 9] = [
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_memory_allocate",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
];

#[test]
fn a_module_imports_only_functions_of_envoy() {
    for module in MODULES {
        for import in anatomy(module).imports {
            let known = match import.split_once('.') {
                Some(("env", name)) => name.starts_with("proxy_"),
                Some(("wasi_snapshot_preview1", name)) => WASI.contains(&name),
                _ => false,
            };
            assert!(known, "{module} imports {import}");
        }
    }
}

#[test]
fn a_module_exports_the_callbacks_and_its_memory() {
    for module in MODULES {
        let exports = anatomy(module).exports;
        for hook in HOOKS.iter().chain(&["memory"]) {
            assert!(exports.contains(*hook), "{module} lacks {hook}");
        }
    }
}

/// Envoy calls every exported callback for each stream, and each call into the VM has a cost.
#[test]
fn a_module_exports_no_callback_that_it_does_not_use() {
    let unused = |name: &str| {
        [
            "done",
            "log",
            "queue_ready",
            "http_call_response",
            "foreign_function",
        ]
        .iter()
        .any(|hook| name == format!("proxy_on_{hook}"))
            || name.starts_with("proxy_on_grpc")
            || name.contains("stream_data")
            || name.contains("connection")
    };
    for module in MODULES {
        let exports = anatomy(module).exports;
        let found: Vec<_> = exports.iter().filter(|name| unused(name)).collect();
        assert!(found.is_empty(), "{module} exports {found:?}");
    }
}

/// The size of a module determines the start-up time and memory of Envoy, once for each worker. DECISIONS.md says why it is not below
/// the 520 KiB that `make bench` demands.
#[test]
fn a_module_is_at_most_624_kib() {
    for module in MODULES {
        let size = anatomy(module).size;
        assert!(size <= 624 << 10, "{module} is {} KiB", size >> 10);
    }
}

/// Only a test-only build has the trap of the end-to-end test.
#[test]
fn a_header_cannot_make_a_shipped_module_trap() {
    for module in MODULES {
        let needle = b"x-headgate-trap";
        let bytes = anatomy(module).bytes;
        let found = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{module} was built with the feature `trap`");
    }
}
