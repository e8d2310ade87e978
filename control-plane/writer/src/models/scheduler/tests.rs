//! The pace of writes, and what each has, over the life of a model.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use headgate_contract::ModelId;
use headgate_model::{LabelKeys, Registry, Scales, next_memories, plan};
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

/// A model with a stable version and a canary, the objects that were seen, and one proxy.
struct World {
    objects: Objects,
    plan: Plan,
    seen: ModelCache,
    counts: Option<WeightCounts>,
    version: u32,
    scheduler: StatusScheduler,
    time: i64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            objects: Objects::default(),
            plan: Plan::default(),
            seen: ModelCache::of(names::DEFAULT_CONTROLLER_NAME),
            counts: None,
            version: 0,
            scheduler: StatusScheduler::default(),
            time: 1_780_000_000,
        };
        world.weigh(10);
        world
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

    /// The plan hears of the newest object.
    fn replan(&mut self) {
        self.objects.served_models = self.seen.served_models();
        let registry = Registry::build(&self.objects, &LabelKeys::default());
        self.plan = plan(&registry, &self.objects, &Scales::default());
    }

    /// The one proxy acknowledges the weights planned.
    fn ack(&mut self) {
        let model = &self.plan.namespaces["default"].models[&Self::key().1];
        let held = BTreeMap::from([(weights_revision(model), 1)]);
        let counts = ReplicaCounts {
            proxies: [(BTreeSet::from(["default".to_owned()]), 1)].into(),
            models: [(Self::key(), held)].into(),
            ..ReplicaCounts::default()
        };
        self.counts = Some(WeightCounts::of([&counts]));
    }

    fn due(&mut self, clock: Duration) -> Due {
        let time = self.time + i64::try_from(clock.as_secs()).unwrap();
        self.scheduler.due(&Now {
            plan: &self.plan,
            objects: &self.objects,
            memories: &next_memories(&self.plan, &self.objects, time),
            counts: self.counts.as_ref(),
            cache: &self.seen,
            controller: names::DEFAULT_CONTROLLER_NAME,
            time: Timestamp::from_second(time).unwrap(),
            clock,
        })
    }

    /// What is due, done, and seen.
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
        let objects = self.seen.by_model();
        let before = objects.get(key).map(|object| StoredModel::clone(object));
        let before = before.unwrap_or_else(|| StoredModel::new("default", &name, &key.1));
        let status = status.map(|status| *status);
        self.seen.apply(StoredModel {
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

fn says(status: &ServedModelStatus) -> String {
    let converged = status.conditions.iter().find(|c| c.type_ == "Converged");
    let converged = converged.map_or_else(|| json!("-"), |condition| json!(condition.status));
    json!([converged, status.acked]).to_string()
}

#[test]
fn a_weight_that_is_edited_is_not_converged_at_once_and_converges_at_the_pace_of_the_object() {
    let mut world = World::new();
    let first = world.write(SECOND).unwrap();
    assert_eq!(first.base[0].carrier, "deployment/v1");
    assert_eq!(first.planned["v2"], Percent(100_000));
    world.replan();
    world.ack();
    let acked = world.write(2 * SECOND).unwrap();
    assert_eq!(says(&acked), r#"["True",{"v1":90,"v2":10}]"#);
    assert_eq!(world.due(3 * SECOND), Due::default(), "it settles");

    // An edit within ten seconds of the last write.
    world.weigh(20);
    let edited = world.write(4 * SECOND).unwrap();
    assert_eq!(says(&edited), r#"["False",{"v1":90,"v2":10}]"#);
    assert!(edited.changes[0].message.contains("v2 20 % (before 10 %)"));
    world.ack();
    assert_eq!(world.due(5 * SECOND).next, Some(12 * SECOND));
    let acked = world.write(12 * SECOND).unwrap();
    assert_eq!(says(&acked), r#"["True",{"v1":80,"v2":20}]"#);
}

#[test]
fn an_edit_before_the_last_write_is_seen_waits_for_the_watch_and_no_longer() {
    let mut world = World::new();
    world.write(SECOND).unwrap();
    world.replan();
    world.ack();
    // `Converged` turned True; the watch does not show it yet.
    let before = world.seen.clone();
    let acked = world.write(20 * SECOND).unwrap();
    assert_eq!(says(&acked), r#"["True",{"v1":90,"v2":10}]"#);
    let shown = std::mem::replace(&mut world.seen, before);
    world.weigh(20);
    let due = world.due(20 * SECOND);
    assert_eq!((due.writes.len(), due.awaits_echo), (0, true));
    world.seen = shown;
    let edited = world.write(20 * SECOND).unwrap();
    assert_eq!(says(&edited), r#"["False",{"v1":90,"v2":10}]"#);
    // What waits for its pace waits for nothing that the watch shows.
    world.ack();
    let due = world.due(21 * SECOND);
    assert_eq!((due.writes.len(), due.awaits_echo), (0, false));
}

/// How long changes are gathered.
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
async fn changes_come_together_unless_weights_are_edited_or_a_write_is_awaited() {
    let world = World::new();
    let planned = |world: &World| {
        let observed = Observed::default();
        Arc::new(Planned {
            plan: Arc::new(world.plan.clone()),
            observed: Arc::new(observed),
        })
    };
    let before = planned(&world);
    let (tell, mut plans) = watch::channel(Some(before.clone()));
    let (show, mut seen) = watch::channel(());
    assert!(gathered(&mut plans, &before, None).await >= BATCH);
    assert!(gathered(&mut plans, &before, Some(&mut seen)).await >= BATCH);
    // The watch shows the last write: what waited for that is written now, however many pods come meanwhile.
    show.send(()).unwrap();
    tell.send(Some(planned(&world))).unwrap();
    assert!(gathered(&mut plans, &before, Some(&mut seen)).await < BATCH);
    let mut edited = World::new();
    edited.weigh(20);
    tell.send(Some(planned(&edited))).unwrap();
    assert!(gathered(&mut plans, &before, None).await < BATCH);
}

#[test]
fn what_follows_of_an_older_memory_is_not_written_over_a_newer_one() {
    let mut world = World::new();
    world.write(SECOND).unwrap();
    world.replan();
    // Another leader wrote another base; the plan does not include it yet.
    let objects = world.seen.by_model();
    let mut newer = StoredModel::clone(objects[&World::key()]);
    newer.resource_version = "other".to_owned();
    let status = newer.status.as_mut().unwrap();
    status.base[0].carrier = "deployment/v0".to_owned();
    newer.annotation = Some("deployment/v0=v1".to_owned());
    world.seen.apply(newer);
    let kept = world.write(20 * SECOND);
    assert!(kept.is_none_or(|status| status.base[0].carrier == "deployment/v0"));
}

#[test]
fn a_write_that_fails_waits_longer_each_time_and_a_conflict_waits_for_the_newer_object() {
    let mut world = World::new();
    let mut clock = SECOND;
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(world.due(clock).writes.len(), 1);
        let again = world.scheduler.failed(&World::key(), false, clock);
        assert_eq!(world.due(again - SECOND / 4).writes, []);
        waits.push((again - clock).as_millis());
        clock = again;
    }
    assert_eq!(waits[..3], [500, 1000, 2000]);
    assert_eq!(waits.last(), Some(&60_000));
    assert_eq!(world.due(clock).writes.len(), 1);
    let again = world.scheduler.failed(&World::key(), true, clock);
    assert_eq!(world.due(clock + SECOND).writes, [], "it is not seen yet");
    assert_eq!(world.due(again).writes.len(), 1, "it was never seen");
}

#[test]
fn what_nothing_carries_goes_after_an_hour_unless_somebody_wrote_it() {
    let mut world = World::new();
    world.write(SECOND).unwrap();
    world.plan = Plan::default();
    let gone = world.write(2 * SECOND).unwrap();
    assert!(gone.carriers_gone_since.is_some() && gone.planned.is_empty());
    assert_eq!(gone.base[0].carrier, "deployment/v1", "it is remembered");
    assert_eq!(gone.base[0].undeclared_since, gone.carriers_gone_since);
    let hour = Duration::from_secs(3600);
    let due = world.due(hour);
    assert_eq!((due.writes.len(), due.next), (0, Some(hour + 2 * SECOND)));
    let due = world.due(hour + 2 * SECOND);
    assert!(matches!(due.writes[0].1, Write::Delete { .. }), "{due:?}");
    let objects = world.seen.by_model();
    let mut own = StoredModel::clone(objects[&World::key()]);
    own.by_person = true;
    world.seen.apply(own);
    world.scheduler = StatusScheduler::default();
    assert_eq!(world.due(hour + 5 * SECOND), Due::default());
}

#[test]
fn an_object_whose_carriers_may_be_there_unread_is_neither_removed_nor_told_of() {
    let mut world = World::new();
    world.write(SECOND).unwrap();
    world.plan = Plan::default();
    let kinds = |kind: &str| [(None, kind.to_owned())].into();
    world.objects.unread.kinds = kinds("deployment");
    let hour = Duration::from_secs(3600);
    assert_eq!(world.due(2 * SECOND), Due::default());
    assert_eq!(world.due(2 * hour), Due::default());
    // It is read, and the carriers are not there: now the hour begins. Another kind has nothing to do with it.
    world.objects.unread.kinds = kinds("statefulset");
    assert!(world.write(2 * hour).unwrap().carriers_gone_since.is_some());
    world.objects.unread.anything = true;
    assert_eq!(world.due(4 * hour), Due::default());
    world.objects.unread.anything = false;
    let due = world.due(4 * hour);
    assert!(matches!(due.writes[0].1, Write::Delete { .. }), "{due:?}");
}

#[test]
fn a_name_that_another_installation_has_is_passed_over() {
    let mut world = World::new();
    let name = object_name(&World::key().1);
    let mut foreign = StoredModel::new("default", &name, &World::key().1);
    foreign.controller = "example.com/other".to_owned();
    world.seen.apply(foreign);
    let due = world.due(SECOND);
    let Write::Create {
        name: own, spec, ..
    } = &due.writes[0].1
    else {
        panic!("{due:?}");
    };
    assert_ne!(*own, name);
    assert_eq!(spec.model_name.as_ref(), Some(&World::key().1));
}

#[test]
fn a_written_base_that_names_nothing_stays_as_written_and_the_condition_says_so() {
    let mut world = World::new();
    world.write(SECOND).unwrap();
    world.replan();
    let annotate = |world: &mut World, text: &str| {
        let objects = world.seen.by_model();
        let mut object = StoredModel::clone(objects[&World::key()]);
        world.version += 1;
        object.resource_version = world.version.to_string();
        object.restored = true;
        object.annotation = Some(text.to_owned());
        world.seen.apply(object);
    };
    let annotation = |world: &World| -> Option<String> {
        let objects = world.seen.by_model();
        objects[&World::key()].annotation.clone()
    };
    let accepted = |status: &ServedModelStatus| -> (String, String) {
        let mut all = status.conditions.iter();
        let found = all.find(|c| c.type_ == "Accepted").unwrap();
        (found.reason.clone(), found.message.clone())
    };
    let bad = Some("deployment/v9=v9".to_owned());
    annotate(&mut world, "deployment/v9=v9");
    assert_eq!(
        world.write(20 * SECOND),
        None,
        "the plan does not include it yet"
    );
    world.replan();
    let refused = world.write(40 * SECOND).unwrap();
    assert_eq!(refused.base[0].carrier, "deployment/v1");
    assert_eq!(annotation(&world), bad);
    let (reason, message) = accepted(&refused);
    assert_eq!(reason, "InvalidBase");
    assert!(message.contains("headgate.dev/base=deployment/v1=v1 --overwrite"));
    world.replan();
    assert_eq!(world.write(80 * SECOND), None, "it settles");

    annotate(&mut world, "deployment/v2=v2");
    world.replan();
    let counts = world.write(120 * SECOND).unwrap();
    assert_eq!(counts.base[0].carrier, "deployment/v2");
    assert_eq!(accepted(&counts).0, "Accepted");
}
