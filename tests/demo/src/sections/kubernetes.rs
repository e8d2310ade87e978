//! Sections that need a Kubernetes API.

use headgate_demo::sessions::Sessions;
use headgate_demo::workloads::{self, PodChange};
use headgate_demo::{Printer, budget, objects};
use headgate_testkit::testbed::{Cluster, Testbed};

use super::{fresh, ms};

/// Number of sessions while pods change.
const SESSIONS: u64 = 600;

pub(super) async fn applied(printer: &mut Printer, testbed: &Testbed) {
    printer.section("Apply models and policies");
    for typed in testbed.cluster().into_iter().flat_map(Cluster::applied) {
        printer.command(typed);
    }
    let programmed = objects::policies_are_programmed(testbed).await;
    printer.judge(objects::PROGRAMMED, programmed, |printer, programmed| {
        printer.command(&programmed.waited);
        printer.command(&programmed.table);
        printer.command(&programmed.described);
    });
    printer.action("apply a policy with a misspelt model: lama3-70b");
    let unmatched = objects::policy_that_matches_nothing_says_so(testbed).await;
    printer.judge(objects::UNMATCHED, unmatched, |printer, status| {
        printer.row("ResolvedRefs", status);
    });
}

pub(super) async fn refused(printer: &mut Printer, testbed: &Testbed) {
    printer.section("Set an invalid weight");
    let refused = objects::bad_weight_is_refused(testbed).await;
    printer.judge(objects::REFUSED, refused, |printer, refused| {
        printer.action(format!("$ {}", refused.line));
        printer.row("kubectl", refused.output);
    });
}

pub(super) async fn rollout(printer: &mut Printer, testbed: &Testbed) {
    printer.section("Roll out under load");
    let sessions = Sessions::new(&fresh("rollout"), SESSIONS);
    let changed = workloads::rollout_fails_nothing(testbed, &sessions).await;
    printer.judge(workloads::ROLLOUT, changed, |printer, changed| {
        show_changed(printer, &changed);
    });
}

pub(super) async fn scale(printer: &mut Printer, testbed: &Testbed) {
    printer.section("Scale down under load");
    let sessions = Sessions::new(&fresh("scale"), SESSIONS);
    let changed = workloads::scale_down_fails_nothing(testbed, &sessions).await;
    printer.judge(workloads::SCALE, changed, |printer, changed| {
        show_changed(printer, &changed);
    });
    printer.section("Reduce capacity");
    printer.action(format!(
        "{} asks for a second replica, which the cluster cannot run; the budget shrinks after 10 s",
        budget::MODEL
    ));
    let followed = workloads::budget_follows_capacity(testbed).await;
    printer.judge(workloads::CAPACITY, followed, |printer, followed| {
        printer.row("limit", followed.full);
        printer.action(format!("$ {}", followed.up.line));
        printer.row(
            "limit",
            format!("{}, {} later", followed.half, ms(followed.shrunk)),
        );
        printer.action(format!("$ {}", followed.down.line));
        printer.row(
            "limit",
            format!("{}, {} later", followed.full, ms(followed.back)),
        );
    });
}

fn show_changed(printer: &Printer, changed: &PodChange) {
    printer.action(format!("$ {}", changed.typed.line));
    printer.row("pods before", changed.before.join(", "));
    printer.row(
        "pods after",
        format!("{}, {} later", changed.after.join(", "), ms(changed.took)),
    );
    printer.row(
        "requests",
        format!("{}, 0 failed; 0 sessions flipped", changed.requests),
    );
}

pub(super) async fn away(printer: &mut Printer, testbed: &mut Testbed) {
    printer.section("Kill the Kubernetes API");
    printer.action(
        "kill -9 of kube-apiserver under load; another Envoy starts while it is down; then restart",
    );
    let sessions = Sessions::new(&fresh("away"), SESSIONS);
    let stood = workloads::api_dies(testbed, &sessions, 1500, 40).await;
    printer.judge(workloads::AWAY, stood, |printer, stood| {
        printer.row(
            "while down",
            format!("{} requests in {}, all 200", stood.during, ms(stood.away)),
        );
        printer.row("status", stood.message);
        printer.row(
            "another Envoy",
            format!("served a request {} after its start", ms(stood.joined)),
        );
        printer.action(format!("$ {}", stood.edit));
        printer.row("Envoy ACKed", format!("{} after the edit", ms(stood.acked)));
        printer.row("requests", format!("{}, 0 failed", stood.requests));
    });
}
