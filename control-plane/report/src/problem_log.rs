//! The log lines about problems: one at the severity of the problem when it appears, and one at INFO when it is gone.
//!
//! ```text
//! Plan, Observed, scopes, ProblemReport ──▶ LoggedProblem ──▶ ProblemLog ──▶ lines
//! ```
//!
//! Pure, over an injected clock: [`ProblemLog::observe`] returns lines, and [`ProblemLine::log`] writes one.
//!
//! Invariant: problems of one object with one reason log at most [`MAX_LINES`] lines in a window of a minute. The next line says how
//! many were suppressed. If a problem differs from its last line at the end of the window, it is logged then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use headgate_contract::ModelId;
use headgate_model::{CarrierKey, Finding, Observed, Plan, Subject};

use crate::ProblemReport;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(60);
/// Lines in a window.
const MAX_LINES: usize = 5;

/// A problem, with the fields of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoggedProblem {
    /// Reason: a constant word such as `VersionHeld`.
    pub reason: String,
    /// The object or file concerned.
    pub object: String,
    /// The part of the object, if problems of its other parts have their own limit: a place in a file.
    pub part: Option<String>,
    /// The problem and its fix.
    pub detail: String,
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// The file of the object.
    pub file: Option<String>,
    /// The scope of the proxies concerned.
    pub scope: Option<String>,
}

/// The models of all carriers of a plan.
#[derive(Debug)]
pub struct CarriedModels<'a>(BTreeMap<&'a CarrierKey, &'a ModelId>);

impl<'a> CarriedModels<'a> {
    /// Those of this plan.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        let models = plan.namespaces.values().flat_map(|view| &view.models);
        let carriers = models.flat_map(|(id, model)| {
            let carriers = model.carriers.iter();
            carriers.map(move |carrier| (&carrier.key, id))
        });
        Self(carriers.collect())
    }
}

impl LoggedProblem {
    /// A finding on an object.
    #[must_use]
    pub fn of_finding(finding: &Finding, models: &CarriedModels<'_>, observed: &Observed) -> Self {
        let objects = &observed.objects;
        let (is_observed, model) = match &finding.object {
            Subject::ControlPlane => (false, None),
            Subject::Model { id, .. } => (false, Some(id.to_string())),
            Subject::Policy(id) => (objects.policies.contains_key(id), None),
            Subject::Carrier(key) => {
                let model = models.0.get(key).map(ToString::to_string);
                (objects.carriers.contains_key(key), model)
            }
        };
        let is_file = is_observed && observed.references.get(&finding.object).is_none();
        Self {
            reason: finding.reason.to_owned(),
            object: finding.object.to_string(),
            detail: finding.message.clone(),
            severity: crate::severity(finding.severity).to_owned(),
            namespace: finding.object.namespace().map(str::to_owned),
            model,
            file: is_file.then(|| finding.origin.clone()),
            ..Self::default()
        }
    }

    /// This problem, with the other fields of `self`.
    pub(crate) fn with(self, problem: ProblemReport) -> Self {
        Self {
            reason: problem.reason,
            object: problem.object,
            detail: problem.message,
            severity: problem.severity,
            ..self
        }
    }

    fn group(&self) -> Group {
        (self.reason.clone(), self.object.clone(), self.part.clone())
    }
}

impl From<ProblemReport> for LoggedProblem {
    fn from(problem: ProblemReport) -> Self {
        Self::default().with(problem)
    }
}

/// Reason, object, and part of the object.
type Group = (String, String, Option<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Appeared,
    Gone,
}

/// A line to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemLine {
    problem: LoggedProblem,
    change: Change,
    /// Changes of the same reason and object since the last line that were not logged.
    suppressed: u64,
}

