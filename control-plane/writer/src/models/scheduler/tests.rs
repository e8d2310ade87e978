//! The writes of a `ServedModel` from the first version of a model to its end: when they are due, and their content.

use std::sync::Arc;
use std::time::Instant;

use headgate_contract::ModelId;
use headgate_model::{LabelKeys, ProxyGroup, Registry, Scales, next_memories, plan};
use serde_json::json;
use tokio::sync::watch;

use super::super::write::{BATCH, collect_changes};
use super::*;
use headgate_kubernetes::models::Percent;
use headgate_model::Observed;
use headgate_model::Planned;
use headgate_model::ReplicaCounts;
use headgate_source::files::Reducer;

const SECOND: Duration = Duration::from_secs(1);

/// A model with a stable version and a canary, the cached objects, and one proxy.
struct Fixture {
    objects: Objects,
    plan: Plan,
    cache: ModelCache,
    counts: Option<WeightCounts>,
    version: u32,
    scheduler: StatusScheduler,
    time: i64,
}

impl Fixture {
    fn new() -> Self {
        let mut fixture = Self {
            objects: Objects::default(),
            plan: Plan::default(),
            cache: ModelCache::of(names::DEFAULT_CONTROLLER_NAME),
            counts: None,
            version: 0,
            scheduler: StatusScheduler::default(),
            time: 1_780_000_000,
        };
        fixture.weigh(10);
        fixture
    }

    fn key() -> ModelKey {
        ("default".to_owned(), ModelId::try_from("M").unwrap())
    }

    fn weigh(&mut self, weight: u8) {
        let carrier = |name: &str, label: &str| {
            format!(
                "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, labels: {{model-name: M, \
                 model-version: {name}{label}}}, annotations: {{headgate.dev/endpoints: '127.0.0.1:1'}}}}}}\n"
            )
        };
        let canary = format!(", canary-weight: '{weight}'");
        let text = carrier("v1", "") + &carrier("v2", &canary);
        let mut reducer = Reducer::new("default", LabelKeys::default());
        reducer.apply("f", text.as_bytes(), 0);
        self.objects = reducer.observe(&Observed::default()).unwrap().objects;
        self.replan();
    }

    /// Plans with the newest object.
    fn replan(&mut self) {
        self.objects.served_models = self.cache.served_models();
        let registry = Registry::build(&self.objects, &LabelKeys::default());
        self.plan = plan(&registry, &self.objects, &Scales::default());
    }

    /// The proxy acknowledges the planned weights.
    fn ack(&mut self) {
        let model = &self.plan.namespaces["default"].models[&Self::key().1];
        let acked = BTreeMap::from([(weights_revision(model), 1)]);
        let group = ProxyGroup {
            namespaces: ["default".to_owned()].into(),
            ..ProxyGroup::default()
        };
        let counts = ReplicaCounts {
            proxies: [(group, 1)].into(),
            models: [(Self::key(), acked)].into(),
            ..ReplicaCounts::default()
        };
        self.counts = Some(WeightCounts::of([&counts]));
    }

    fn due(&mut self, clock: Duration) -> Due {
        let time = self.time + i64::try_from(clock.as_secs()).unwrap();
        self.scheduler.due(&SchedulerInput {
            plan: &self.plan,
            objects: &self.objects,
            memories: &next_memories(&self.plan, &self.objects, time),
            counts: self.counts.as_ref(),
            routed: None,
            cache: &self.cache,
            controller: names::DEFAULT_CONTROLLER_NAME,
            time: Timestamp::from_second(time).unwrap(),
            clock,
        })
    }

