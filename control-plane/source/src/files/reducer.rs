//! The reducer of files to objects. It is synchronous and pure: bytes and times come in, observations come out.
//!
//! Invariant: an observation is a function of each file's last valid content, whatever the order of the files.
//! If a file was never valid as a whole, its valid documents are served: a control plane that restarts beside an invalid document must
//! not forget the valid ones.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use headgate_contract::ConfigError;
use headgate_model::{
    Change, FileProblem, Finding, LabelKeys, Objects, Observed, Severity, change,
};

use super::document::{Document, split};
use super::manifest::{Manifest, ManifestReader};
use super::models::Models;
use headgate_kubernetes::models::ServedModelStatus;

/// The reducer.
#[derive(Debug, Clone)]
pub struct Reducer {
    reader: ManifestReader,
    files: BTreeMap<String, File>,
    /// The state directory, as a prefix of the names of its files.
    state: Option<String>,
    /// Problems of directories that cannot be read.
    directories: BTreeMap<String, FileProblem>,
    /// Number of changes.
    revision: u64,
}

#[derive(Debug, Clone, Default)]
struct File {
    /// The last valid content.
    valid: Vec<LocatedManifest>,
    /// Problems of the last content.
    problems: Vec<FileProblem>,
    /// The objects of the last content that Headgate does not read.
    unrelated: Option<String>,
}

#[derive(Debug, Clone)]
struct LocatedManifest {
    document: Option<usize>,
    path: String,
    manifest: Manifest,
    /// When it was read, in Unix seconds: the earliest time of a conflict with another file.
    since: i64,
}

/// The content of a file.
#[derive(Default)]
struct FileContent {
    located: Vec<LocatedManifest>,
    problems: Vec<FileProblem>,
    unrelated: Vec<String>,
}

impl Reducer {
    /// A reducer without files. Objects without a namespace are in `default_namespace`.
    #[must_use]
    pub fn new(default_namespace: impl Into<String>, keys: LabelKeys) -> Self {
        Self {
            reader: ManifestReader {
                default_namespace: default_namespace.into(),
                keys,
            },
            files: BTreeMap::new(),
            state: None,
            directories: BTreeMap::new(),
            revision: 0,
        }
    }

    /// Sets the state directory, whose files store the memory of models.
    #[must_use]
    pub fn with_state_directory(self, state: Option<String>) -> Self {
        Self { state, ..self }
    }

    fn is_state(&self, file: &str) -> bool {
        // By components: the directory may end with a slash.
        let state = self.state.as_ref();
        state.is_some_and(|state| Path::new(file).starts_with(state))
    }

    /// Whether a deleted file of the state directory is kept until it is written again, because its model is still in use.
    fn outlives(&self, file: &str) -> bool {
        let located = self
            .files
            .get(file)
            .into_iter()
            .flat_map(|file| &file.valid);
        let mut models = located.filter_map(|located| match &located.manifest {
            Manifest::Model(model) => Some(model),
            _ => None,
        });
        let unused = |status: &ServedModelStatus| status.carriers_gone_since.is_some();
        self.is_state(file) && models.any(|model| !model.status.as_ref().is_some_and(unused))
    }

    /// A number that grows with each change of the result of [`observe`](Self::observe).
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Replaces the content of a file; `now` in Unix seconds.
    pub fn apply(&mut self, file: &str, bytes: &[u8], now: i64) {
        self.revision += 1;
        let FileContent {
            located,
            problems,
            unrelated,
        } = self.read(file, bytes, now);
        let state = self.files.entry(file.to_owned()).or_default();
        state.unrelated = listed(&unrelated);
        let refused = problems.iter().any(|f| f.severity == Severity::Error);
        state.problems = keep_since(&state.problems, problems);
        if !refused {
            state.valid = located;
        } else if state.valid.is_empty() {
            let rest = if located.is_empty() {
                "no object of the file is served"
            } else {
                "the other objects of the file are served"
            };
            state.valid = located;
            note(&mut state.problems, rest);
        } else {
            note(
                &mut state.problems,
                "the last valid content of the file is served",
            );
        }
    }

