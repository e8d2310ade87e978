//! The command line of the mock model: what the program takes, and what a pod's container is given.

use std::net::SocketAddr;

use clap::Parser;

use super::{HEADERS_HELP, MockOptions};

/// A model server that answers OpenAI-style requests from nothing, and misbehaves on demand.
#[derive(Debug, Parser)]
#[command(name = "mock-model", after_long_help = HEADERS_HELP)]
pub struct MockArgs {
    /// Where to listen.
    #[arg(long, env = "MOCK_LISTEN", default_value = "127.0.0.1:8101")]
    pub listen: SocketAddr,
    /// The model it serves.
    #[arg(long, env = "MOCK_MODEL", default_value = "llama3-70b")]
    pub model: String,
    /// The version of the model.
    #[arg(long, env = "MOCK_VERSION", default_value = "v1")]
    pub version: String,
    /// Tokens per choice when the request asks for no fewer.
    #[arg(long, env = "MOCK_TOKENS", default_value_t = 16)]
    pub tokens: u64,
}

impl MockArgs {
    /// The server that is asked for.
    #[must_use]
    pub fn options(&self) -> MockOptions {
        let mut options = MockOptions::new(&self.model, &self.version).at(self.listen);
        options.tokens = self.tokens;
        options
    }
}
