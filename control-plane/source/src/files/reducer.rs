//! Files → objects. Synchronous and pure: bytes and times come in, the world comes out.
//!
//! Invariant: the world is a function of each file's last good content, whatever the order the files came in.
//! A file none of which was ever good is served by those of its documents that are: a control plane that restarts
//! beside a bad document must not forget the good ones next to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use headgate_contract::ConfigError;
use headgate_model::{Finding, LabelKeys, Objects, Severity};

use super::document::{Document, split};
use super::manifest::{Manifest, Reading};
use super::models::Models;
use headgate_kubernetes::models::ServedModelStatus;
use headgate_model::{Change, change};
use headgate_model::{FileProblem, Observed};

/// Reduces files to the world.
#[derive(Debug, Clone)]
pub struct Reducer {
    reading: Reading,
    files: BTreeMap<String, File>,
    /// The state directory, as a prefix of the names of its files.
    state: Option<String>,
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
    /// The objects of the content seen last that are not Headgate's.
    passed: Option<String>,
}

#[derive(Debug, Clone)]
struct Placed {
    document: Option<usize>,
    path: String,
    manifest: Manifest,
    /// When it came, in Unix seconds: a problem it has with other files is not older.
    since: i64,
}

/// What a file holds.
#[derive(Default)]
struct Read {
    placed: Vec<Placed>,
    problems: Vec<FileProblem>,
    passed: Vec<String>,
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
            state: None,
            outside: BTreeMap::new(),
            revision: 0,
        }
    }

    /// With a state directory, whose files store the memory of models.
    #[must_use]
    pub fn remembering(self, state: Option<String>) -> Self {
        Self { state, ..self }
    }

    fn is_state(&self, file: &str) -> bool {
        // By components: the directory may be written with a slash at its end.
        let state = self.state.as_ref();
        state.is_some_and(|state| Path::new(file).starts_with(state))
    }

    /// Whether a deleted file of the state directory still counts until it is written again, because its model is still in use.
    fn outlives(&self, file: &str) -> bool {
        let placed = self.files.get(file).into_iter().flat_map(|file| &file.good);
        let mut models = placed.filter_map(|placed| match &placed.manifest {
            Manifest::Model(model) => Some(model),
            _ => None,
        });
        let given_up = |status: &ServedModelStatus| status.carriers_gone_since.is_some();
        self.is_state(file) && models.any(|model| !model.status.as_ref().is_some_and(given_up))
    }

    /// Grows with whatever may change what [`observe`](Self::observe) gives: where it is the same, so is the world.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes a file's content as it is `now` (Unix seconds).
    pub fn apply(&mut self, file: &str, bytes: &[u8], now: i64) {
        self.revision += 1;
        let Read {
            placed,
            problems: faults,
            passed,
        } = self.read(file, bytes, now);
        let state = self.files.entry(file.to_owned()).or_default();
        state.passed = listed(&passed);
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

    /// The file could not be read `now`; its last good content stays. Whether that is news.
    pub fn unreadable(&mut self, file: &str, why: &str, now: i64) -> bool {
        let state = self.files.entry(file.to_owned()).or_default();
        let meanwhile = if state.good.is_empty() {
            "nothing of the file is served"
        } else {
            "the file's last good content stays"
        };
        let fault = ConfigError::new(".", format!("cannot be read: {why}"));
        let mut problems = vec![problem(file, None, fault, now)];
        note(&mut problems, meanwhile);
        let problems = keep_since(&state.problems, problems);
        let news = state.problems != problems;
        state.problems = problems;
        self.revision += u64::from(news);
        news
    }

    /// The objects of a file that are skipped, as they are not Headgate's; `None` if there is none.
    #[must_use]
    pub fn passed(&self, file: &str) -> Option<&str> {
        self.files.get(file)?.passed.as_deref()
    }

    /// Removes a file and its objects. The memory of a model stays.
    pub fn remove(&mut self, file: &str) {
        if self.outlives(file) {
            return;
        }
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
        let (objects, findings, mut problems) = self.merge();
        problems.extend(self.outside.values().cloned());
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

    fn read(&self, file: &str, bytes: &[u8], now: i64) -> Read {
        let mut read = Read::default();
        if is_kustomization(file) {
            read.passed.push("Kustomization".to_owned());
            return read;
        }
        let documents = match split(bytes, file.ends_with(".json")) {
            Ok(documents) if documents.is_empty() => {
                let empty = ConfigError::new(
                    ".",
                    "holds no object: to take its objects away, remove the file",
                );
                read.problems.push(problem(file, None, empty, now));
                return read;
            }
            Ok(documents) => documents,
            Err(e) => {
                read.problems.push(problem(file, None, e, now));
                return read;
            }
        };
        for Document {
            number,
            prefix,
            value,
            written,
        } in documents
        {
            match self.reading.read(file, &value, &written) {
                Ok(Manifest::Passed(object)) => read.passed.push(object),
                Ok(Manifest::Ignored(warning)) => {
                    let path = if prefix.is_empty() {
                        ".".to_owned()
                    } else {
                        prefix
                    };
                    let warning = problem(file, number, ConfigError::new(path, warning), now);
                    read.problems.push(FileProblem {
                        severity: Severity::Warning,
                        ..warning
                    });
                }
                Ok(manifest) => read.placed.push(Placed {
                    document: number,
                    path: prefix,
                    manifest,
                    since: now,
                }),
                Err(e) if prefix.is_empty() => read.problems.push(problem(file, number, e, now)),
                Err(e) => read
                    .problems
                    .push(problem(file, number, e.under(&prefix), now)),
            }
        }
        read
    }

    /// Whether objects may exist that are not known: a file or a directory cannot be read, or a file's last good content is kept.
    fn is_unread(&self) -> bool {
        let broken = |file: &File| {
            let mut problems = file.problems.iter();
            problems.any(|problem| problem.severity == Severity::Error)
        };
        let mut files = self.files.iter().filter(|(name, _)| !self.is_state(name));
        !self.outside.is_empty() || files.any(|(_, file)| broken(file))
    }

    /// The same object in two files: the first by file name wins, the other is reported.
    fn merge(&self) -> (Objects, Vec<Finding>, Vec<FileProblem>) {
        let mut objects = Objects::default();
        let (mut findings, mut problems) = (Vec::new(), Vec::new());
        let mut models = Models::default();
        for (file, state) in &self.files {
            problems.extend(state.problems.iter().cloned());
            for placed in &state.good {
                let other = match &placed.manifest {
                    Manifest::Nameless(finding) => {
                        findings.push(finding.clone());
                        None
                    }
                    Manifest::Model(model) => models
                        .insert(model, file, self.is_state(file))
                        .map(|origin| (model.origin(), origin)),
                    manifest => insert(&mut objects, manifest),
                };
                if let Some(other) = other {
                    problems.push(given_twice(file, placed, &other));
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

/// Whether it is a file of kustomize, by its name: its `kind` is optional.
fn is_kustomization(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    matches!(name, "kustomization.yaml" | "kustomization.yml")
}

/// The first names, as one line.
fn listed(names: &[String]) -> Option<String> {
    const MOST: usize = 5;
    let some = names.get(..MOST).unwrap_or(names).join(", ");
    match names.len() {
        0 => None,
        all if all > MOST => Some(format!("{some} and {} more", all - MOST)),
        _ => Some(some),
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
        Manifest::Model(_) | Manifest::Ignored(_) | Manifest::Nameless(_) | Manifest::Passed(_) => {
            None
        }
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