    /// Reports that the file cannot be read; its last valid content stays.
    pub fn unreadable(&mut self, file: &str, why: &str, now: i64) {
        let state = self.files.entry(file.to_owned()).or_default();
        let meanwhile = if state.valid.is_empty() {
            "no object of the file is served"
        } else {
            "the last valid content of the file is served"
        };
        let fault = ConfigError::new(".", format!("cannot be read: {why}"));
        let mut problems = vec![problem(file, None, fault, now)];
        note(&mut problems, meanwhile);
        let problems = keep_since(&state.problems, problems);
        let changed = state.problems != problems;
        state.problems = problems;
        self.revision += u64::from(changed);
    }

    /// The objects of a file that Headgate does not read, as one line; `None` if there are none.
    #[must_use]
    pub fn unrelated(&self, file: &str) -> Option<&str> {
        self.files.get(file)?.unrelated.as_deref()
    }

    /// Removes a file and its objects. A memory of a model that is in use stays.
    pub fn remove(&mut self, file: &str) {
        if self.outlives(file) {
            return;
        }
        self.revision += u64::from(self.files.remove(file).is_some());
    }

    /// Reports that a directory cannot be read; its files stay as they were.
    pub fn directory_unreadable(&mut self, directory: &str, why: &str, now: i64) {
        let message = format!("cannot be read: {why}. The last content of its files is served");
        let problem = problem(directory, None, ConfigError::new(".", message), now);
        if let Entry::Vacant(unknown) = self.directories.entry(directory.to_owned()) {
            unknown.insert(problem);
            self.revision += 1;
        }
    }

    /// Reports that a directory can be read again.
    pub fn directory_readable(&mut self, directory: &str) {
        self.revision += u64::from(self.directories.remove(directory).is_some());
    }

    /// The observation that follows `before`; `None` if nothing changed.
    #[must_use]
    pub fn observe(&self, before: &Observed) -> Option<Observed> {
        let (objects, findings, mut problems) = self.merge();
        problems.extend(self.directories.values().cloned());
        problems.sort();
        let change = change::between(&before.objects, &objects);
        let same = problems == before.problems
            && findings == before.findings
            && objects.unread == before.objects.unread;
        if change.is_none() && same && before.generation > 0 {
            return None;
        }
        let generation = before.generation + 1;
        let at = |happened: bool, last: u64| if happened { generation } else { last };
        Some(Observed {
            intent: at(change == Some(Change::Intent), before.intent),
            loss: at(change == Some(Change::Loss), before.loss),
            changed: at(change.is_some(), before.changed),
            objects,
            problems,
            findings,
            generation,
            ..Observed::default()
        })
    }

    fn read(&self, file: &str, bytes: &[u8], now: i64) -> FileContent {
        let mut content = FileContent::default();
        if is_kustomization(file) {
            content.unrelated.push("Kustomization".to_owned());
            return content;
        }
        let documents = match split(bytes, file.ends_with(".json")) {
            Ok(documents) if documents.is_empty() => {
                let empty = ConfigError::new(
                    ".",
                    "contains no object. To remove its objects, remove the file",
                );
                content.problems.push(problem(file, None, empty, now));
                return content;
            }
            Ok(documents) => documents,
            Err(e) => {
                content.problems.push(problem(file, None, e, now));
                return content;
            }
        };
        for Document {
            number,
            prefix,
            value,
            written,
        } in documents
        {
            match self.reader.read(file, &value, &written) {
                Ok(Manifest::Unrelated(object)) => content.unrelated.push(object),
                Ok(Manifest::Ignored(warning)) => {
                    let path = if prefix.is_empty() {
                        ".".to_owned()
                    } else {
                        prefix
                    };
                    let warning = problem(file, number, ConfigError::new(path, warning), now);
                    content.problems.push(FileProblem {
                        severity: Severity::Warning,
                        ..warning
                    });
                }
                Ok(manifest) => content.located.push(LocatedManifest {
                    document: number,
                    path: prefix,
                    manifest,
                    since: now,
                }),
                Err(e) if prefix.is_empty() => content.problems.push(problem(file, number, e, now)),
                Err(e) => content
                    .problems
                    .push(problem(file, number, e.under(&prefix), now)),
            }
        }
        content
    }

    /// Whether unknown objects may exist: a file or a directory cannot be read, or the last valid content of a file is kept.
    fn is_unread(&self) -> bool {
        let broken = |file: &File| {
            let mut problems = file.problems.iter();
            problems.any(|problem| problem.severity == Severity::Error)
        };
        let mut files = self.files.iter().filter(|(name, _)| !self.is_state(name));
        !self.directories.is_empty() || files.any(|(_, file)| broken(file))
    }

