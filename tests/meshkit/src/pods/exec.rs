//! Commands beside the process of a container: probes and hooks with `exec`.

use tokio::process::Command;

use super::root::{Privileges, is_root};

/// Runs commands in the namespaces, with the root directory and the user of a process.
#[derive(Debug, Clone)]
pub(super) struct Exec {
    pub(super) pid: u32,
    pub(super) privileges: Privileges,
    /// `NAME=VALUE`.
    pub(super) variables: Vec<String>,
}

impl Exec {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// Its exit code and its output, if it fails.
    pub(super) async fn run(&self, command: &[String]) -> Result<(), String> {
        let mut nsenter = Command::new("nsenter");
        nsenter.args([
            "--target",
            &self.pid.to_string(),
            "--mount",
            "--root",
            "--wd",
        ]);
        let Privileges { user, group, .. } = self.privileges;
        if is_root() {
            let (user, group) = (user.to_string(), group.to_string());
            nsenter.args(["--setuid", &user, "--setgid", &group]);
        } else {
            nsenter.args(["--user", "--preserve-credentials"]);
        }
        nsenter.arg("--").args(command).env_clear();
        let pairs = self.variables.iter().filter_map(|v| v.split_once('='));
        nsenter.envs(pairs);
        let ran = crate::command::output(nsenter).await;
        ran.map(|_| ()).map_err(|error| error.to_string())
    }
}
