//! Chapters that are the same wherever models are declared.

use headgate_demo::canary::{self, Raised, Split};
use headgate_demo::settlement::{self, Settled};
use headgate_demo::traffic::{MODEL, Sessions};
use headgate_demo::{budget, objects, outage, tags, versions};
use headgate_testkit::stage::{LabelledBy, Stage};

use super::{fresh, ms};
use crate::paper::Paper;

/// Sessions of the canary chapters: 10 % of them are told apart from 7 or 13 % at four standard deviations.
const SESSIONS: u64 = 2000;
const TURNS: u64 = 3;
const FROM: u32 = 10;
const TO: u32 = 30;

pub(super) async fn tag(paper: &mut Paper, stage: &Stage) {
    paper.chapter("The tag");
    paper.done("one chat with gpt-4 by tenant acme, with a forged x-headgate-lane and a forged baggage member");
    let seen = tags::tag_travels(stage).await;
    paper.judge(tags::CLAIM, seen, |paper, seen| {
        for (name, value) in &seen.at_model {
            paper.seen("model server", format!("{name}: {value}"));
        }
        paper.seen("access log", seen.log_line.trim());
        for (name, value) in &seen.at_client {
            paper.seen("response", format!("{name}: {value}"));
        }
    });
}

pub(super) async fn split(paper: &mut Paper, stage: &Stage) {
    paper.chapter("A canary of 10 %");
    paper.done(format!(
        "{SESSIONS} sessions of {TURNS} turns; half send a session header, half nothing but the conversation"
    ));
    let sessions = Sessions::new(&fresh("story"), SESSIONS);
    let split = canary::sessions_split(stage, &sessions, TURNS, f64::from(FROM)).await;
    paper.judge(canary::SPLIT, split, |paper, split| {
        show_split(paper, &split);
        paper.seen("flipped", "0 sessions");
    });
}

fn show_split(paper: &Paper, split: &Split) {
    let counts: Vec<String> = split
        .per_version
        .iter()
        .map(|(version, count)| format!("{version} {count}"))
        .collect();
    paper.seen(
        "sessions",
        format!("{} ({})", split.sessions, counts.join(", ")),
    );
    paper.seen(
        "share",
        format!(
            "{:.2} % wanted {:.0} % ± {:.2} (4 sigma)",
            split.share.seen * 100.0,
            split.share.wanted * 100.0,
            split.share.bound * 100.0
        ),
    );
    paper.seen("requests", format!("{}, all 200", split.requests));
}

pub(super) async fn edit(paper: &mut Paper, stage: &Stage) {
    paper.chapter("The label, edited under load");
    let sessions = Sessions::new(&fresh("edit"), SESSIONS);
    let raised = canary::label_raised(stage, &sessions, f64::from(FROM), TO).await;
    paper.judge(canary::RAISE, raised, |paper, raised| {
        show_raised(paper, &raised)
    });
}

fn show_raised(paper: &Paper, raised: &Raised) {
    match &raised.by {
        LabelledBy::Kubectl(command) => paper.done(format!("$ {command}   # {}", ms(raised.edit))),
        LabelledBy::Edit => paper.done(format!(
            "canary-weight: \"{TO}\" written into the file (no kubectl here)"
        )),
    }
    paper.seen(
        "Envoy ACKed",
        format!("{} after the edit was made", ms(raised.acked)),
    );
    paper.seen(
        "seen in traffic",
        format!(
            "first session on its new version after {}, last answer by an old one sent at {}",
            ms(raised.first_moved),
            ms(raised.last_old)
        ),
    );
    paper.seen(
        "sessions",
        format!(
            "{} moved, all into {}; {} stayed",
            raised.moved,
            canary::CANARY,
            raised.kept
        ),
    );
    paper.seen(
        "new share",
        format!(
            "{:.2} % wanted {:.0} % ± {:.2} (4 sigma)",
            raised.split.share.seen * 100.0,
            raised.split.share.wanted * 100.0,
            raised.split.share.bound * 100.0
        ),
    );
    paper.seen("requests", format!("{}, 0 failed", raised.requests));
}