impl ProblemLine {
    /// Logs it.
    pub fn log(&self) {
        let Self {
            problem,
            change,
            suppressed,
        } = self;
        let LoggedProblem {
            reason,
            object,
            detail,
            ..
        } = problem;
        let (namespace, model) = (problem.namespace.as_deref(), problem.model.as_deref());
        let (file, scope) = (problem.file.as_deref(), problem.scope.as_deref());
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    reason, object, namespace, model, file, scope, detail, suppressed, $message
                )
            };
        }
        match (change, problem.severity.as_str()) {
            (Change::Gone, _) => line!(info, "problem is gone"),
            (Change::Appeared, "error") => line!(error, "problem appeared"),
            (Change::Appeared, "warning") => line!(warn, "problem appeared"),
            (Change::Appeared, _) => line!(info, "remark appeared"),
        }
    }
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    lines: usize,
    suppressed: u64,
    /// Problems whose last line differs from their state.
    pending: BTreeMap<LoggedProblem, Change>,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            ends: now + WINDOW,
            lines: 0,
            suppressed: 0,
            pending: BTreeMap::new(),
        }
    }

    fn change(&mut self, problem: &LoggedProblem, change: Change) -> Option<ProblemLine> {
        // Its last line is true again.
        if self.pending.remove(problem).is_some() {
            self.suppressed += 1;
            return None;
        }
        if self.lines == MAX_LINES {
            self.suppressed += 1;
            self.pending.insert(problem.clone(), change);
            return None;
        }
        self.lines += 1;
        Some(ProblemLine {
            problem: problem.clone(),
            change,
            suppressed: std::mem::take(&mut self.suppressed),
        })
    }

    /// A problem ended because another one replaced it. If the line of that one was logged, it says enough.
    fn replaced(&mut self, problem: &LoggedProblem, is_logged: bool) {
        if self.pending.remove(problem).is_none() && !is_logged {
            self.suppressed += 1;
            self.pending.insert(problem.clone(), Change::Gone);
        }
    }

    /// Begins the next window, and logs what is pending. The suppressed changes include those.
    fn renew(&mut self, now: Instant) -> Vec<ProblemLine> {
        let pending = std::mem::take(&mut self.pending);
        let suppressed = self.suppressed.saturating_sub(pending.len() as u64);
        *self = Self {
            suppressed,
            ..Self::new(now)
        };
        let lines = pending.iter();
        lines
            .filter_map(|(problem, change)| self.change(problem, *change))
            .collect()
    }
}

/// The problems as they are now, and what was logged about them.
#[derive(Debug, Default)]
pub struct ProblemLog {
    now: BTreeSet<LoggedProblem>,
    windows: BTreeMap<Group, Window>,
}

impl ProblemLog {
    /// Takes in all problems of the moment, and returns the lines to log.
    pub fn observe(&mut self, problems: BTreeSet<LoggedProblem>, now: Instant) -> Vec<ProblemLine> {
        let mut lines = self.end_windows(now);
        let before = std::mem::replace(&mut self.now, problems);
        // Problems of one group that are replaced by as many others did not end: their message changed.
        // For each group, whether the line of each new problem is logged.
        let mut new: BTreeMap<Group, Vec<bool>> = BTreeMap::new();
        for problem in self.now.difference(&before) {
            let line = change(&mut self.windows, problem, Change::Appeared, now);
            new.entry(problem.group()).or_default().push(line.is_some());
            lines.extend(line);
        }
        for problem in before.difference(&self.now) {
            match new.get_mut(&problem.group()).and_then(Vec::pop) {
                Some(is_logged) => {
                    if let Some(window) = self.windows.get_mut(&problem.group()) {
                        window.replaced(problem, is_logged);
                    }
                }
                _ => lines.extend(change(&mut self.windows, problem, Change::Gone, now)),
            }
        }
        lines
    }

    /// When to call [`ProblemLog::observe`] again, even if nothing changes.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let pending = self.windows.values().filter(|w| !w.pending.is_empty());
        pending.map(|window| window.ends).min()
    }

    /// Ends the windows that are over, and returns the lines that were pending in them.
    fn end_windows(&mut self, now: Instant) -> Vec<ProblemLine> {
        let mut lines = Vec::new();
        self.windows.retain(|_, window| {
            if window.ends > now {
                return true;
            }
            // A number that no line reported within another minute is of no use.
            let keep = !window.pending.is_empty() || (window.suppressed > 0 && window.lines > 0);
            lines.extend(window.renew(now));
            keep
        });
        lines
    }
}

