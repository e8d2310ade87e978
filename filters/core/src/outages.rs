//! Versions that this proxy cannot reach: consecutive requests to them fail locally (no connection, reset, timeout). New sessions
//! pass them over, as if none of their pods were ready, until a request gets an answer.
//!
//! ```text
//! reachable ──5 failures in a row──▶ passed over for 10 s ──time is over──▶ one request tries it
//!     ▲                                      ▲                                   │       │
//!     └───────────────an answer──────────────┼───────────────────────────────────┘       │
//!                                            └──failure: twice as long, at most 5 min────┘
//! ```
//!
//! The plan excludes pods that are not ready, and outlier detection ejects some endpoints of a version. Neither covers a version
//! that is ready and does not answer at all.
//!
//! All workers of a proxy share one list in shared data. A worker writes it when a request fails, when a version answers again, and
//! when a request tries a version; it reads it then and on each tick. While nothing fails, a request checks an empty list.

use crate::effects::Effect;
use crate::metrics;
use crate::ports::Cells;

/// Key of the list in shared data.
const KEY: &str = "headgate.outages/1";
/// Failures in a row after which a version is passed over.
pub(crate) const FAILURES_TO_PASS_OVER: u32 = 5;
/// Length of the first period, ns.
const FIRST_NS: u64 = 10 * SECOND_NS;
/// Length of the longest period, ns.
const LONGEST_PERIOD_NS: u64 = 300 * SECOND_NS;
/// How long a trial may take before another request may try the version, ns.
const TRIAL_NS: u64 = 10 * SECOND_NS;
/// Age at which failures expire, ns. Above [`LONGEST_PERIOD_NS`], so that a version that is passed over never expires.
const STALE_NS: u64 = 900 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;
/// Most versions in the list.
const MAX_VERSIONS: usize = 1024;
/// Compare-and-swap attempts for one change. A lost change is harmless: one failure is not counted, or the next answer repeats it.
const TRIES: usize = 8;

/// A version: its namespace, model and name. Label values contain neither slashes nor line breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) model: &'a str,
    pub(crate) version: &'a str,
}

/// This worker's copy of the list.
#[derive(Debug, Default)]
pub(crate) struct Outages(Vec<Outage>);

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outage {
    /// `namespace/model/version`.
    version: String,
    /// Failures in a row.
    failures: u32,
    /// Consecutive periods in which it was passed over; 0: none yet.
    periods: u32,
    /// End of the current period, ns.
    passed_over_until_ns: u64,
    /// Deadline of the current trial, ns.
    trial_deadline_ns: u64,
    /// Time of the last failure, ns.
    last_failure_ns: u64,
}

/// The result of a change to one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// A period began, of this length, ns.
    Begun(u64),
    /// Something else changed.
    Other,
    /// Nothing changed.
    None,
}

impl Outages {
    /// Whether the list has an entry. If not, no other method needs to be called.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether the version is passed over now.
    pub(crate) fn passes_over(&self, target: Target<'_>, now: u64) -> bool {
        let known = self.find(target);
        known.is_some_and(|outage| {
            outage.periods > 0 && now < outage.passed_over_until_ns.max(outage.trial_deadline_ns)
        })
    }

    /// Whether this request is to try a version whose period is over. Other requests pass the version over meanwhile.
    #[cold]
    pub(crate) fn tries<C: Cells + ?Sized>(
        &mut self,
        target: Target<'_>,
        now: u64,
        cells: &C,
    ) -> bool {
        let due = |outage: &Outage| {
            outage.periods > 0 && now >= outage.passed_over_until_ns.max(outage.trial_deadline_ns)
        };
        if !self.find(target).is_some_and(due) {
            return false;
        }
        let change = self.change(target, now, cells, |outage| {
            if !due(outage) {
                return Change::None;
            }
            outage.trial_deadline_ns = now.saturating_add(TRIAL_NS);
            Change::Other
        });
        change == Change::Other
    }

    /// Records a request to the version that failed locally.
    #[cold]
    pub(crate) fn failed<C: Cells + ?Sized>(
        &mut self,
        target: Target<'_>,
        now: u64,
        cells: &C,
    ) -> Vec<Effect> {
        let change = self.change(target, now, cells, |outage| outage.fail(now));
        let Change::Begun(for_ns) = change else {
            return Vec::new();
        };
        let Target {
            namespace,
            model,
            version,
        } = target;
        let begun = metrics::by_version("outages_total", model, version);
        let mut effects = vec![Effect::Count(begun, 1)];
        // Later periods belong to the same outage.
        if for_ns == FIRST_NS {
            effects.push(Effect::Warn(format!(
                "headgate: version {version} of model {model} in namespace {namespace} is passed over for new sessions for {} s, then \
                 tried again: {FAILURES_TO_PASS_OVER} requests in a row could not be delivered to it. Check that its pods listen on their \
                 port; a request that names the version still goes there",
                for_ns / SECOND_NS
            )));
        }
        effects
    }