    /// Performs the due write, and applies it to the cache.
    fn write(&mut self, clock: Duration) -> Option<ServedModelStatus> {
        let due = self.due(clock);
        let [(key, write)] = due.writes.as_slice() else {
            assert!(due.writes.is_empty(), "{due:?}");
            return None;
        };
        assert_eq!(*key, Self::key());
        let (name, annotations, status) = match write.clone() {
            Write::Create {
                name,
                annotations,
                status,
                ..
            } => (name, Some(annotations), Some(status)),
            Write::Update {
                name,
                annotations,
                status,
                ..
            } => (name, annotations, status),
            Write::Delete { .. } => panic!("{write:?}"),
        };
        self.version += 1;
        let objects = self.cache.by_model();
        let before = objects.get(key).map(|object| StoredModel::clone(object));
        let before = before.unwrap_or_else(|| StoredModel::new("default", &name, &key.1));
        let status = status.map(|status| *status);
        self.cache.apply(StoredModel {
            resource_version: self.version.to_string(),
            annotation: match &annotations {
                Some(written) => Some(written.base.clone()),
                None => before.annotation.clone(),
            },
            previous_annotation: match annotations {
                Some(written) => Some(written.previous),
                None => before.previous_annotation.clone(),
            },
            status: status.clone().or(before.status.clone()),
            ..before
        });
        self.scheduler.written(key);
        status
    }
}

fn summary(status: &ServedModelStatus) -> String {
    let converged = status.conditions.iter().find(|c| c.type_ == "Converged");
    let converged = converged.map_or_else(|| json!("-"), |condition| json!(condition.status));
    json!([converged, status.acked]).to_string()
}

