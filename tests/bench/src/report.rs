//! Samples → findings → one table, or JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cluster::PromiseReport;
use crate::rows::{Cost, Group, Row};
use crate::run::Samples;
use crate::stats::{Estimate, bootstrap, midmean};
use crate::truth::TruthReport;

/// The greatest module, in KiB.
const MODULE_MARK: f64 = 420.0;

/// Everything the bench found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Rounds measured.
    pub rounds: usize,
    /// Where threads ran.
    pub placement: String,
    /// By group.
    pub groups: Vec<GroupReport>,
    /// The modules' sizes.
    pub modules: Vec<ModuleReport>,
    /// What the control plane promises of a whole cluster.
    pub cluster: Vec<PromiseReport>,
    /// What one truth for each key of a bucket costs beside time.
    pub truth: Vec<TruthReport>,
}

/// The rows of a group.
#[derive(Debug, Serialize)]
pub(crate) struct GroupReport {
    /// Its heading.
    pub title: String,
    /// Its rows.
    pub rows: Vec<RowReport>,
}

/// One row. Times in microseconds of worker CPU per request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RowReport {
    /// Its name for `--only`.
    pub id: String,
    /// What it is.
    pub title: String,
    /// The whole request.
    pub whole: Estimate,
    /// What it adds to the group's first row; none for that row.
    pub added: Option<Estimate>,
    /// Its cost by that of the row it is compared with.
    pub ratio: Option<Estimate>,
    /// Whether it is the control.
    pub control: bool,
    /// The greatest ratio aimed at.
    pub mark: Option<f64>,
    /// Whether the ratio is within it.
    pub holds: Option<bool>,
}

/// One module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModuleReport {
    /// Its file's name.
    pub name: String,
    /// Its size in KiB.
    pub kib: f64,
    /// The greatest size aimed at, in KiB.
    pub mark: f64,
    /// Whether it is within it.
    pub holds: bool,
}

impl ModuleReport {
    /// From a file's name and its size in bytes.
    pub(crate) fn new(name: String, bytes: u64) -> Self {
        let kib = bytes as f64 / 1024.0;
        Self {
            name,
            kib,
            mark: MODULE_MARK,
            holds: kib <= MODULE_MARK,
        }
    }
}

/// Estimates everything a group's rows are about. `samples`: rounds of rows, as many of each Envoy.
fn group(group: &Group, samples: &[Vec<f64>], envoys: usize) -> GroupReport {
    let rows = group.rows.iter().enumerate();
    GroupReport {
        title: group.title.clone(),
        rows: rows
            .map(|(i, r)| row(group, samples, envoys, i, r))
            .collect(),
    }
}

fn row(group: &Group, samples: &[Vec<f64>], envoys: usize, index: usize, row: &Row) -> RowReport {
    let each = samples.len() / envoys.max(1);
    let whole = |index: usize, drawn: &[usize]| {
        let values: Vec<f64> = drawn.iter().map(|round| samples[*round][index]).collect();
        midmean(&values)
    };
    // Paired: the difference is taken within each round.
    let added = |index: usize, drawn: &[usize]| {
        let differences = drawn.iter().map(|r| samples[*r][index] - samples[*r][0]);
        midmean(&differences.collect::<Vec<_>>())
    };
    let ratio = row.ratio.as_ref().and_then(|ratio| {
        let other = group.rows.iter().position(|r| r.id == ratio.to)?;
        Some(bootstrap(envoys, each, |drawn| match ratio.of {
            Cost::Added => added(index, drawn) / added(other, drawn),
            Cost::Whole => whole(index, drawn) / whole(other, drawn),
        }))
    });
    let mark = row.ratio.as_ref().and_then(|ratio| ratio.mark);
    RowReport {
        id: row.id.clone(),
        title: row.title.clone(),
        whole: bootstrap(envoys, each, |drawn| whole(index, drawn)),
        added: (index > 0).then(|| bootstrap(envoys, each, |drawn| added(index, drawn))),
        control: row.control,
        mark,
        holds: mark.zip(ratio).map(|(mark, ratio)| ratio.value <= mark),
        ratio,
    }
}

impl Report {
    /// From what was measured.
    pub(crate) fn new(
        groups: &[Group],
        samples: &Samples,
        envoys: usize,
        placement: String,
        modules: Vec<ModuleReport>,
    ) -> Self {
        let reports = groups.iter().zip(samples);
        Self {
            rounds: samples.first().map_or(0, Vec::len),
            placement,
            groups: reports.map(|(g, s)| group(g, s, envoys)).collect(),
            modules,
            cluster: Vec::new(),
            truth: Vec::new(),
        }
    }