    /// Merges all files. If two files have the same object, the first by file name wins, and the other is reported.
    fn merge(&self) -> (Objects, Vec<Finding>, Vec<FileProblem>) {
        let mut objects = Objects::default();
        let (mut findings, mut problems) = (Vec::new(), Vec::new());
        let mut models = Models::default();
        for (file, state) in &self.files {
            problems.extend(state.problems.iter().cloned());
            for located in &state.valid {
                let other = match &located.manifest {
                    Manifest::IncompleteLabels(finding) => {
                        findings.push(finding.clone());
                        None
                    }
                    Manifest::Model(model) => models
                        .insert(model, file, self.is_state(file))
                        .map(|origin| (model.origin(), origin)),
                    manifest => insert(&mut objects, manifest),
                };
                if let Some(other) = other {
                    problems.push(duplicate(file, located, &other));
                }
            }
        }
        objects.served_models = models.served();
        objects.unread.anything = self.is_unread();
        findings.sort();
        findings.dedup();
        (objects, findings, problems)
    }
}

/// Whether a file is a kustomization, by its name: its `kind` is optional.
fn is_kustomization(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    matches!(name, "kustomization.yaml" | "kustomization.yml")
}

/// The first names as one line.
fn listed(names: &[String]) -> Option<String> {
    const MAX_NAMES: usize = 5;
    let some = names.get(..MAX_NAMES).unwrap_or(names).join(", ");
    match names.len() {
        0 => None,
        all if all > MAX_NAMES => Some(format!("{some} and {} more", all - MAX_NAMES)),
        _ => Some(some),
    }
}

/// Adds an object. If it exists already, returns its name and origin.
fn insert(objects: &mut Objects, manifest: &Manifest) -> Option<(String, String)> {
    fn put<K: Ord, V: Clone>(
        map: &mut BTreeMap<K, V>,
        key: K,
        value: &V,
        origin: fn(&V) -> &str,
    ) -> Option<String> {
        match map.entry(key) {
            Entry::Occupied(there) => Some(origin(there.get()).to_owned()),
            Entry::Vacant(place) => {
                place.insert(value.clone());
                None
            }
        }
    }
    match manifest {
        Manifest::Carrier(c) => put(&mut objects.carriers, c.key.clone(), c, |c| &c.origin)
            .map(|origin| (c.key.to_string(), origin)),
        Manifest::Policy(p) => put(&mut objects.policies, p.id(), p, |p| &p.origin)
            .map(|origin| (p.id().to_string(), origin)),
        Manifest::Model(_)
        | Manifest::Ignored(_)
        | Manifest::IncompleteLabels(_)
        | Manifest::Unrelated(_) => None,
    }
}

fn duplicate(
    file: &str,
    located: &LocatedManifest,
    (object, origin): &(String, String),
) -> FileProblem {
    let path = if located.path.is_empty() {
        "."
    } else {
        &located.path
    };
    let message = format!(
        "{object} is also in {origin}, which comes first and is used: remove one of the two"
    );
    problem(
        file,
        located.document,
        ConfigError::new(path, message),
        located.since,
    )
}

fn problem(file: &str, document: Option<usize>, fault: ConfigError, since: i64) -> FileProblem {
    FileProblem {
        file: file.to_owned(),
        document,
        path: fault.path,
        message: fault.message,
        severity: Severity::Error,
        since,
    }
}

/// Adds to each error what is served meanwhile.
fn note(problems: &mut [FileProblem], served: &str) {
    for problem in problems
        .iter_mut()
        .filter(|p| p.severity == Severity::Error)
    {
        problem.message = format!("{}; {served}", problem.message);
    }
}

/// Keeps the time of problems that existed before: a file is invalid since its first invalid content.
fn keep_since(before: &[FileProblem], now: Vec<FileProblem>) -> Vec<FileProblem> {
    let worst = |severity| {
        before
            .iter()
            .filter(|p| p.severity == severity)
            .map(|p| p.since)
            .min()
    };
    now.into_iter()
        .map(|p| FileProblem {
            since: worst(p.severity).unwrap_or(p.since),
            ..p
        })
        .collect()
}
