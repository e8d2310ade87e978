//! Joins three sources into one observation: carriers, policies and `ServedModel`s.
//!
//! Invariant: consecutive observations differ only in the changes of the sources.

use std::sync::Arc;

use headgate_model::{Change, Objects, Observed};
use tokio::sync::watch;

/// The carriers of the first source, the policies of the second and the models of the third, with the problems and findings of all.
///
/// The first observation is that of the sources as they are now, so pass sources that are synced. The returned task must be run.
pub fn join(
    mut carriers: watch::Receiver<Arc<Observed>>,
    mut policies: watch::Receiver<Arc<Observed>>,
    mut models: watch::Receiver<Arc<Observed>>,
) -> (
    watch::Receiver<Arc<Observed>>,
    impl Future<Output = ()> + Send,
) {
    let mut previous = [
        carriers.borrow_and_update().clone(),
        policies.borrow_and_update().clone(),
        models.borrow_and_update().clone(),
    ];
    let first = joined(&previous, &Observed::default(), Some(Change::Intent));
    let (publish, observed) = watch::channel(Arc::new(first));
    let task = async move {
        loop {
            let changed = tokio::select! {
                changed = carriers.changed() => changed,
                changed = policies.changed() => changed,
                changed = models.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            let now = [
                carriers.borrow_and_update().clone(),
                policies.borrow_and_update().clone(),
                models.borrow_and_update().clone(),
            ];
            let changes = now
                .iter()
                .zip(&previous)
                .map(|(now, previous)| now.change_since(previous));
            let change = changes.max().flatten();
            let next = joined(&now, &publish.borrow(), change);
            publish.send_replace(Arc::new(next));
            previous = now;
        }
    };
    (observed, task)
}

fn joined(
    all @ [carriers, policies, models]: &[Arc<Observed>; 3],
    before: &Observed,
    change: Option<Change>,
) -> Observed {
    let generation = before.generation + 1;
    let at = |happened: bool, last: u64| if happened { generation } else { last };
    let mut problems: Vec<_> = all.iter().flat_map(|one| one.problems.clone()).collect();
    problems.sort();
    let mut findings: Vec<_> = all.iter().flat_map(|one| one.findings.clone()).collect();
    findings.sort();
    Observed {
        objects: Objects {
            carriers: carriers.objects.carriers.clone(),
            groups: carriers.objects.groups.clone(),
            served_models: models.objects.served_models.clone(),
            unread: carriers.objects.unread.clone(),
            ..policies.objects.clone()
        },
        problems,
        findings,
        related_models: carriers.related_models.clone(),
        references: carriers.references.and(&policies.references),
        generation,
        intent: at(change == Some(Change::Intent), before.intent),
        loss: at(change == Some(Change::Loss), before.loss),
        changed: at(change.is_some(), before.changed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use headgate_contract::ModelId;
    use headgate_model::{LabelKeys, ModelRecord};

    use super::*;
    use crate::files::Reducer;

    const CARRIER: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: NAME, labels: {model-name: m, model-version: v}, \
                           annotations: {headgate.dev/endpoints: '127.0.0.1:1'}}}\n";
    const POLICY: &str = "{apiVersion: headgate.dev/v1alpha1, kind: TrafficTagPolicy, metadata: {name: NAME}, spec: {tenantFrom: ['header:x-team']}}\n";

    fn observe(before: &Observed, text: &str) -> Arc<Observed> {
        let mut reducer = Reducer::new("default", LabelKeys::default());
        reducer.apply("f", text.as_bytes(), 0);
        Arc::new(reducer.observe(before).unwrap())
    }

    #[tokio::test]
    async fn carriers_policies_and_models_come_from_one_source_each_and_changes_from_all_sources() {
        let nothing = Observed::default();
        let carrier = CARRIER.replace("NAME", "c");
        let not_from_here = "---\n".to_owned() + &POLICY.replace("NAME", "not-from-here");
        let first = observe(&nothing, &(carrier + &not_from_here));
        let (carriers, from) = watch::channel(first.clone());
        let tags = observe(
            &nothing,
            &(CARRIER.replace("NAME", "nor-this") + "---\n" + &POLICY.replace("NAME", "t")),
        );
        let (policies, of) = watch::channel(tags.clone());
        let (memory_sender, models) = watch::channel(Arc::new(Observed {
            generation: 1,
            ..Observed::default()
        }));
        let (mut joined, task) = join(from, of, models);
        let names = |observed: &Observed| -> Vec<String> {
            let carriers = observed.objects.carriers.keys().map(|key| key.name.clone());
            carriers
                .chain(observed.objects.policies.keys().map(|id| id.name.clone()))
                .collect()
        };
        let first_observed = joined.borrow_and_update().clone();
        assert_eq!(
            (names(&first_observed), first_observed.generation),
            (vec!["c".to_owned(), "t".to_owned()], 1)
        );

        let task = tokio::spawn(task);
        let churn = Observed {
            generation: 2,
            changed: 2,
            ..first.as_ref().clone()
        };
        carriers.send(Arc::new(churn)).unwrap();
        joined.changed().await.unwrap();
        let churned = joined.borrow_and_update().clone();
        assert_eq!(churned.change_since(&first_observed), Some(Change::Churn));
        policies
            .send(observe(&tags, &POLICY.replace("NAME", "u")))
            .unwrap();
        joined.changed().await.unwrap();
        let edited = joined.borrow_and_update().clone();
        assert_eq!(edited.change_since(&churned), Some(Change::Intent));
        assert_eq!(names(&edited), ["c", "u"]);
        let key = ("default".to_owned(), ModelId::try_from("m").unwrap());
        let mut memory = Observed {
            generation: 2,
            intent: 2,
            changed: 2,
            ..Observed::default()
        };
        let served = ModelRecord::default();
        memory.objects.served_models.insert(key.clone(), served);
        memory_sender.send(Arc::new(memory)).unwrap();
        joined.changed().await.unwrap();
        let known = joined.borrow_and_update().clone();
        assert_eq!(known.change_since(&edited), Some(Change::Intent));
        assert!(known.objects.served_models.contains_key(&key));
        drop(carriers);
        task.await.unwrap();
    }
}
