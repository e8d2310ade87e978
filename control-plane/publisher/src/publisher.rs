//! The control plane's main loop: source → registry → plan → snapshots.
//!
//! Edits (labels, policies, replaced modules) and lost endpoints are published after 20 ms; other changes are debounced. A scale
//! that was held back is published when it is due.
//!
//! Invariant: a publication never waits for a proxy. A newer plan replaces one that proxies did not take yet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use headgate_model::{
    Change, HostRules, LabelKeys, Observed, Plan, Registry, ScaleDamper, Scales, Stability,
    StabilityReport, Tick, plan,
};
use tokio::sync::watch;

use crate::changes::PlanChanges;
use crate::modules::Offered;
use crate::scheduler::PublishScheduler;
use crate::snapshots::SnapshotStore;

/// A publication.
#[derive(Debug, Clone)]
pub struct Published {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The objects that the plan was made from.
    pub observed: Arc<Observed>,
    /// The wasm modules of this publication.
    pub offered: Offered,
    /// When the work on it began.
    pub began: SystemTime,
    /// When every scope had its snapshot.
    pub at: SystemTime,
    /// The time from objects to the last scope's snapshot.
    pub took: Duration,
    /// The number of this publication in this process, from 1.
    pub number: u64,
}

/// The main loop and its state.
pub struct Publisher {
    snapshots: SnapshotStore,
    modules: watch::Receiver<Offered>,
    keys: LabelKeys,
    root_namespace: Option<String>,
    served: Option<BTreeSet<String>>,
    hosts: HostRules,
    needs_routes: bool,
    stability: Stability,
    stability_report: StabilityReport,
    damper: ScaleDamper,
    scales: Scales,
    origin: Instant,
    published: watch::Sender<Option<Arc<Published>>>,
}

impl Publisher {
    /// A publisher that has published nothing yet.
    pub fn new(
        snapshots: SnapshotStore,
        modules: watch::Receiver<Offered>,
        keys: LabelKeys,
    ) -> Self {
        Self {
            snapshots,
            modules,
            keys,
            root_namespace: None,
            served: None,
            hosts: HostRules::default(),
            needs_routes: false,
            stability: Stability::default(),
            stability_report: StabilityReport::default(),
            damper: ScaleDamper::default(),
            scales: Scales::default(),
            origin: Instant::now(),
            published: watch::Sender::new(None),
        }
    }

    /// Sets the root namespace: its policies apply to the models of every namespace.
    pub fn rooted(self, root_namespace: Option<String>) -> Self {
        Self {
            root_namespace,
            ..self
        }
    }

    /// Restricts service to these namespaces, which have a domain.
    pub fn serving(self, namespaces: impl IntoIterator<Item = String>) -> Self {
        Self {
            served: Some(namespaces.into_iter().collect()),
            ..self
        }
    }

    /// Plans for the proxies of a service mesh too. `needs_routes`: a version needs a route before they get it.
    pub fn in_mesh(self, hosts: HostRules, needs_routes: bool) -> Self {
        Self {
            hosts,
            needs_routes,
            ..self
        }
    }

    /// The last publication; `None` until the source is synced.
    pub fn published(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.subscribe()
    }

