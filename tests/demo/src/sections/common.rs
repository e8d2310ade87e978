//! Sections for files and for a Kubernetes API alike.

use headgate_demo::canary::{self, LabelEdit, Split};
use headgate_demo::sessions::{MODEL, Sessions};
use headgate_demo::settlement::{self, Settlement};
use headgate_demo::{Printer, budget, objects, outage, tags, versions};
use headgate_testkit::testbed::{LabelledBy, Testbed};

use super::{fresh, ms};

/// Number of sessions for the canary: at four standard deviations, 10 % differ from 7 % and from 13 %.
const SESSIONS: u64 = 2000;
const TURNS: u64 = 3;
const FROM: u32 = 10;
const TO: u32 = 30;

pub(super) async fn tag(printer: &mut Printer, testbed: &Testbed) {
    printer.section("The tag");
    printer.action("tenant acme sends one chat to gpt-4, with a forged x-headgate-lane and a forged baggage member");
    let tag = tags::tag_travels(testbed).await;
    printer.judge(tags::CLAIM, tag, |printer, tag| {
        for (name, value) in &tag.at_model {
            printer.row("model server", format!("{name}: {value}"));
        }
        printer.row("access log", tag.log_line.trim());
        for (name, value) in &tag.at_client {
            printer.row("response", format!("{name}: {value}"));
        }
    });
}

pub(super) async fn split(printer: &mut Printer, testbed: &Testbed) {
    printer.section("A canary of 10 %");
    printer.action(format!(
        "{SESSIONS} sessions of {TURNS} turns; half send a session header, half only the conversation"
    ));
    let sessions = Sessions::new(&fresh("split"), SESSIONS);
    let split = canary::sessions_split(testbed, &sessions, TURNS, f64::from(FROM)).await;
    printer.judge(canary::SPLIT, split, |printer, split| {
        show_split(printer, &split);
        printer.row("flipped", "0 sessions");
    });
}

fn show_split(printer: &Printer, split: &Split) {
    let counts: Vec<String> = split
        .sessions_per_version
        .iter()
        .map(|(version, count)| format!("{version} {count}"))
        .collect();
    printer.row(
        "sessions",
        format!("{} ({})", split.sessions, counts.join(", ")),
    );
    printer.row(
        "share",
        format!(
            "{:.2} %, target {:.0} % ± {:.2} (4 sigma)",
            split.share.measured * 100.0,
            split.share.target * 100.0,
            split.share.bound * 100.0
        ),
    );
    printer.row("requests", format!("{}, all 200", split.requests));
}

pub(super) async fn edit(printer: &mut Printer, testbed: &Testbed) {
    printer.section("Edit the label under load");
    let sessions = Sessions::new(&fresh("edit"), SESSIONS);
    let raised = canary::label_raised(testbed, &sessions, f64::from(FROM), TO).await;
    printer.judge(canary::RAISE, raised, |printer, raised| {
        show_raised(printer, &raised)
    });
}

fn show_raised(printer: &Printer, raised: &LabelEdit) {
    match &raised.by {
        LabelledBy::Kubectl(command) => {
            printer.action(format!("$ {command}   # {}", ms(raised.edit)))
        }
        LabelledBy::Edit => printer.action(format!(
            "canary-weight: \"{TO}\" written to the file (kubectl is not installed)"
        )),
    }
    printer.row(
        "Envoy ACKed",
        format!("{} after the edit", ms(raised.acked)),
    );
    printer.row(
        "traffic",
        format!(
            "first session on its new version after {}; last request to an old version at {}",
            ms(raised.first_moved),
            ms(raised.last_old)
        ),
    );
    printer.row(
        "sessions",
        format!(
            "{} moved, all to {}; {} kept their version",
            raised.moved,
            canary::CANARY,
            raised.kept
        ),
    );
    printer.row(
        "new share",
        format!(
            "{:.2} %, target {:.0} % ± {:.2} (4 sigma)",
            raised.split.share.measured * 100.0,
            raised.split.share.target * 100.0,
            raised.split.share.bound * 100.0
        ),
    );
    printer.row("requests", format!("{}, 0 failed", raised.requests));
}

