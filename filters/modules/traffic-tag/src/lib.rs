//! `traffic-tag.wasm`: `headgate.wasm` that only tags, unless its configuration lists other `stages`.
#![allow(unsafe_code)]

headgate_shell::module!(headgate_shell::Stages::TAG);