    /// Publishes until the source ends.
    pub async fn run(mut self, mut source: watch::Receiver<Arc<Observed>>) {
        let first = source.borrow_and_update().clone();
        self.publish(&first);
        let mut scheduler = PublishScheduler::default();
        loop {
            let due = scheduler.due().map(tokio::time::Instant::from_std);
            let tick = self.tick();
            let waits = [
                self.damper.wake_after(tick),
                self.stability.wake_after(&self.stability_report, tick),
            ];
            let wake = waits.into_iter().flatten().min();
            tokio::select! {
                changed = source.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let change = self.change(&source.borrow_and_update());
                    scheduler.changed(change, Instant::now());
                }
                Ok(()) = self.modules.changed() => scheduler.changed(Some(Change::Intent), Instant::now()),
                () = sleep_until(due) => {
                    if scheduler.publish(Instant::now()) {
                        let observed = source.borrow().clone();
                        let began = Instant::now();
                        self.publish(&observed);
                        scheduler.published(began.elapsed(), Instant::now());
                    }
                }
                () = sleep(wake) => {
                    let observed = source.borrow().clone();
                    if self.time_changes_plan(&observed) {
                        self.publish(&observed);
                    }
                }
            }
        }
    }

    /// The change since the last publication; `None` if only findings differ.
    fn change(&self, observed: &Observed) -> Option<Change> {
        let published = self.published.borrow();
        let published = published.as_ref();
        published.and_then(|p| observed.change_since(&p.observed))
    }

    /// Whether the passage of time changed a scale or the stability report.
    fn time_changes_plan(&mut self, observed: &Observed) -> bool {
        let tick = self.tick();
        let registry = Registry::build(&observed.objects, &self.keys);
        let stability_report = self.stability.observe(&registry, tick);
        let available = self.stability_report.next_available;
        let otherwise = available.is_some_and(|at| at <= stability_report.unix_seconds)
            || stability_report.flapping != self.stability_report.flapping
            || stability_report.not_started != self.stability_report.not_started;
        let readiness = registry.with_stability(&stability_report).readiness();
        self.damper.observe(&readiness, tick) != self.scales || otherwise
    }

    /// Publishes off the async scheduler: plans of thousands of models take milliseconds, and streams run on the same threads.
    fn publish(&mut self, observed: &Arc<Observed>) {
        tokio::task::block_in_place(|| self.publish_now(observed));
    }

    fn publish_now(&mut self, observed: &Arc<Observed>) {
        let (began, start) = (SystemTime::now(), Instant::now());
        let registry = Registry::build(&observed.objects, &self.keys)
            .with_root_namespace(self.root_namespace.as_deref())
            .in_mesh(self.hosts.clone(), self.needs_routes);
        let registry = match &self.served {
            Some(namespaces) => registry.with_served_namespaces(namespaces.clone()),
            None => registry,
        };
        let tick = self.tick();
        self.stability_report = self.stability.observe(&registry, tick);
        let registry = registry.with_stability(&self.stability_report);
        self.scales = self.damper.observe(&registry.readiness(), tick);
        let mut plan = plan(&registry, &observed.objects, &self.scales);
        plan.findings.extend(observed.findings.iter().cloned());
        plan.findings.sort();
        // A source and the plan may report the same finding.
        plan.findings.dedup();
        let plan = Arc::new(plan);
        let before = self.published.borrow().clone();
        let before = before.as_deref();
        let number = before.map_or(0, |published| published.number) + 1;
        let span = tracing::info_span!("publication", publication = number);
        let _entered = span.enter();
        let offered = self.modules.borrow_and_update().clone();
        let resources = self.snapshots.publish(plan.clone(), &offered.module);
        let took = start.elapsed();
        self.published.send_replace(Some(Arc::new(Published {
            plan: plan.clone(),
            observed: observed.clone(),
            offered,
            began,
            at: SystemTime::now(),
            took,
            number,
        })));
        // Whoever follows publications does not wait for the comparison.
        let changes = PlanChanges::between(before.map(|published| &*published.plan), &plan);
        let took_ms = took.as_secs_f64() * 1e3;
        if changes.is_empty() && resources.is_empty() {
            tracing::debug!(took_ms, "published without changes");
        } else {
            tracing::info!(
                namespaces = %changes.namespaces,
                models = %changes.models,
                resources = %resources,
                took_ms,
                "published"
            );
        }
    }

    fn tick(&self) -> Tick {
        tick(self.origin.elapsed())
    }
}

/// The current time, and the time since the process started.
pub fn tick(elapsed: Duration) -> Tick {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Tick {
        elapsed,
        unix_seconds: wall.map_or(0, |d| d.as_secs()),
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