fn change(
    windows: &mut BTreeMap<Group, Window>,
    problem: &LoggedProblem,
    change: Change,
    now: Instant,
) -> Option<ProblemLine> {
    let window = windows.entry(problem.group());
    window
        .or_insert_with(|| Window::new(now))
        .change(problem, change)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn problem(object: &str, detail: &str) -> LoggedProblem {
        LoggedProblem {
            reason: "LeftOut".to_owned(),
            object: object.to_owned(),
            detail: detail.to_owned(),
            severity: "error".to_owned(),
            ..LoggedProblem::default()
        }
    }

    /// The lines after an observation, as `+detail` and `-detail` with the number of suppressed changes.
    fn observe(log: &mut ProblemLog, problems: &[LoggedProblem], now: Instant) -> Vec<String> {
        let lines = log.observe(problems.iter().cloned().collect(), now);
        let text = |line: &ProblemLine| {
            let sign = match line.change {
                Change::Appeared => '+',
                Change::Gone => '-',
            };
            format!("{sign}{} {}", line.problem.detail, line.suppressed)
        };
        lines.iter().map(text).collect()
    }

    #[test]
    fn a_problem_is_one_line_when_it_appears_and_one_when_it_is_gone() {
        let (t, mut log) = (Instant::now(), ProblemLog::default());
        let (a, b) = (problem("x", "a"), problem("y", "b"));
        assert_eq!(
            observe(&mut log, &[a.clone(), b.clone()], t),
            ["+a 0", "+b 0"]
        );
        for second in 1..200 {
            let now = t + second * SECOND;
            assert!(observe(&mut log, &[a.clone(), b.clone()], now).is_empty());
        }
        assert_eq!(observe(&mut log, &[b], t + 200 * SECOND), ["-a 0"]);
        assert_eq!(log.due(), None);
    }

    #[test]
    fn a_changed_message_is_a_line_and_the_earlier_one_is_not_gone() {
        let (t, mut log) = (Instant::now(), ProblemLog::default());
        observe(&mut log, &[problem("x", "a")], t);
        let changed = [problem("x", "b")];
        assert_eq!(observe(&mut log, &changed, t + SECOND), ["+b 0"]);
        assert_eq!(observe(&mut log, &[], t + 2 * SECOND), ["-b 0"]);
    }

    #[test]
    fn the_end_is_logged_also_after_a_message_that_changed_too_often() {
        let (t, mut log) = (Instant::now(), ProblemLog::default());
        for n in 0..20 {
            observe(&mut log, &[problem("x", &n.to_string())], t);
        }
        assert!(observe(&mut log, &[], t + SECOND).is_empty());
        let last = observe(&mut log, &[], t + WINDOW);
        assert_eq!(last.len(), 1, "{last:?}");
        assert!(last[0].starts_with("-4 "), "{last:?}");
    }

    #[test]
    fn a_problem_that_flaps_is_a_few_lines_a_minute_and_the_next_one_counts_the_others() {
        let (t, mut log) = (Instant::now(), ProblemLog::default());
        let mut lines = Vec::new();
        for second in 0..60 {
            let problems = [problem("x", "a")];
            let present = usize::from(second % 2 == 0);
            lines.extend(observe(&mut log, &problems[..present], t + second * SECOND));
        }
        assert_eq!(lines, ["+a 0", "-a 0", "+a 0", "-a 0", "+a 0"]);
        // The last line says that it is there, so its end is due.
        let due = log.due().unwrap_or(t);
        assert_eq!(due, t + WINDOW);
        assert_eq!(observe(&mut log, &[], due), ["-a 54"]);
        assert_eq!(log.due(), None);
        observe(&mut log, &[], due + WINDOW);
        assert!(log.windows.is_empty(), "nothing is kept");
    }

    #[test]
    fn other_objects_and_other_parts_of_a_file_have_their_own_limit() {
        let (t, mut log) = (Instant::now(), ProblemLog::default());
        let part = |n: usize| LoggedProblem {
            part: Some(n.to_string()),
            ..problem("m.yaml", &n.to_string())
        };
        let parts: Vec<_> = (0..3 * MAX_LINES).map(part).collect();
        assert_eq!(observe(&mut log, &parts, t).len(), parts.len());
        let crowd: Vec<_> = (0..MAX_LINES + 2)
            .map(|n| problem("x", &n.to_string()))
            .collect();
        let all = [parts, crowd].concat();
        assert_eq!(observe(&mut log, &all, t).len(), MAX_LINES);
        let rest = observe(&mut log, &all, t + WINDOW);
        assert_eq!(rest, ["+5 0", "+6 0"], "none is lost");
    }
}
