//! The publication of a source: the accepted objects, and the problems of files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::{CarrierKey, Change, Finding, Objects, Plan, References, Severity};

/// The accepted objects in their current state, and the state of the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The accepted objects.
    pub objects: Objects,
    /// Problems, sorted by file; empty if every file is served as written.
    pub problems: Vec<FileProblem>,
    /// Findings of the source on objects of a cluster, sorted.
    pub findings: Vec<Finding>,
    /// The models to which the objects of these findings relate, for objects that are not carriers.
    pub related_models: BTreeMap<CarrierKey, BTreeSet<String>>,
    /// The objects on the API server, for Events; empty for files.
    pub references: References,
    /// The number of this publication, from 1.
    pub generation: u64,
    /// The generation of the last [`Change::Intent`].
    pub intent: u64,
    /// The generation of the last [`Change::Loss`].
    pub loss: u64,
    /// The generation of the last change of the objects.
    pub changed: u64,
}

impl Observed {
    /// The change of the objects since the publication `seen`, including publications in between that were skipped. `None` if only the
    /// problems differ.
    #[must_use]
    pub fn change_since(&self, seen: &Self) -> Option<Change> {
        if self.intent > seen.generation {
            Some(Change::Intent)
        } else if self.loss > seen.generation {
            Some(Change::Loss)
        } else if self.changed > seen.generation {
            Some(Change::Churn)
        } else {
            None
        }
    }
}

/// A problem with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    /// The file: the directory as given, and its name.
    pub file: String,
    /// The number of the document in the file, from 1; `None` if the file has one document or cannot be split.
    pub document: Option<usize>,
    /// JSON path of the invalid value; `.` is the whole document.
    pub path: String,
    /// The problem, the fix, and what is served meanwhile.
    pub message: String,
    /// [`Severity::Error`]: the document is not served as written. [`Severity::Warning`]: a part of it has no effect.
    pub severity: Severity,
    /// Since when the problem exists, in Unix seconds.
    pub since: i64,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(number) = self.document {
            write!(f, " (document {number})")?;
        }
        match self.path.as_str() {
            "." => write!(f, ": {}", self.message),
            path => write!(f, ": {path}: {}", self.message),
        }
    }
}

/// A plan, and the objects from which it was made.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The objects.
    pub observed: Arc<Observed>,
}