pub(super) async fn new_version(paper: &mut Paper, stage: &mut Stage) {
    paper.chapter("A new version, applied without a weight");
    paper.done(format!(
        "{MODEL} {} {}, then 500 sessions",
        versions::NEW,
        match stage.cluster() {
            None => "written into the models directory",
            Some(_) => "applied with kubectl",
        }
    ));
    let held = versions::new_version_is_held(stage, &Sessions::new(&fresh("past"), 500)).await;
    paper.judge(versions::HELD, held, |paper, held| {
        paper.seen("status", format!("{} at {} %", held.standing, held.weight));
        paper.seen("", &held.advice);
        paper.seen(
            "traffic",
            format!("{} of {} requests reached it", held.reached, held.requests),
        );
    });
    if stage.cluster().is_some() {
        let event = objects::held_version_has_its_event(stage).await;
        paper.judge(objects::EVENT, event, |paper, typed| paper.typed(&typed));
    }
}

pub(super) async fn pins(paper: &mut Paper, stage: &Stage) {
    paper.chapter("Pins");
    paper.done(format!(
        "x-model-version: {}, twenty sessions",
        versions::NEW
    ));
    let pinned = versions::pin_reaches(stage, versions::NEW, 20).await;
    paper.judge(versions::PIN, pinned, |paper, pinned| {
        paper.seen(
            "served by",
            format!("{} {} of {pinned} times", versions::NEW, pinned),
        );
    });
    paper.done("x-model-version: v9");
    let refused = versions::unknown_pin_is_refused(stage).await;
    paper.judge(versions::UNKNOWN, refused, |paper, refused| {
        paper.seen("answer", format!("{} {}", refused.status, refused.code));
        paper.seen("", &refused.message);
    });
}

pub(super) async fn out_of_budget(paper: &mut Paper, stage: &Stage) {
    paper.chapter("A tenant out of budget");
    paper.done(format!(
        "{} holds {} tokens a tenant and refills 1 a second; tenant acme spends",
        budget::MODEL,
        budget::CAPACITY
    ));
    let ran_out = budget::tenant_runs_out(stage, "acme").await;
    paper.judge(budget::CLAIM, ran_out, |paper, ran_out| {
        let remaining: Vec<String> = ran_out.remaining.iter().map(u64::to_string).collect();
        paper.seen(
            "200",
            format!(
                "{} requests of {} tokens; remaining after each: {}",
                remaining.len(),
                ran_out.each,
                remaining.join(", ")
            ),
        );
        paper.seen("429", &ran_out.message);
        for (name, value) in &ran_out.headers {
            paper.seen("", format!("{name}: {value}"));
        }
        paper.seen("another tenant", ran_out.other_tenant);
    });
}

pub(super) async fn streams(paper: &mut Paper, stage: &Stage) {
    paper.chapter("Streams, settled");
    paper.done("an answer streamed to its end: max_tokens 800, and it uses 120");
    let settled = settlement::stream_settles_on_usage(stage, "streaming", 800, 120).await;
    paper.judge(settlement::STREAMED, settled, |paper, settled| {
        show_settled(paper, &settled, &format!("{} reported", settled.used));
    });
    paper.done("an answer of 800 tokens, cut by the client after 60");
    let cut = settlement::cut_stream_is_charged(stage, "hanging-up", 800, 60).await;
    paper.judge(settlement::CUT, cut, |paper, settled| {
        let bounds = format!(
            "{} read by the client, {} generated",
            settled.used, settled.most
        );
        show_settled(paper, &settled, &bounds);
    });
}

fn show_settled(paper: &Paper, settled: &Settled, used: &str) {
    paper.seen("balance before", settled.before);
    paper.seen(
        "while it ran",
        format!("{} ({} reserved)", settled.during, settled.reserved),
    );
    paper.seen(
        "balance after",
        format!(
            "{}: {} charged, {used}, in {:.1} s at 1 token/s of refill",
            settled.after,
            settled.charged(),
            settled.elapsed.as_secs_f64()
        ),
    );
}

pub(super) async fn killed(paper: &mut Paper, stage: &mut Stage) {
    paper.chapter("The control plane, killed");
    paper.done("kill -9 under load; canary-weight=50 while it is dead; then started again");
    let sessions = Sessions::new(&fresh("outage"), 600);
    let survived = outage::control_plane_dies(stage, &sessions, 1500, 50).await;
    paper.judge(outage::CLAIM, survived, |paper, survived| {
        paper.seen(
            "while it was dead",
            format!(
                "{} requests in {}, all 200",
                survived.during,
                ms(survived.down)
            ),
        );
        paper.seen(
            "picked up",
            format!(
                "{} after its start, the edit was ACKed by Envoy",
                ms(survived.back)
            ),
        );
        paper.seen("requests", format!("{}, 0 failed", survived.requests));
    });
}
