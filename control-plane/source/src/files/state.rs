//! The state directory of `--state`: one `ServedModel` manifest for each model, for installations without an API server.
//!
//! Invariant: files are replaced atomically, also across a crash. They are watched like any other file, so a stored memory is an input
//! of the next plan; a removed file is written again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_model::{Memory, ModelKey, Planned, next_memories, next_memory_change};
use serde_json::json;
use tokio::sync::watch;

use super::document::split;
use super::scan::manifests;
use headgate_kubernetes::clock::unix_now;
use headgate_kubernetes::faults::{FaultPlace, Faults};
use headgate_kubernetes::models::{
    ServedModelStatus, StoredModel, UNCARRIED, object_name, set_carriers_gone, store_memory, time,
};

/// Period of checks, and longest wait until a written file is read back.
const CHECK: Duration = Duration::from_secs(5);
/// Consequence of a directory that cannot be written, for the problem's message.
const CONSEQUENCE: &str =
    "the base of models is not saved, so after a restart the oldest carrier of a model is its base";

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Default)]
struct StateFile {
    memory: Memory,
    /// Since when no object declares the model, in Unix seconds.
    gone_since: Option<i64>,
    /// When this process wrote it.
    at: Option<Instant>,
}

/// Stores the memory that follows from each plan in this directory, until all senders of `plans` are dropped. Reports failures to
/// `faults`.
pub async fn keep(
    directory: PathBuf,
    mut plans: watch::Receiver<Option<Arc<Planned>>>,
    faults: Faults,
) {
    let mut state = State::open(directory);
    plans.mark_changed();
    let mut next = CHECK;
    loop {
        let changed = tokio::time::timeout(next, plans.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
        let Some(planned) = plans.borrow_and_update().clone() else {
            continue;
        };
        next = due(&planned, unix_now());
        let faults = faults.clone();
        let round = tokio::task::spawn_blocking(move || {
            let outcome = state.follow(&planned, unix_now());
            let resource = format!("--state {}", state.directory.display());
            match outcome {
                Ok(()) => faults.succeeded(&resource),
                Err(error) => {
                    let why = error.to_string();
                    faults.failed_in(FaultPlace::StateDirectory, &resource, CONSEQUENCE, &why);
                }
            }
            state
        });
        // Joining fails only if the runtime shuts down.
        match round.await {
            Ok(after) => state = after,
            Err(_) => return,
        }
    }
}

/// The wait until the next check: until time alone changes a memory, at most [`CHECK`].
fn due(planned: &Planned, now: i64) -> Duration {
    let at = next_memory_change(&planned.plan, &planned.observed.objects, now);
    let left = at.map(|at| u64::try_from(at - now).unwrap_or(0).max(1));
    left.map_or(CHECK, |left| CHECK.min(Duration::from_secs(left)))
}

struct State {
    directory: PathBuf,
    written: BTreeMap<ModelKey, StateFile>,
}

impl State {
    /// Reads the directory; files that cannot be read are skipped.
    fn open(directory: PathBuf) -> Self {
        let files = manifests(&directory, false).unwrap_or_default();
        let objects = files.iter().filter_map(|file| {
            let documents = split(&super::scan::read(file).ok()?, false).ok()?;
            StoredModel::read(&documents.first()?.value)
        });
        let written = objects.filter_map(|object| {
            let status = object.status.as_ref();
            let gone = status.and_then(|status| status.carriers_gone_since.as_ref());
            let written = StateFile {
                memory: object.memory().unwrap_or_default(),
                gone_since: gone.map(|time| time.0.as_second()),
                at: None,
            };
            Some(((object.namespace, object.model.ok()?), written))
        });
        Self {
            written: written.collect(),
            directory,
        }
    }

    /// Writes the memories that follow from this plan at this moment.
    ///
    /// # Errors
    /// The first write that failed; the others are done nevertheless.
    fn follow(&mut self, planned: &Planned, now: i64) -> io::Result<()> {
        let objects = &planned.observed.objects;
        let memories = next_memories(&planned.plan, objects, now);
        let carried: BTreeSet<&ModelKey> = memories.keys().collect();
        let keys: BTreeSet<ModelKey> = memories
            .keys()
            .chain(self.written.keys())
            .cloned()
            .collect();
        let mut outcome = Ok(());
        for key in keys {
            let read = objects.served_models.get(&key);
            let read = read.map(|served| served.memory.clone()).unwrap_or_default();
            let before = self.written.get(&key).cloned();
            let there = before.is_some() && self.path(&key).exists();
            let known = before.clone().unwrap_or_default();
            let since = known.at.map_or(CHECK, |at| at.elapsed());
            // A memory replaces only the one that it follows from: the last write may not have been read back yet.
            let follows = known.memory == read || since >= CHECK;
            let memory = memories.get(&key).filter(|_| follows);
            let hidden = objects.unread.may_hide_any(&key.0, &known.memory);
            let gone_since = match carried.contains(&key) {
                true => None,
                false if hidden => known.gone_since,
                false => Some(known.gone_since.unwrap_or(now)),
            };
            let after = StateFile {
                memory: memory.unwrap_or(&known.memory).clone(),
                gone_since,
                at: known.at,
            };
            let forgotten = gone_since.is_some_and(|since| !hidden && now - since >= UNCARRIED);
            let done = if forgotten {
                self.remove(&key)
            } else if there && after == known {
                Ok(())
            } else {
                self.write(&key, after)
            };
            outcome = outcome.and(done);
        }
        outcome
    }

    fn path(&self, (namespace, id): &ModelKey) -> PathBuf {
        // A namespace contains no dot, so the name is unambiguous.
        let name = format!("{namespace}.{}.yaml", object_name(id));
        self.directory.join(name)
    }

    fn remove(&mut self, key: &ModelKey) -> io::Result<()> {
        let path = self.path(key);
        let _entered = span(key, &path).entered();
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                tracing::debug!("memory deleted");
                self.written.remove(key);
                Ok(())
            }
        }
    }

    fn write(&mut self, key: &ModelKey, written: StateFile) -> io::Result<()> {
        let path = self.path(key);
        let _entered = span(key, &path).entered();
        replace(&path, &text(key, &written)?)?;
        tracing::debug!("memory written");
        let at = Some(Instant::now());
        self.written
            .insert(key.clone(), StateFile { at, ..written });
        Ok(())
    }
}

