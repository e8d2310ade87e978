//! The command line of a SPIRE server.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::SpireError;
use crate::command::run;

/// The command line of a server.
pub(super) struct ServerCli<'a> {
    pub(super) program: &'a Path,
    pub(super) socket: PathBuf,
}

impl ServerCli<'_> {
    pub(super) async fn run(&self, args: &[&str]) -> Result<String, SpireError> {
        let socket = self.socket.to_string_lossy();
        let args = args.iter().copied().chain(["-socketPath", &socket]);
        Ok(run(self.program, args).await?)
    }

    pub(super) async fn join_token(&self, id: &str) -> Result<String, SpireError> {
        let args = ["token", "generate", "-spiffeID", id, "-output", "json"];
        let output = self.run(&args).await?;
        let parsed: Value = serde_json::from_str(&output).unwrap_or_default();
        let token = parsed["value"].as_str().map(str::to_owned);
        token.ok_or(SpireError::Output {
            line: "token generate",
            output,
        })
    }
}