    /// Records an answer of the version, which ends its outage.
    #[cold]
    pub(crate) fn answered<C: Cells + ?Sized>(&mut self, target: Target<'_>, now: u64, cells: &C) {
        if self.find(target).is_some() {
            self.change(target, now, cells, |outage| {
                outage.failures = 0;
                Change::Other
            });
        }
    }

    /// Reloads the shared list.
    pub(crate) fn tick<C: Cells + ?Sized>(&mut self, cells: &C) {
        self.0 = cells
            .get(KEY)
            .map_or_else(Vec::new, |(bytes, _)| read(&bytes));
    }

    /// Adapts the list to a new plan: a version without ready endpoints is removed, as the plan excludes it; one with more ready
    /// endpoints is tried at once. `endpoints`: ready endpoints of a version, before and after.
    pub(crate) fn replanned<C: Cells + ?Sized>(
        &mut self,
        now: u64,
        cells: &C,
        endpoints: impl Fn(Target<'_>) -> (u32, u32),
    ) {
        self.tick(cells);
        for name in self.0.iter().map(|o| o.version.clone()).collect::<Vec<_>>() {
            let mut words = name.split('/');
            let mut word = || words.next().unwrap_or_default();
            let target = Target {
                namespace: word(),
                model: word(),
                version: word(),
            };
            let (before, after) = endpoints(target);
            if after > 0 && after <= before {
                continue;
            }
            self.change(target, now, cells, |outage| {
                if after == 0 {
                    outage.failures = 0;
                } else {
                    outage.passed_over_until_ns = outage.passed_over_until_ns.min(now);
                }
                Change::Other
            });
        }
    }

    fn find(&self, target: Target<'_>) -> Option<&Outage> {
        let name = target.line();
        self.0.iter().find(|outage| outage.version == name)
    }

    /// Changes the shared entry of one version. An entry without failures is removed.
    fn change<C: Cells + ?Sized>(
        &mut self,
        target: Target<'_>,
        now: u64,
        cells: &C,
        change: impl Fn(&mut Outage) -> Change,
    ) -> Change {
        let name = target.line();
        for _ in 0..TRIES {
            let stored = cells.get(KEY);
            let (bytes, cas) = stored.map_or((Vec::new(), None), |(bytes, cas)| (bytes, Some(cas)));
            let mut known = read(&bytes);
            known.retain(|o| o.version == name || now.saturating_sub(o.last_failure_ns) < STALE_NS);
            let place = known.iter().position(|o| o.version == name);
            let mut outage = match place {
                Some(place) => known.swap_remove(place),
                None => Outage::new(&name),
            };
            let changed = change(&mut outage);
            if outage.failures > 0 && known.len() < MAX_VERSIONS {
                known.push(outage);
            }
            // Sorted, so that equal lists have equal bytes.
            known.sort_unstable_by(|a, b| a.version.cmp(&b.version));
            let written = write(&known);
            if written == bytes || cells.swap(KEY, &written, cas).is_ok() {
                self.0 = known;
                return changed;
            }
        }
        Change::None
    }
}

impl Outage {
    fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            failures: 0,
            periods: 0,
            passed_over_until_ns: 0,
            trial_deadline_ns: 0,
            last_failure_ns: 0,
        }
    }

    fn fail(&mut self, now: u64) -> Change {
        if self.periods > 0 && now < self.passed_over_until_ns {
            // From a pin, or from a request that was in progress when the period began.
            return Change::None;
        }
        if now.saturating_sub(self.last_failure_ns) >= STALE_NS {
            (self.failures, self.periods) = (0, 0);
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure_ns = now;
        if self.failures < FAILURES_TO_PASS_OVER {
            return Change::Other;
        }
        let for_ns = FIRST_NS
            .saturating_mul(1_u64 << self.periods.min(16))
            .min(LONGEST_PERIOD_NS);
        self.periods = self.periods.saturating_add(1);
        self.passed_over_until_ns = now.saturating_add(for_ns);
        self.trial_deadline_ns = 0;
        Change::Begun(for_ns)
    }
}

impl Target<'_> {
    fn line(self) -> String {
        let Self {
            namespace,
            model,
            version,
        } = self;
        format!("{namespace}/{model}/{version}")
    }
}

/// Skips lines that cannot be parsed: another version of the filter wrote them.
fn read(bytes: &[u8]) -> Vec<Outage> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let outage = |line: &str| {
        let mut words = line.split(' ');
        let version = words.next()?.to_owned();
        let mut number = || words.next()?.parse::<u64>().ok();
        Some(Outage {
            version,
            failures: u32::try_from(number()?).ok()?,
            periods: u32::try_from(number()?).ok()?,
            passed_over_until_ns: number()?,
            trial_deadline_ns: number()?,
            last_failure_ns: number()?,
        })
    };
    text.lines().filter_map(outage).collect()
}

fn write(outages: &[Outage]) -> Vec<u8> {
    let line = |o: &Outage| {
        format!(
            "{} {} {} {} {} {}\n",
            o.version,
            o.failures,
            o.periods,
            o.passed_over_until_ns,
            o.trial_deadline_ns,
            o.last_failure_ns
        )
    };
    outages.iter().map(line).collect::<String>().into_bytes()
}