/// The span of a write.
fn span((namespace, id): &ModelKey, path: &Path) -> tracing::Span {
    tracing::info_span!("write_state", namespace, model = %id, file = %path.display())
}

/// The object as a manifest.
fn text((namespace, id): &ModelKey, written: &StateFile) -> io::Result<String> {
    let mut status = ServedModelStatus::default();
    store_memory(&mut status, &written.memory);
    set_carriers_gone(&mut status, written.gone_since.and_then(time));
    let name = object_name(id);
    let own = name != id.as_str();
    let object = json!({
        "apiVersion": headgate_contract::names::API_VERSION,
        "kind": "ServedModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": if own { json!({"modelName": id}) } else { json!({}) },
        "status": status,
    });
    let yaml = serde_saphyr::to_string(&object).map_err(io::Error::other)?;
    Ok(format!(
        "# The stored base and names of a model. Saved by `headgate serve --state`.\n{yaml}"
    ))
}

/// Replaces a file atomically and durably.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("not a file"));
    };
    fs::create_dir_all(directory)?;
    // The scan skips hidden files.
    let scratch = directory.join(format!(".{}.new", name.display()));
    let mut file = File::create(&scratch)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&scratch, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_model::{LabelKeys, Registry, Scales, plan};

    use super::*;
    use crate::files::Reducer;
    use headgate_model::Observed;

    const STABLE: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: v1, labels: {model-name: m, model-version: v1}, \
                          annotations: {headgate.dev/endpoints: '127.0.0.1:1'}}}\n";
    const GRACE: i64 = 300;

    /// A directory of models and a state directory.
    struct Fixture {
        reducer: Reducer,
        state: State,
        file: PathBuf,
    }

    impl Fixture {
        fn open(directory: &Path) -> Self {
            let reducer = Reducer::new("default", LabelKeys::default());
            let mut fixture = Self {
                reducer: reducer.with_state_directory(Some(directory.display().to_string())),
                state: State::open(directory.to_owned()),
                file: directory.join("default.m.yaml"),
            };
            fixture.read();
            fixture
        }

        fn read(&mut self) {
            if let Ok(bytes) = fs::read(&self.file) {
                let name = self.file.display().to_string();
                self.reducer.apply(&name, &bytes, 0);
            }
        }

        /// One round: the file is written and read.
        fn round(&mut self, now: i64) -> Planned {
            let observed = self.reducer.observe(&Observed::default()).unwrap();
            let registry = Registry::build(&observed.objects, &LabelKeys::default());
            let planned = Planned {
                plan: Arc::new(plan(&registry, &observed.objects, &Scales::default())),
                observed: Arc::new(observed),
            };
            self.state.follow(&planned, now).unwrap();
            self.read();
            planned
        }
    }

    #[test]
    fn the_memory_outlives_an_unreadable_file_and_no_check_is_due_in_the_past() {
        let made = tempfile::tempdir().unwrap();
        // With a trailing slash, as from the completion of a shell.
        let directory = made.path().join("");
        let mut fixture = Fixture::open(&directory);
        fixture.reducer.apply("v1.yaml", STABLE.as_bytes(), 0);
        fixture.round(0);
        assert!(fixture.file.exists());
        // A removed file of the state directory still counts.
        fixture.reducer.remove(&fixture.file.display().to_string());
        let observed = fixture.reducer.observe(&Observed::default()).unwrap();
        assert_eq!(observed.objects.served_models.len(), 1);

        // Another process starts while the file is invalid, so the objects in it are unknown.
        let mut fixture = Fixture::open(&directory);
        fixture.reducer.apply("v1.yaml", b"{", 0);
        for now in [1, 1 + GRACE, 10 * UNCARRIED] {
            let planned = fixture.round(now);
            assert_eq!(due(&planned, now), CHECK);
            let written = fs::read_to_string(&fixture.file).unwrap();
            assert!(
                written.contains("deployment/v1") && !written.contains("Since"),
                "{written}"
            );
        }
        fixture.reducer.apply("v1.yaml", STABLE.as_bytes(), 0);
        let planned = fixture.round(10 * UNCARRIED + 1);
        assert!(planned.plan.namespaces["default"].models.contains_key("m"));

        // Once all files can be read, a model that no object declares is removed after an hour.
        fixture.reducer.remove("v1.yaml");
        fixture.round(11 * UNCARRIED);
        assert!(fixture.file.exists());
        fixture.round(12 * UNCARRIED);
        assert!(!fixture.file.exists());
    }
}
