//! The watch of the file of `--scopes`.
//!
//! Invariant: a changed file is used after two reads in a row find the same content, because it may be incomplete. A file that
//! cannot be used changes nothing but the problem that `status` shows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use headgate_identity::stable::Stable;
use headgate_kubernetes::faults::{FaultPlace, Faults};
use headgate_publisher::{RuleSource, ScopeRules, SnapshotStore, parse_scope_file};
use tokio::sync::watch;

/// Time between two reads.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// The file, and the rules that were made from it.
pub(super) struct ScopeFile {
    path: PathBuf,
    rules: watch::Sender<ScopeRules>,
    content: Stable<Result<String, String>>,
}

impl ScopeFile {
    /// Reads the file for the first time. Its rules replace those of `base`.
    ///
    /// # Errors
    /// The file cannot be used, and there are no last good rules to fall back to.
    pub(super) fn open(path: &Path, base: ScopeRules) -> Result<Self, String> {
        let content = read(path);
        Ok(Self {
            rules: watch::Sender::new(parse(path, &content, &base)?),
            path: path.to_owned(),
            content: Stable::new(content),
        })
    }

    /// The rules, now and later.
    pub(super) fn rules(&self) -> watch::Receiver<ScopeRules> {
        self.rules.subscribe()
    }

    /// Reads the file again and again.
    pub(super) async fn run(mut self, scopes: SnapshotStore, faults: Faults) {
        let resource = self.path.display().to_string();
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            let Some(content) = self.content.read(read(&self.path)) else {
                continue;
            };
            let parsed = parse(&self.path, content, &self.rules.borrow());
            match parsed {
                Ok(rules) => {
                    tracing::info!(file = resource, "new scope rules are in effect");
                    scopes.set_rules(rules.clone());
                    self.rules.send_replace(rules);
                    faults.succeeded(&resource);
                }
                Err(why) => {
                    let effect = "the last good scope rules stay in effect";
                    faults.failed_in(FaultPlace::ScopeFile, &resource, effect, &why);
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn parse(
    path: &Path,
    content: &Result<String, String>,
    base: &ScopeRules,
) -> Result<ScopeRules, String> {
    let path = path.display();
    let text = content
        .as_ref()
        .map_err(|error| format!("--scopes {path}: {error}; create the file, or name another"))?;
    // In a mesh, Services are hosts.
    let served = (!base.mesh).then_some(base.namespaces.as_slice());
    let rules = parse_scope_file(text, served);
    Ok(ScopeRules {
        source: RuleSource::File(rules.map_err(|error| format!("--scopes {path}: {error}"))?),
        ..base.clone()
    })
}
