//! `traffic-tag.wasm`, the tagger alone: picks the version, tags request and answer.

headgate_shell::module!(tag: true, limit: false);
