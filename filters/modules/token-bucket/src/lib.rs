//! `token-bucket.wasm`: `headgate.wasm` that only limits, unless its configuration lists other `stages`.
#![allow(unsafe_code)]

headgate_shell::module!(headgate_shell::Stages::LIMIT);
