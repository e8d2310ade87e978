//! `headgate.wasm`, both stages in one context: parses once, and a second filter in the chain would cost
//! 10–18 µs a request.

headgate_shell::module!(tag: true, limit: true);
