//! Files → objects. Synchronous and pure: bytes and times come in, the world comes out.
//!
//! Invariant: the world is a function of each file's last good content, whatever the order the files came in.
//! A file none of which was ever good is served by those of its documents that are: a control plane that restarts
//! beside a bad document must not forget the good ones next to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use headgate_contract::ConfigError;
use headgate_model::{LabelKeys, Objects, Severity};

use super::document::{Document, split};
use super::manifest::{Manifest, Reading};
use super::observed::{FileProblem, Observed};
use crate::change::{self, Change};
use crate::reference::References;

/// Reduces files to the world.
#[derive(Debug, Clone)]
pub struct Reducer {
    reading: Reading,
    files: BTreeMap<String, File>,
    /// Directories that cannot be read, and such.
    outside: BTreeMap<String, FileProblem>,
    /// Counts what was taken in.
    revision: u64,
}

#[derive(Debug, Clone, Default)]
struct File {
    /// The last good content.
    good: Vec<Placed>,
    /// What is wrong with the content seen last.
    problems: Vec<FileProblem>,
}

#[derive(Debug, Clone)]
struct Placed {
    document: Option<usize>,
    path: String,
    manifest: Manifest,
    /// When it came, in Unix seconds: a problem it has with other files is not older.
    since: i64,
}

impl Reducer {
    /// Knows no file yet. Objects without a namespace are in `default_namespace`.
    #[must_use]
    pub fn new(default_namespace: impl Into<String>, keys: LabelKeys) -> Self {
        Self {
            reading: Reading {
                default_namespace: default_namespace.into(),
                keys,
            },
            files: BTreeMap::new(),
            outside: BTreeMap::new(),
            revision: 0,
        }
    }

    /// Grows with whatever may change what [`observe`](Self::observe) gives: where it is the same, so is the world.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes a file's content as it is `now` (Unix seconds).
    pub fn apply(&mut self, file: &str, bytes: &[u8], now: i64) {
        self.revision += 1;
        let (placed, faults) = self.read(file, bytes, now);
        let state = self.files.entry(file.to_owned()).or_default();
        let refused = faults.iter().any(|f| f.severity == Severity::Error);
        state.problems = keep_since(&state.problems, faults);
        if !refused {
            state.good = placed;
        } else if state.good.is_empty() {
            let rest = if placed.is_empty() {
                "nothing of the file is served"
            } else {
                "what else the file holds is served"
            };
            state.good = placed;
            note(&mut state.problems, rest);
        } else {
            note(&mut state.problems, "the file's last good content stays");
        }
    }

    /// The file could not be read `now`; its last good content stays.
    pub fn unreadable(&mut self, file: &str, why: &str, now: i64) {
        self.revision += 1;
        let state = self.files.entry(file.to_owned()).or_default();
        let problem = problem(
            file,
            None,
            ConfigError::new(".", format!("cannot be read: {why}")),
            now,
        );
        state.problems = keep_since(&state.problems, vec![problem]);
        note(&mut state.problems, "the file's last good content stays");
    }

    /// The file is gone, and its objects with it.
    pub fn remove(&mut self, file: &str) {
        self.revision += u64::from(self.files.remove(file).is_some());
    }

    /// The directory cannot be read `now`: its files stay as they were.
    pub fn lost(&mut self, directory: &str, why: &str, now: i64) {
        let message = format!("cannot be read: {why}. Its files stay as they were");
        let problem = problem(directory, None, ConfigError::new(".", message), now);
        if let Entry::Vacant(unknown) = self.outside.entry(directory.to_owned()) {
            unknown.insert(problem);
            self.revision += 1;
        }
    }

    /// The directory can be read again.
    pub fn found(&mut self, directory: &str) {
        self.revision += u64::from(self.outside.remove(directory).is_some());
    }

    /// The world that follows `before`; `None` where it is the same in every respect.
    #[must_use]
    pub fn observe(&self, before: &Observed) -> Option<Observed> {
        let (objects, mut problems) = self.merge();
        problems.extend(self.outside.values().cloned());
        problems.sort();
        let change = change::between(&before.objects, &objects);
        if change.is_none() && problems == before.problems && before.generation > 0 {
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
            findings: Vec::new(),
            references: References::default(),
            generation,
        })
    }

    fn read(&self, file: &str, bytes: &[u8], now: i64) -> (Vec<Placed>, Vec<FileProblem>) {
        let documents = match split(bytes, file.ends_with(".json")) {
            Ok(documents) if documents.is_empty() => {
                let empty = ConfigError::new(
                    ".",
                    "holds no object: to take its objects away, remove the file",
                );
                return (Vec::new(), vec![problem(file, None, empty, now)]);
            }
            Ok(documents) => documents,
            Err(e) => return (Vec::new(), vec![problem(file, None, e, now)]),
        };
        let (mut placed, mut problems) = (Vec::new(), Vec::new());
        for Document {
            number,
            prefix,
            value,
        } in documents
        {
            match self.reading.read(file, &value) {
                Ok(Manifest::Ignored(warning)) => {
                    let path = if prefix.is_empty() {
                        ".".to_owned()
                    } else {
                        prefix
                    };
                    let warning = problem(file, number, ConfigError::new(path, warning), now);
                    problems.push(FileProblem {
                        severity: Severity::Warning,
                        ..warning
                    });
                }
                Ok(manifest) => placed.push(Placed {
                    document: number,
                    path: prefix,
                    manifest,
                    since: now,
                }),
                Err(e) if prefix.is_empty() => problems.push(problem(file, number, e, now)),
                Err(e) => problems.push(problem(file, number, e.under(&prefix), now)),
            }
        }
        (placed, problems)
    }

    /// The same object in two files: the first by file name wins, the other is reported.
    fn merge(&self) -> (Objects, Vec<FileProblem>) {
        let mut objects = Objects::default();
        let mut problems = Vec::new();
        for (file, state) in &self.files {
            problems.extend(state.problems.iter().cloned());
            for placed in &state.good {
                if let Some(other) = insert(&mut objects, &placed.manifest) {
                    problems.push(given_twice(file, placed, &other));
                }
            }
        }
        (objects, problems)
    }
}

/// Puts an object into the world, or says who is there already: the object and its origin.
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
        Manifest::Buckets(p) => {
            let key = (p.namespace.clone(), p.name.clone());
            put(&mut objects.bucket_policies, key, p, |p| &p.origin).map(|origin| {
                (
                    format!("TokenBucketPolicy {}/{}", p.namespace, p.name),
                    origin,
                )
            })
        }
        Manifest::Tagging(p) => {
            let key = (p.namespace.clone(), p.name.clone());
            put(&mut objects.tag_policies, key, p, |p| &p.origin).map(|origin| {
                (
                    format!("TrafficTagPolicy {}/{}", p.namespace, p.name),
                    origin,
                )
            })
        }
        Manifest::Ignored(_) => None,
    }
}

fn given_twice(file: &str, placed: &Placed, (object, origin): &(String, String)) -> FileProblem {
    let path = if placed.path.is_empty() {
        "."
    } else {
        &placed.path
    };
    let message = format!(
        "{object} is also in {origin}, which comes first and counts: remove one of the two"
    );
    problem(
        file,
        placed.document,
        ConfigError::new(path, message),
        placed.since,
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

/// Says what is served meanwhile.
fn note(problems: &mut [FileProblem], what: &str) {
    for problem in problems
        .iter_mut()
        .filter(|p| p.severity == Severity::Error)
    {
        problem.message = format!("{}; {what}", problem.message);
    }
}

/// A problem that was there before keeps its age: a file is bad since it first was, however often it is rewritten.
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