#[test]
fn an_edited_weight_is_not_converged_at_once_and_converges_with_the_next_due_write() {
    let mut fixture = Fixture::new();
    let first = fixture.write(SECOND).unwrap();
    assert_eq!(first.base[0].carrier, "deployment/v1");
    assert_eq!(first.planned["v2"], Percent(100_000));
    fixture.replan();
    fixture.ack();
    let acked = fixture.write(2 * SECOND).unwrap();
    assert_eq!(summary(&acked), r#"["True",{"v1":90,"v2":10}]"#);
    assert_eq!(fixture.due(3 * SECOND), Due::default(), "it settles");

    // An edit within ten seconds of the last write.
    fixture.weigh(20);
    let edited = fixture.write(4 * SECOND).unwrap();
    assert_eq!(summary(&edited), r#"["False",{"v1":90,"v2":10}]"#);
    assert!(edited.changes[0].message.contains("v2 20 % (before 10 %)"));
    fixture.ack();
    assert_eq!(fixture.due(5 * SECOND).next, Some(12 * SECOND));
    let acked = fixture.write(12 * SECOND).unwrap();
    assert_eq!(summary(&acked), r#"["True",{"v1":80,"v2":20}]"#);
}

#[test]
fn an_edit_waits_only_until_the_watch_shows_the_last_write() {
    let mut fixture = Fixture::new();
    fixture.write(SECOND).unwrap();
    fixture.replan();
    fixture.ack();
    // `Converged` turned True; the watch does not show it yet.
    let before = fixture.cache.clone();
    let acked = fixture.write(20 * SECOND).unwrap();
    assert_eq!(summary(&acked), r#"["True",{"v1":90,"v2":10}]"#);
    let shown = std::mem::replace(&mut fixture.cache, before);
    fixture.weigh(20);
    let due = fixture.due(20 * SECOND);
    assert_eq!((due.writes.len(), due.awaits_echo), (0, true));
    fixture.cache = shown;
    let edited = fixture.write(20 * SECOND).unwrap();
    assert_eq!(summary(&edited), r#"["False",{"v1":90,"v2":10}]"#);
    // A write that waits for its interval does not wait for the watch.
    fixture.ack();
    let due = fixture.due(21 * SECOND);
    assert_eq!((due.writes.len(), due.awaits_echo), (0, false));
}

/// The time for which changes are collected.
async fn gathered(
    plans: &mut watch::Receiver<Option<Arc<Planned>>>,
    before: &Planned,
    awaited: Option<&mut watch::Receiver<()>>,
) -> Duration {
    let began = Instant::now();
    collect_changes(plans, Some(before), awaited).await;
    began.elapsed()
}

#[tokio::test]
async fn changes_are_collected_unless_a_weight_changes_or_a_write_is_awaited() {
    let fixture = Fixture::new();
    let planned = |fixture: &Fixture| {
        let observed = Observed::default();
        Arc::new(Planned {
            plan: Arc::new(fixture.plan.clone()),
            observed: Arc::new(observed),
        })
    };
    let before = planned(&fixture);
    let (send, mut plans) = watch::channel(Some(before.clone()));
    let (show, mut cache) = watch::channel(());
    assert!(gathered(&mut plans, &before, None).await >= BATCH);
    assert!(gathered(&mut plans, &before, Some(&mut cache)).await >= BATCH);
    // The watch shows the last write: waiting changes are written now, however many pods are added meanwhile.
    show.send(()).unwrap();
    send.send(Some(planned(&fixture))).unwrap();
    assert!(gathered(&mut plans, &before, Some(&mut cache)).await < BATCH);
    let mut edited = Fixture::new();
    edited.weigh(20);
    send.send(Some(planned(&edited))).unwrap();
    assert!(gathered(&mut plans, &before, None).await < BATCH);
}

#[test]
fn a_plan_with_an_older_memory_does_not_overwrite_a_newer_memory() {
    let mut fixture = Fixture::new();
    fixture.write(SECOND).unwrap();
    fixture.replan();
    // Another leader wrote another base; the plan does not include it yet.
    let objects = fixture.cache.by_model();
    let mut newer = StoredModel::clone(objects[&Fixture::key()]);
    newer.resource_version = "other".to_owned();
    let status = newer.status.as_mut().unwrap();
    status.base[0].carrier = "deployment/v0".to_owned();
    newer.annotation = Some("deployment/v0=v1".to_owned());
    fixture.cache.apply(newer);
    let kept = fixture.write(20 * SECOND);
    assert!(kept.is_none_or(|status| status.base[0].carrier == "deployment/v0"));
}

#[test]
fn a_failed_write_waits_longer_each_time_and_a_conflict_waits_for_the_newer_object() {
    let mut fixture = Fixture::new();
    let mut clock = SECOND;
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(fixture.due(clock).writes.len(), 1);
        let again = fixture.scheduler.failed(&Fixture::key(), false, clock);
        assert_eq!(fixture.due(again - SECOND / 4).writes, []);
        waits.push((again - clock).as_millis());
        clock = again;
    }
    assert_eq!(waits[..3], [500, 1000, 2000]);
    assert_eq!(waits.last(), Some(&60_000));
    assert_eq!(fixture.due(clock).writes.len(), 1);
    let again = fixture.scheduler.failed(&Fixture::key(), true, clock);
    assert_eq!(fixture.due(clock + SECOND).writes, [], "it is not seen yet");
    assert_eq!(fixture.due(again).writes.len(), 1, "it was never seen");
}

#[test]
fn an_undeclared_model_is_deleted_after_an_hour_unless_a_person_wrote_its_object() {
    let mut fixture = Fixture::new();
    fixture.write(SECOND).unwrap();
    fixture.plan = Plan::default();
    let gone = fixture.write(2 * SECOND).unwrap();
    assert!(gone.carriers_gone_since.is_some() && gone.planned.is_empty());
    assert_eq!(gone.base[0].carrier, "deployment/v1", "it is stored");
    assert_eq!(gone.base[0].undeclared_since, gone.carriers_gone_since);
    let hour = Duration::from_secs(3600);
    let due = fixture.due(hour);
    assert_eq!((due.writes.len(), due.next), (0, Some(hour + 2 * SECOND)));
    let due = fixture.due(hour + 2 * SECOND);
    assert!(matches!(due.writes[0].1, Write::Delete { .. }), "{due:?}");
    let objects = fixture.cache.by_model();
    let mut own = StoredModel::clone(objects[&Fixture::key()]);
    own.by_person = true;
    fixture.cache.apply(own);
    fixture.scheduler = StatusScheduler::default();
    assert_eq!(fixture.due(hour + 5 * SECOND), Due::default());
}

#[test]
fn an_object_is_neither_deleted_nor_reported_while_its_carriers_may_be_unread() {
    let mut fixture = Fixture::new();
    fixture.write(SECOND).unwrap();
    fixture.plan = Plan::default();
    let kinds = |kind: &str| [(None, kind.to_owned())].into();
    fixture.objects.unread.kinds = kinds("deployment");
    let hour = Duration::from_secs(3600);
    assert_eq!(fixture.due(2 * SECOND), Due::default());
    assert_eq!(fixture.due(2 * hour), Due::default());
    // The kind is read and the carriers are missing, so the hour starts now. Another unread kind does not matter.
    fixture.objects.unread.kinds = kinds("statefulset");
    assert!(
        fixture
            .write(2 * hour)
            .unwrap()
            .carriers_gone_since
            .is_some()
    );
    fixture.objects.unread.anything = true;
    assert_eq!(fixture.due(4 * hour), Due::default());
    fixture.objects.unread.anything = false;
    let due = fixture.due(4 * hour);
    assert!(matches!(due.writes[0].1, Write::Delete { .. }), "{due:?}");
}

#[test]
fn a_name_that_another_installation_uses_is_skipped() {
    let mut fixture = Fixture::new();
    let name = object_name(&Fixture::key().1);
    let mut foreign = StoredModel::new("default", &name, &Fixture::key().1);
    foreign.controller = "example.com/other".to_owned();
    fixture.cache.apply(foreign);
    let due = fixture.due(SECOND);
    let Write::Create {
        name: own, spec, ..
    } = &due.writes[0].1
    else {
        panic!("{due:?}");
    };
    assert_ne!(*own, name);
    assert_eq!(spec.model_name.as_ref(), Some(&Fixture::key().1));
}

#[test]
fn a_written_base_that_names_nothing_stays_as_written_and_the_condition_says_so() {
    let mut fixture = Fixture::new();
    fixture.write(SECOND).unwrap();
    fixture.replan();
    let annotate = |fixture: &mut Fixture, text: &str| {
        let objects = fixture.cache.by_model();
        let mut object = StoredModel::clone(objects[&Fixture::key()]);
        fixture.version += 1;
        object.resource_version = fixture.version.to_string();
        object.restored = true;
        object.annotation = Some(text.to_owned());
        fixture.cache.apply(object);
    };
    let annotation = |fixture: &Fixture| -> Option<String> {
        let objects = fixture.cache.by_model();
        objects[&Fixture::key()].annotation.clone()
    };
    let accepted = |status: &ServedModelStatus| -> (String, String) {
        let mut all = status.conditions.iter();
        let found = all.find(|c| c.type_ == "Accepted").unwrap();
        (found.reason.clone(), found.message.clone())
    };
    let bad = Some("deployment/v9=v9".to_owned());
    annotate(&mut fixture, "deployment/v9=v9");
    assert_eq!(
        fixture.write(20 * SECOND),
        None,
        "the plan does not include it yet"
    );
    fixture.replan();
    let refused = fixture.write(40 * SECOND).unwrap();
    assert_eq!(refused.base[0].carrier, "deployment/v1");
    assert_eq!(annotation(&fixture), bad);
    let (reason, message) = accepted(&refused);
    assert_eq!(reason, "InvalidBase");
    assert!(message.contains("headgate.dev/base=deployment/v1=v1 --overwrite"));
    fixture.replan();
    assert_eq!(fixture.write(80 * SECOND), None, "it settles");

    annotate(&mut fixture, "deployment/v2=v2");
    fixture.replan();
    let counts = fixture.write(120 * SECOND).unwrap();
    assert_eq!(counts.base[0].carrier, "deployment/v2");
    assert_eq!(accepted(&counts).0, "Accepted");
}