    /// Without filters.
    pub(crate) fn of_promises(cluster: Vec<PromiseReport>, truth: Vec<TruthReport>) -> Self {
        Self {
            cluster,
            truth,
            ..Self::new(&[], &Samples::new(), 1, String::new(), Vec::new())
        }
    }

    /// The same with what was found of a cluster, and of buckets.
    pub(crate) fn with(self, cluster: Vec<PromiseReport>, truth: Vec<TruthReport>) -> Self {
        Self {
            cluster,
            truth,
            ..self
        }
    }

    /// How many marks are missed.
    pub(crate) fn missed(&self) -> usize {
        let rows = self.groups.iter().flat_map(|group| &group.rows);
        let ratios = rows.filter(|row| row.holds == Some(false)).count();
        let modules = self.modules.iter().filter(|m| !m.holds).count();
        let truth = self.truth.iter().filter(|t| !t.holds).count();
        ratios + modules + truth + self.cluster.iter().filter(|p| !p.holds).count()
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        if !self.groups.is_empty() {
            out.push_str(&self.filters());
        }
        if !self.truth.is_empty() {
            let _ = writeln!(out, "{}buckets", if out.is_empty() { "" } else { "\n" });
        }
        for found in &self.truth {
            let title = format!("  {}", found.title);
            let cells = [
                &title,
                &found.value,
                "",
                "",
                &found.mark,
                verdict(found.holds),
            ];
            line(&mut out, cells);
        }
        if !self.cluster.is_empty() {
            let _ = writeln!(out, "{}a cluster", if out.is_empty() { "" } else { "\n" });
        }
        for found in &self.cluster {
            let title = format!("  {}", found.title);
            let (value, mark) = (&found.value, &found.mark);
            line(
                &mut out,
                [&title, value, "", "", mark, verdict(found.holds)],
            );
        }
        for found in &self.cluster {
            let _ = writeln!(out, "\n{}: {}", found.id, found.figures);
        }
        out
    }

    fn filters(&self) -> String {
        let mut out = format!(
            "worker CPU per request in µs: mean of the middle half of {} paired rounds [95 % bootstrap interval]\n{}\n\n",
            self.rounds, self.placement
        );
        line(
            &mut out,
            [
                "",
                "a request",
                "added to no filter",
                "× compared",
                "mark",
                "",
            ],
        );
        for group in &self.groups {
            let _ = writeln!(out, "{}", group.title);
            for row in &group.rows {
                let cells = cells(row);
                line(&mut out, cells.each_ref().map(String::as_str));
            }
        }
        let _ = writeln!(out, "modules");
        for module in &self.modules {
            let kib = format!("{:.0} KiB", module.kib);
            let mark = format!("≤ {:.0} KiB", module.mark);
            let name = format!("  {}", module.name);
            line(
                &mut out,
                [&name, &kib, "", "", &mark, verdict(module.holds)],
            );
        }
        out.push_str(&self.notes());
        out
    }

    fn notes(&self) -> String {
        let mut out = String::from(
            "\n× compared: added µs by those of the native way of the group; for models, the whole request by that with 1 model.\n",
        );
        let rows = self.groups.iter().flat_map(|group| &group.rows);
        for control in rows.filter(|row| row.control) {
            if let Some(added) = control.added {
                let even = added.contains(0.0);
                let _ = writeln!(
                    out,
                    "A/A control: two equal rows differ by {:+.2} µs; {}.",
                    added.value,
                    if even {
                        "the interval holds 0"
                    } else {
                        "the interval does not hold 0: differences of this size mean nothing in this run"
                    }
                );
            }
        }
        let close = self.groups.iter().flat_map(|group| &group.rows);
        for row in close {
            if let (Some(mark), Some(ratio)) = (row.mark, row.ratio)
                && ratio.contains(mark)
            {
                let _ = writeln!(
                    out,
                    "{}: the mark is within the interval; more rounds would tell.",
                    row.id
                );
            }
        }
        out
    }
}

fn cells(row: &RowReport) -> [String; 6] {
    let or_none = |text: Option<String>| text.unwrap_or_default();
    [
        format!("  {}", row.title),
        interval(row.whole, 1),
        or_none(row.added.map(|added| interval(added, 1))),
        or_none(row.ratio.map(|ratio| interval(ratio, 2))),
        or_none(row.mark.map(|mark| format!("≤ {mark}"))),
        or_none(row.holds.map(|holds| verdict(holds).to_owned())),
    ]
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "MISSES" }
}

fn interval(estimate: Estimate, digits: usize) -> String {
    let Estimate { value, low, high } = estimate;
    format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
}

fn line(out: &mut String, [title, whole, added, ratio, mark, verdict]: [&str; 6]) {
    let text = format!("{title:<54} {whole:>24} {added:>26} {ratio:>20}  {mark:<10} {verdict}");
    let _ = writeln!(out, "{}", text.trim_end());
}
