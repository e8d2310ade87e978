//! The results, from samples to a table or JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::buckets::BucketReport;
use crate::cluster::ClusterReport;
use crate::rows::{Cost, Group, Row};
use crate::run::Samples;
use crate::stats::{Estimate, bootstrap, midmean};

/// Maximum size of a module, in KiB.
const MAX_MODULE_KIB: f64 = 520.0;

/// All results.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Number of measured rounds.
    pub rounds: usize,
    /// Placement of the threads.
    pub placement: String,
    /// Results by group.
    pub groups: Vec<GroupReport>,
    /// Sizes of the modules.
    pub modules: Vec<ModuleReport>,
    /// Targets for a whole cluster.
    pub cluster: Vec<ClusterReport>,
    /// Targets for buckets that all workers share.
    pub buckets: Vec<BucketReport>,
}

/// The rows of a group.
#[derive(Debug, Serialize)]
pub(crate) struct GroupReport {
    /// Its heading.
    pub title: String,
    /// Its rows.
    pub rows: Vec<RowReport>,
}

/// One row. Times are microseconds of worker CPU per request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RowReport {
    /// Its name for `--only`.
    pub id: String,
    /// Its description.
    pub title: String,
    /// Cost of the whole request.
    pub whole: Estimate,
    /// Cost added to the group's first row; none for that row.
    pub added: Option<Estimate>,
    /// Its cost divided by that of the row it is compared with.
    pub ratio: Option<Estimate>,
    /// Whether it is the control row.
    pub control: bool,
    /// The largest accepted ratio.
    pub target: Option<f64>,
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
    /// The largest accepted size in KiB.
    pub target: f64,
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
            target: MAX_MODULE_KIB,
            holds: kib <= MAX_MODULE_KIB,
        }
    }
}

/// Estimates all values of a group's rows. `samples`: rounds of rows, equally many per Envoy.
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
            Cost::Beyond => added(index, drawn) - added(other, drawn),
        }))
    });
    let target = row.ratio.as_ref().and_then(|ratio| ratio.target);
    RowReport {
        id: row.id.clone(),
        title: row.title.clone(),
        whole: bootstrap(envoys, each, |drawn| whole(index, drawn)),
        added: (index > 0).then(|| bootstrap(envoys, each, |drawn| added(index, drawn))),
        control: row.control,
        target,
        holds: target
            .zip(ratio)
            .map(|(target, ratio)| ratio.value <= target),
        ratio,
    }
}

impl Report {
    /// The results of the filter rows.
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
            buckets: Vec::new(),
        }
    }

    /// Results without filter rows.
    pub(crate) fn without_filters(cluster: Vec<ClusterReport>, buckets: Vec<BucketReport>) -> Self {
        Self {
            cluster,
            buckets,
            ..Self::new(&[], &Samples::new(), 1, String::new(), Vec::new())
        }
    }

    /// Adds the results of cluster and buckets.
    pub(crate) fn with(self, cluster: Vec<ClusterReport>, buckets: Vec<BucketReport>) -> Self {
        Self {
            cluster,
            buckets,
            ..self
        }
    }

    /// The number of missed targets.
    pub(crate) fn missed(&self) -> usize {
        let rows = self.groups.iter().flat_map(|group| &group.rows);
        let ratios = rows.filter(|row| row.holds == Some(false)).count();
        let modules = self.modules.iter().filter(|m| !m.holds).count();
        let buckets = self.buckets.iter().filter(|t| !t.holds).count();
        ratios + modules + buckets + self.cluster.iter().filter(|p| !p.holds).count()
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        if !self.groups.is_empty() {
            out.push_str(&self.filters());
        }
        if !self.buckets.is_empty() {
            let _ = writeln!(out, "{}buckets", if out.is_empty() { "" } else { "\n" });
        }
        for result in &self.buckets {
            let title = format!("  {}", result.title);
            let cells = [
                &title,
                &result.value,
                "",
                "",
                &result.target,
                verdict(result.holds),
            ];
            line(&mut out, cells);
        }
        if !self.cluster.is_empty() {
            let _ = writeln!(out, "{}cluster", if out.is_empty() { "" } else { "\n" });
        }
        for result in &self.cluster {
            let title = format!("  {}", result.title);
            let (value, target) = (&result.value, &result.target);
            line(
                &mut out,
                [&title, value, "", "", target, verdict(result.holds)],
            );
        }
        for result in &self.cluster {
            let _ = writeln!(out, "\n{}: {}", result.id, result.figures);
        }
        out
    }

    fn filters(&self) -> String {
        let mut out = format!(
            "Worker CPU per request in µs: mean of the middle half of {} paired rounds [95 % bootstrap interval]\n{}\n\n",
            self.rounds, self.placement
        );
        line(
            &mut out,
            [
                "",
                "per request",
                "added to no filter",
                "ratio",
                "target",
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
            let target = format!("≤ {:.0} KiB", module.target);
            let name = format!("  {}", module.name);
            line(
                &mut out,
                [&name, &kib, "", "", &target, verdict(module.holds)],
            );
        }
        out.push_str(&self.notes());
        out
    }

    fn notes(&self) -> String {
        let mut out = String::from(
            "\nratio: added µs divided by those of Envoy's native filters, or as the group's title says; for models, the whole request divided by that with 1 model.\n",
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
                        "the interval contains 0"
                    } else {
                        "the interval does not contain 0, so differences of this size are noise in this run"
                    }
                );
            }
        }
        let close = self.groups.iter().flat_map(|group| &group.rows);
        for row in close {
            if let (Some(target), Some(ratio)) = (row.target, row.ratio)
                && ratio.contains(target)
            {
                let _ = writeln!(
                    out,
                    "{}: the target lies within the interval; run more rounds for a clear result.",
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
        or_none(row.target.map(|target| format!("≤ {target}"))),
        or_none(row.holds.map(|holds| verdict(holds).to_owned())),
    ]
}

fn verdict(holds: bool) -> &'static str {
    if holds { "met" } else { "MISSED" }
}

fn interval(estimate: Estimate, digits: usize) -> String {
    let Estimate { value, low, high } = estimate;
    format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
}

fn line(out: &mut String, [title, whole, added, ratio, target, verdict]: [&str; 6]) {
    let text = format!("{title:<54} {whole:>24} {added:>26} {ratio:>20}  {target:<10} {verdict}");
    let _ = writeln!(out, "{}", text.trim_end());
}
