//! `token-bucket.wasm`, the limiter alone: reserves and settles, on the model and version that a tagger before
//! it wrote.

headgate_shell::module!(tag: false, limit: true);
