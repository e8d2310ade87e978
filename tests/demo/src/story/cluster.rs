//! Chapters that need a Kubernetes API.

use headgate_demo::traffic::Sessions;
use headgate_demo::workloads::{self, Changed};
use headgate_demo::{budget, objects};
use headgate_testkit::stage::{Cluster, Stage};

use super::{fresh, ms};
use crate::paper::Paper;

/// Sessions under which pods come and go.
const SESSIONS: u64 = 600;

pub(super) async fn applied(paper: &mut Paper, stage: &Stage) {
    paper.chapter("Models and policies, applied");
    for typed in stage.cluster().into_iter().flat_map(Cluster::applied) {
        paper.typed(typed);
    }
    let programmed = objects::policies_are_programmed(stage).await;
    paper.judge(objects::PROGRAMMED, programmed, |paper, programmed| {
        paper.typed(&programmed.waited);
        paper.typed(&programmed.table);
        paper.typed(&programmed.described);
    });
    paper.done("a policy whose model is misspelt: lama3-70b");
    let unmatched = objects::policy_that_matches_nothing_says_so(stage).await;
    paper.judge(objects::UNMATCHED, unmatched, |paper, said| {
        paper.seen("ResolvedRefs", said);
    });
}

pub(super) async fn refused(paper: &mut Paper, stage: &Stage) {
    paper.chapter("A weight that is none");
    let refused = objects::bad_weight_is_refused(stage).await;
    paper.judge(objects::REFUSED, refused, |paper, refused| {
        paper.done(format!("$ {}", refused.line));
        paper.seen("kubectl", refused.said);
    });
}

pub(super) async fn rollout(paper: &mut Paper, stage: &Stage) {
    paper.chapter("A rollout, under load");
    let sessions = Sessions::new(&fresh("rollout"), SESSIONS);
    let changed = workloads::rollout_fails_nothing(stage, &sessions).await;
    paper.judge(workloads::ROLLOUT, changed, |paper, changed| {
        show_changed(paper, &changed);
    });
}

pub(super) async fn scale(paper: &mut Paper, stage: &Stage) {
    paper.chapter("Fewer pods, under load");
    let sessions = Sessions::new(&fresh("scale"), SESSIONS);
    let changed = workloads::scale_down_fails_nothing(stage, &sessions).await;
    paper.judge(workloads::SCALE, changed, |paper, changed| {
        show_changed(paper, &changed);
    });
    paper.chapter("Less capacity than wanted");
    paper.done(format!(
        "{} wants a second replica, and there is no room for it; after 10 s that counts",
        budget::MODEL
    ));
    let followed = workloads::budget_follows_capacity(stage).await;
    paper.judge(workloads::CAPACITY, followed, |paper, followed| {
        paper.seen("limit", followed.full);
        paper.done(format!("$ {}", followed.up.line));
        paper.seen(
            "limit",
            format!("{}, {} later", followed.half, ms(followed.shrunk)),
        );
        paper.done(format!("$ {}", followed.down.line));
        paper.seen(
            "limit",
            format!("{}, {} later", followed.full, ms(followed.back)),
        );
    });
}

fn show_changed(paper: &Paper, changed: &Changed) {
    paper.done(format!("$ {}", changed.typed.line));
    paper.seen("pods before", changed.before.join(", "));
    paper.seen(
        "pods after",
        format!("{}, {} later", changed.after.join(", "), ms(changed.took)),
    );
    paper.seen(
        "requests",
        format!("{}, 0 failed; 0 sessions flipped", changed.requests),
    );
}

pub(super) async fn away(paper: &mut Paper, stage: &mut Stage) {
    paper.chapter("The Kubernetes API, killed");
    paper.done("kill -9 of kube-apiserver under load; another Envoy joins while it is dead; then started again");
    let sessions = Sessions::new(&fresh("away"), SESSIONS);
    let stood = workloads::api_dies(stage, &sessions, 1500, 40).await;
    paper.judge(workloads::AWAY, stood, |paper, stood| {
        paper.seen(
            "while it was away",
            format!("{} requests in {}, all 200", stood.during, ms(stood.away)),
        );
        paper.seen("status", stood.said);
        paper.seen(
            "another Envoy",
            format!("answered {} after its start", ms(stood.joined)),
        );
        paper.done(format!("$ {}", stood.edit));
        paper.seen(
            "Envoy ACKed",
            format!("{} after the edit was made", ms(stood.acked)),
        );
        paper.seen("requests", format!("{}, 0 failed", stood.requests));
    });
}