pub(super) async fn new_version(printer: &mut Printer, testbed: &mut Testbed) {
    printer.section("Apply a new version without a weight");
    printer.action(format!(
        "{MODEL} {}: {}, then 500 sessions",
        versions::NEW,
        match testbed.cluster() {
            None => "manifest written to the models directory",
            Some(_) => "manifest applied with kubectl",
        }
    ));
    let figures = versions::new_version_is_held(testbed, &Sessions::new(&fresh("held"), 500)).await;
    printer.judge(versions::HELD, figures, |printer, figures| {
        printer.row(
            "status",
            format!("{} at {} %", figures.standing, figures.weight),
        );
        printer.row("", &figures.advice);
        printer.row(
            "traffic",
            format!(
                "{} of {} requests reached it",
                figures.reached, figures.requests
            ),
        );
    });
    if testbed.cluster().is_some() {
        let event = objects::held_version_has_its_event(testbed).await;
        printer.judge(objects::EVENT, event, |printer, typed| {
            printer.command(&typed)
        });
    }
}

pub(super) async fn pins(printer: &mut Printer, testbed: &Testbed) {
    printer.section("Pin requests to a version");
    printer.action(format!(
        "20 sessions with x-model-version: {}",
        versions::NEW
    ));
    let pinned = versions::pin_reaches(testbed, versions::NEW, 20).await;
    printer.judge(versions::PIN, pinned, |printer, pinned| {
        printer.row(
            "served by",
            format!("{} for {} of {pinned} requests", versions::NEW, pinned),
        );
    });
    printer.action("one request with x-model-version: v9");
    let refused = versions::unknown_pin_is_refused(testbed).await;
    printer.judge(versions::UNKNOWN, refused, |printer, refused| {
        printer.row("response", format!("{} {}", refused.status, refused.code));
        printer.row("", &refused.message);
    });
}

pub(super) async fn out_of_budget(printer: &mut Printer, testbed: &Testbed) {
    printer.section("Exhaust a tenant's budget");
    printer.action(format!(
        "the bucket of {} holds {} tokens per tenant and refills 1 per second; tenant acme spends it",
        budget::MODEL,
        budget::CAPACITY
    ));
    let ran_out = budget::tenant_runs_out(testbed, "acme").await;
    printer.judge(budget::CLAIM, ran_out, |printer, ran_out| {
        let remaining: Vec<String> = ran_out.remaining.iter().map(u64::to_string).collect();
        printer.row(
            "200",
            format!(
                "{} requests of {} tokens; remaining after each: {}",
                remaining.len(),
                ran_out.each,
                remaining.join(", ")
            ),
        );
        printer.row("429", &ran_out.message);
        for (name, value) in &ran_out.headers {
            printer.row("", format!("{name}: {value}"));
        }
        printer.row("another tenant", ran_out.other_tenant);
    });
}

pub(super) async fn streams(printer: &mut Printer, testbed: &Testbed) {
    printer.section("Settle streams");
    printer.action("a response streamed to its end: max_tokens 800, usage 120");
    let settled = settlement::stream_settles_on_usage(testbed, "streaming", 800, 120).await;
    printer.judge(settlement::STREAMED, settled, |printer, settled| {
        show_settled(printer, &settled, &format!("{} reported", settled.used));
    });
    printer.action("a response of 800 tokens, cut by the client after 60");
    let cut = settlement::cut_stream_is_charged(testbed, "hanging-up", 800, 60).await;
    printer.judge(settlement::CUT, cut, |printer, settled| {
        let bounds = format!(
            "{} read by the client, {} generated",
            settled.used, settled.most
        );
        show_settled(printer, &settled, &bounds);
    });
}

fn show_settled(printer: &Printer, settled: &Settlement, used: &str) {
    printer.row("balance before", settled.before);
    printer.row(
        "balance during",
        format!("{} ({} reserved)", settled.during, settled.reserved),
    );
    printer.row(
        "balance after",
        format!(
            "{}: {} charged, {used}; {:.1} s at a refill of 1 token/s",
            settled.after,
            settled.charged(),
            settled.elapsed.as_secs_f64()
        ),
    );
}

pub(super) async fn killed(printer: &mut Printer, testbed: &mut Testbed) {
    printer.section("Kill the control plane");
    printer.action("kill -9 under load; canary-weight=50 while it is down; then restart");
    let sessions = Sessions::new(&fresh("outage"), 600);
    let survived = outage::control_plane_dies(testbed, &sessions, 1500, 50).await;
    printer.judge(outage::CLAIM, survived, |printer, survived| {
        printer.row(
            "while down",
            format!(
                "{} requests in {}, all 200",
                survived.during,
                ms(survived.down)
            ),
        );
        printer.row(
            "Envoy ACKed",
            format!("the edit, {} after the restart", ms(survived.back)),
        );
        printer.row("requests", format!("{}, 0 failed", survived.requests));
    });
}
