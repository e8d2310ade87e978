//! Client names of deleted carriers, and memories of kinds that cannot be read.

use super::*;

#[test]
fn a_name_stays_with_its_model_when_its_carrier_is_deleted() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let names = |plan: &Plan| llama(plan).plan.names.clone();
    let named = one().names("meta/Llama");
    cluster.settle(&[named.clone(), two().weight("100")]);
    let gone = cluster.settle(&[two().weight("100")]);
    assert_eq!(names(&gone), ["meta/Llama"]);
    let orphaned = gone
        .findings
        .iter()
        .find(|f| f.reason == reason::NAME_ORPHANED);
    let command =
        "annotate deployment/m-v2 -n default headgate.dev/model-names=meta/Llama --overwrite";
    assert!(orphaned.unwrap().message.contains(command), "{orphaned:?}");
    // The command keeps the existing names of the carrier.
    let other = cluster.settle(&[two().weight("100").names("a b")]);
    let orphaned = other
        .findings
        .iter()
        .find(|f| f.reason == reason::NAME_ORPHANED);
    let command = "headgate.dev/model-names='a b,meta/Llama' --overwrite";
    assert!(orphaned.unwrap().message.contains(command), "{orphaned:?}");
    assert_eq!(cluster.due(&[two().weight("100")]), Some(cluster.now + 300));
    // The name is removed at once if a carrier of another model declares it.
    let phi = carrier("phi", "v1").model("phi").names("meta/Llama");
    let taken = cluster.settle(&[two().weight("100"), phi]);
    assert!(names(&taken).is_empty());
    // The carrier is created again, and its annotation is removed.
    cluster.settle(&[named, two().weight("100")]);
    assert!(names(&cluster.settle(&[one(), two().weight("100")])).is_empty());
}

#[test]
fn a_name_of_a_deleted_carrier_expires_after_its_grace() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one().names("meta/Llama"), two()]);
    cluster.settle(&[two()]);
    cluster.now += 24 * 60 * 60 - 1;
    assert_eq!(llama(&cluster.settle(&[two()])).plan.names, ["meta/Llama"]);
    cluster.now += 1;
    assert!(llama(&cluster.settle(&[two()])).plan.names.is_empty());
}

/// This kind cannot be read, in this namespace or in all.
fn without_kind(namespace: Option<&str>, kind: &str) -> Unread {
    Unread {
        kinds: [(namespace.map(str::to_owned), kind.to_owned())].into(),
        ..Unread::default()
    }
}

#[test]
fn a_base_and_a_name_whose_kind_cannot_be_read_are_not_forgotten() {
    let named = || one().names("gpt-x");
    let held = || two().weight("10");
    let grace = 24 * 60 * 60;
    for (unread, kept) in [
        (without_kind(None, "deployment"), true),
        (without_kind(Some("default"), "deployment"), true),
        (
            Unread {
                anything: true,
                ..Unread::default()
            },
            true,
        ),
        (without_kind(Some("other"), "deployment"), false),
        (without_kind(None, "statefulset"), false),
        (Unread::default(), false),
    ] {
        let mut cluster = Cluster::new(ServedModelSpec::default());
        cluster.settle(&[named(), held()]);
        cluster.unread = unread.clone();
        cluster.settle(&[held()]);
        assert_eq!(cluster.due(&[held()]).is_none(), kept, "{unread:?}");
        cluster.now += grace;
        let plan = cluster.settle(&[held()]);
        assert_eq!(
            cluster.served.memory.base.contains_key("deployment/m-v1"),
            kept,
            "{unread:?}"
        );
        assert_eq!(llama(&plan).plan.names == ["gpt-x"], kept, "{unread:?}");
        if !kept {
            continue;
        }
        // After everything is read and the carrier does not exist, its grace begins.
        cluster.unread = Unread::default();
        let plan = cluster.settle(&[held()]);
        assert_eq!(llama(&plan).plan.names, ["gpt-x"]);
        assert_eq!(cluster.due(&[held()]), Some(cluster.now + 300));
        cluster.now += 300;
        cluster.settle(&[held()]);
        assert!(!cluster.served.memory.base.contains_key("deployment/m-v1"));
    }
}

#[test]
fn no_memory_change_is_due_in_the_past_or_without_a_plan() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one().names("gpt-x"), two()]);
    cluster.settle(&[two()]);
    assert_eq!(cluster.due(&[two()]), Some(cluster.now + 300));
    assert_eq!(cluster.due(&[]), None, "no object declares it");
    // A time in the past is not returned.
    cluster.now += 300;
    assert_eq!(
        cluster.due(&[two()]),
        Some(cluster.now - 300 + 24 * 60 * 60)
    );
    cluster.now += 24 * 60 * 60;
    assert_eq!(cluster.due(&[two()]), None);
}
