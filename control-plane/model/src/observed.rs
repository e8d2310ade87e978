//! What the file source publishes: the accepted objects, and what is wrong with which file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::{CarrierKey, Finding, Objects, Plan, Severity};

use crate::change::Change;
use crate::reference::References;

/// The accepted objects as they are now, and the state of the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The accepted objects.
    pub objects: Objects,
    /// What is wrong, by file; empty when every file is served as written.
    pub problems: Vec<FileProblem>,
    /// What the source has to say about objects of a cluster, sorted.
    pub findings: Vec<Finding>,
    /// The models that the objects of these findings have to do with, where these are no carriers.
    pub concerned: BTreeMap<CarrierKey, BTreeSet<String>>,
    /// What the API server calls the objects, where they come from one.
    pub references: References,
    /// Counts publications, from 1.
    pub generation: u64,
    /// The generation of the last [`Change::Intent`].
    pub intent: u64,
    /// The generation of the last [`Change::Loss`].
    pub loss: u64,
    /// The generation in which the objects changed last.
    pub changed: u64,
}

impl Observed {
    /// What became of the objects since `seen`, also where publications in between were skipped; `None` where only
    /// the problems differ.
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

/// Something is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    /// The file, as the directory was given plus its name.
    pub file: String,
    /// Which of the file's documents, from 1; `None` where it holds one or could not be taken apart.
    pub document: Option<usize>,
    /// JSON path of the value at fault; `.` is the whole document.
    pub path: String,
    /// What is wrong and what to write instead, and what is served meanwhile.
    pub message: String,
    /// [`Severity::Error`]: not served as written. [`Severity::Warning`]: something in it has no effect.
    pub severity: Severity,
    /// Since when, in Unix seconds: the moment this problem was first seen and has been there ever since.
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

/// A plan, and the objects that it was made from.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The objects.
    pub observed: Arc<Observed>,
}
