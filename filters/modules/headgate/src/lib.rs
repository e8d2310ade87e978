//! `headgate.wasm`: tags and limits in one context. A second filter in the chain would cost 10–18 µs a request.
#![allow(unsafe_code)]

headgate_shell::module!(headgate_shell::Stages::ALL);
