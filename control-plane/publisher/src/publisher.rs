//! Source → registry → plan → scopes, at the right pace: the control plane's one loop.
//!
//! Intent (labels, policies, replaced modules) and the loss of an endpoint go out after 20 ms, other churn is gathered; a scale that
//! was held back goes out when it is due. It never blocks on a proxy: publishing replaces what waits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use headgate_model::Change;
use headgate_model::Observed;
use headgate_model::{
    LabelKeys, Plan, Registry, ScaleDamper, Scales, Stability, Tick, Verdicts, plan,
};
use tokio::sync::watch;

use crate::modules::Offered;
use crate::scheduler::PublishScheduler;
use crate::snapshots::SnapshotStore;

/// What was last published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The plan.
    pub plan: Arc<Plan>,
    /// What it was made from.
    pub observed: Arc<Observed>,
    /// The modules that run it.
    pub offered: Offered,
    /// When its objects were read.
    pub began: SystemTime,
    /// When it was out.
    pub at: SystemTime,
    /// How long the making took, from objects to every scope's snapshot.
    pub took: Duration,
    /// Counts publications of this process.
    pub number: u64,
}

/// The loop and its state.
pub struct Publisher {
    scopes: SnapshotStore,
    modules: watch::Receiver<Offered>,
    keys: LabelKeys,
    root_namespace: Option<String>,
    served: Option<BTreeSet<String>>,
    stability: Stability,
    verdicts: Verdicts,
    damper: ScaleDamper,
    scales: Scales,
    origin: Instant,
    published: watch::Sender<Option<Arc<Published>>>,
}

impl Publisher {
    /// A publisher that has published nothing yet.
    pub fn new(scopes: SnapshotStore, modules: watch::Receiver<Offered>, keys: LabelKeys) -> Self {
        Self {
            scopes,
            modules,
            keys,
            root_namespace: None,
            served: None,
            stability: Stability::default(),
            verdicts: Verdicts::default(),
            damper: ScaleDamper::default(),
            scales: Scales::default(),
            origin: Instant::now(),
            published: watch::Sender::new(None),
        }
    }

    /// The same with a namespace whose policies are for the models of all.
    pub fn rooted(self, root_namespace: Option<String>) -> Self {
        Self {
            root_namespace,
            ..self
        }
    }

    /// With the namespaces that have a domain; no others are served.
    pub fn serving(self, namespaces: impl IntoIterator<Item = String>) -> Self {
        Self {
            served: Some(namespaces.into_iter().collect()),
            ..self
        }
    }

    /// What was last published; `None` until the source is synced.
    pub fn published(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.subscribe()
    }

    /// Publishes until the source ends.
    pub async fn run(mut self, mut source: watch::Receiver<Arc<Observed>>) {
        let first = source.borrow_and_update().clone();
        self.publish(&first);
        let mut rhythm = PublishScheduler::default();
        loop {
            let due = rhythm.due().map(tokio::time::Instant::from_std);
            let tick = self.tick();
            let waits = [
                self.damper.wake_after(tick),
                self.stability.wake_after(&self.verdicts, tick),
            ];
            let wake = waits.into_iter().flatten().min();
            tokio::select! {
                changed = source.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let change = self.change(&source.borrow_and_update());
                    rhythm.changed(change, Instant::now());
                }
                Ok(()) = self.modules.changed() => rhythm.changed(Some(Change::Intent), Instant::now()),
                () = sleep_until(due) => {
                    if rhythm.publish(Instant::now()) {
                        let observed = source.borrow().clone();
                        let began = Instant::now();
                        self.publish(&observed);
                        rhythm.published(began.elapsed(), Instant::now());
                    }
                }
                () = sleep(wake) => {
                    let observed = source.borrow().clone();
                    if self.judges_otherwise(&observed) {
                        self.publish(&observed);
                    }
                }
            }
        }
    }

    /// What differs from what is served.
    fn change(&self, observed: &Observed) -> Option<Change> {
        let published = self.published.borrow();
        let published = published.as_ref();
        published.and_then(|p| observed.change_since(&p.observed))
    }

    /// Whether time alone changed a scale or a verdict.
    fn judges_otherwise(&mut self, observed: &Observed) -> bool {
        let tick = self.tick();
        let registry = Registry::build(&observed.objects, &self.keys);
        let verdicts = self.stability.observe(&registry, tick);
        let available = self.verdicts.next_available;
        let otherwise = available.is_some_and(|at| at <= verdicts.unix_seconds)
            || verdicts.flapping != self.verdicts.flapping
            || verdicts.not_started != self.verdicts.not_started;
        let readiness = registry.with_verdicts(&verdicts).readiness();
        self.damper.observe(&readiness, tick) != self.scales || otherwise
    }

    /// Planning and translating thousands of models takes milliseconds, which streams on this thread would wait for.
    fn publish(&mut self, observed: &Arc<Observed>) {
        tokio::task::block_in_place(|| self.publish_now(observed));
    }

    fn publish_now(&mut self, observed: &Arc<Observed>) {
        let (began, start) = (SystemTime::now(), Instant::now());
        let registry = Registry::build(&observed.objects, &self.keys)
            .with_root_namespace(self.root_namespace.as_deref());
        let registry = match &self.served {
            Some(namespaces) => registry.with_served_namespaces(namespaces.clone()),
            None => registry,
        };
        let tick = self.tick();
        self.verdicts = self.stability.observe(&registry, tick);
        let registry = registry.with_verdicts(&self.verdicts);
        self.scales = self.damper.observe(&registry.readiness(), tick);
        let mut plan = plan(&registry, &observed.objects, &self.scales);
        plan.findings.extend(observed.findings.iter().cloned());
        plan.findings.sort();
        // A source and the plan may report the same finding.
        plan.findings.dedup();
        let plan = Arc::new(plan);
        self.report_new(&plan);
        let offered = self.modules.borrow_and_update().clone();
        self.scopes
            .publish(plan.clone(), &observed.objects, &offered.modules);
        let took = start.elapsed();
        self.published.send_modify(|published| {
            let number = published.as_ref().map_or(0, |p| p.number) + 1;
            tracing::info!(number, took_ms = took.as_secs_f64() * 1e3, "published");
            *published = Some(Arc::new(Published {
                plan,
                observed: observed.clone(),
                offered,
                began,
                at: SystemTime::now(),
                took,
                number,
            }));
        });
    }

    /// Logs each finding once, when it appears. A plan's findings are sorted.
    fn report_new(&self, plan: &Plan) {
        let before = self.published.borrow();
        for finding in &plan.findings {
            let known = before
                .as_ref()
                .is_some_and(|p| p.plan.findings.binary_search(finding).is_ok());
            if !known {
                tracing::warn!(reason = finding.reason, object = %finding.object, origin = %finding.origin, "{}", finding.message);
            }
        }
    }

    fn tick(&self) -> Tick {
        tick(self.origin.elapsed())
    }
}

/// This moment, so long after the origin of its clock.
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
