//! The command line of the mock model, for the program and for the containers of pods.

use std::net::SocketAddr;

use clap::Parser;

use super::{HEADERS_HELP, MockOptions};

/// A model server with generated OpenAI-style responses and configurable faults.
#[derive(Debug, Parser)]
#[command(name = "mock-model", after_long_help = HEADERS_HELP)]
pub struct MockArgs {
    /// Address to listen on.
    #[arg(long, env = "MOCK_LISTEN", default_value = "127.0.0.1:8101")]
    pub listen: SocketAddr,
    /// Model to serve.
    #[arg(long, env = "MOCK_MODEL", default_value = "llama3-70b")]
    pub model: String,
    /// Version of the model.
    #[arg(long, env = "MOCK_VERSION", default_value = "v1")]
    pub version: String,
    /// Tokens per choice, unless the request asks for fewer.
    #[arg(long, env = "MOCK_TOKENS", default_value_t = 16)]
    pub tokens: u64,
}

impl MockArgs {
    /// The options of the server.
    #[must_use]
    pub fn options(&self) -> MockOptions {
        let mut options = MockOptions::new(&self.model, &self.version).at(self.listen);
        options.tokens = self.tokens;
        options
    }
}
