//! The claims in their order on one stand, printed.

use std::time::{Duration, Instant};

use headgate_demo::{BrokenClaim, Printer};

use crate::claims::{
    bodies, budget, canary, gateway, inbound, install, metrics, others, outages, plugin, sidecars,
    tags,
};
use crate::error::StandError;
use crate::stand::{MeshStand, Options};

/// Starts a stand and checks all claims on it. Returns those that do not hold.
///
/// # Errors
/// The stand cannot be set up.
pub async fn run() -> Result<Vec<BrokenClaim>, StandError> {
    let (mut printer, began) = (Printer::new(), Instant::now());
    printer.line("Headgate in an Istio mesh. Every figure below is measured in this run.\n");
    let options = Options {
        // Routes of removed versions stay for a minute by default.
        args: vec!["--linger=5".to_owned()],
    };
    let mut stand = MeshStand::start(&options).await?;
    opening(&printer, &stand, began.elapsed());
    applied(&printer, &stand).await?;

    requests(&mut printer, &stand).await;
    pulled(&mut printer, &stand).await;
    comes(&mut printer, &stand).await;
    label(&mut printer, &stand).await;
    outage(&mut printer, &mut stand).await;
    restart(&mut printer, &stand).await;
    goes(&mut printer, &stand).await;
    guarded(&mut printer, &stand).await;
    analysis(&mut printer, &stand).await;
    overlay(&mut printer, &stand).await;
    Ok(printer.finish(began.elapsed()))
}

fn opening(printer: &Printer, stand: &MeshStand, took: Duration) {
    printer.row("Kubernetes API", stand.kube.url());
    printer.row("istiod, sidecars", "real; mutual TLS mode STRICT");
    printer.row(
        "kubelet",
        "simulated: the containers of pods run as processes, on loopback addresses",
    );
    printer.row(
        "Headgate",
        "$ kubectl apply --server-side -k istio-manifests/overlays/istio-sidecar: two pods, each behind its sidecar",
    );
    printer.row("started in", ms(took));
}

async fn applied(printer: &Printer, stand: &MeshStand) -> Result<(), StandError> {
    let began = Instant::now();
    stand.deploy().await?;
    stand.until_tagged().await?;
    printer.row(
        "first tag",
        format!(
            "{} after the first object of the model",
            ms(began.elapsed())
        ),
    );
    Ok(())
}

async fn requests(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Tag requests");
    printer.judge(
        tags::CLAIM,
        tags::tag_travels(stand).await,
        |printer, tagged| {
            for tag in tagged {
                let headers = tag
                    .at_model
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"));
                printer.row(tag.entry, headers.collect::<Vec<_>>().join(", "));
            }
        },
    );
    let labels = metrics::labels(stand).await;
    printer.judge(metrics::CLAIM, labels, |printer, sample| {
        printer.row("Prometheus", sample);
    });
    let logged = metrics::access_log(stand).await;
    printer.judge(metrics::LOG, logged, |printer, line| {
        printer.row("access log", line);
    });
    printer.section("Leave others alone");
    let untouched = others::service_is_untouched(stand).await;
    printer.judge(others::SERVICE, untouched, |printer, seen| {
        for (path, status) in seen {
            printer.row(&status.to_string(), format!("{path} of the service users"));
        }
    });
    let untouched = others::plain_sidecar_is_untouched(stand).await;
    printer.judge(others::SIDECAR, untouched, |printer, rejected| {
        printer.row("rejected", format!("{rejected} listeners"));
    });
    printer.section("Spend the budget of a tenant");
    let exhausted = budget::tenant_runs_out(stand, "acme").await;
    printer.judge(budget::CLAIM, exhausted, show_exhausted);
    printer.section("Send large bodies");
    printer.judge(
        bodies::CLAIM,
        bodies::large_bodies(stand).await,
        |printer, all| {
            for body in all {
                printer.row(body.entry, format!("{} bytes served", body.received));
                printer.row("", format!("413 {}", body.refusal));
            }
        },
    );
}

fn show_exhausted(printer: &Printer, exhausted: budget::Exhausted) {
    printer.row("remaining", exhausted.remaining.join(", "));
    printer.row(
        "429",
        format!(
            "{}; retry-after: {}",
            exhausted.message, exhausted.retry_after
        ),
    );
}

async fn pulled(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Pull the module for a WasmPlugin");
    let pulled = plugin::plugin_is_pulled(stand).await;
    printer.judge(plugin::CLAIM, pulled, |printer, pulled| {
        printer.row(
            "artifact",
            format!("oci://{}, sha256 {}", pulled.reference, pulled.digest),
        );
        printer.row(
            "POST",
            format!(
                "200; the model server got x-model-version: {}",
                pulled.version
            ),
        );
    });
}

async fn comes(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Deploy a version under load");
    printer.judge(
        canary::COMES,
        canary::version_comes(stand).await,
        |printer, new| {
            printer.row("status", new.waits);
            printer.row(
                "sessions",
                format!("{} after its pods were ready", ms(new.took)),
            );
            printer.row("requests", new.served);
        },
    );
}

async fn label(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Change its share by label, under load");
    let labelled = canary::label_moves_sessions(stand, 20).await;
    printer.judge(canary::LABEL, labelled, |printer, labelled| {
        printer.command(&labelled.typed);
        printer.row(
            "sidecar",
            format!("{} after kubectl returned", ms(labelled.reached)),
        );
        printer.row(
            "sessions",
            format!("{} moved, each once", labelled.served.moved),
        );
        printer.row("requests", labelled.served);
    });
}

async fn outage(printer: &mut Printer, stand: &mut MeshStand) {
    printer.section("Kill Headgate under load");
    let killed = outages::headgate_dies(stand).await;
    printer.judge(outages::HEADGATE_DIES, killed, show_killed);
    printer.section("Kill istiod under load");
    let killed = outages::istiod_dies(stand).await;
    printer.judge(outages::ISTIOD_DIES, killed, show_killed);
    printer.section("Upgrade Headgate under load");
    let replaced = outages::headgate_is_replaced(stand).await;
    printer.judge(outages::REPLACED, replaced, |printer, replaced| {
        printer.action(format!("$ {}", replaced.typed.line));
        printer.row(
            "new pods",
            format!("ready {} later", ms(replaced.typed.took)),
        );
        printer.row("requests", replaced.served);
    });
}

fn show_killed(printer: &Printer, killed: outages::Killed) {
    let pids: Vec<String> = killed.pids.iter().map(ToString::to_string).collect();
    printer.action(format!("$ kill -9 {}", pids.join(" ")));
    printer.row("ready again", format!("{} later", ms(killed.back)));
    printer.row("requests", killed.served);
}

async fn restart(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Restart a sidecar while Headgate is away");
    printer.action(
        "kubectl scale --replicas=0, kill -9 of the sidecar, then kubectl scale --replicas=2",
    );
    let restarted = sidecars::starts_while_headgate_is_away(stand).await;
    printer.judge(sidecars::CLAIM, restarted, |printer, restarted| {
        printer.row(
            "first tag",
            format!("{} after kill -9 of the sidecar", ms(restarted.tagged)),
        );
        printer.row(
            "sessions",
            format!("{}, all on the base", restarted.sessions),
        );
        show_exhausted(printer, restarted.exhausted);
        printer.row(
            "canary",
            format!("{} after Headgate's pods were ready", ms(restarted.canary)),
        );
    });
}

async fn goes(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Delete a version under load");
    printer.judge(
        canary::GOES,
        canary::version_goes(stand).await,
        |printer, removed| {
            printer.command(&removed.typed);
            printer.row("routes", format!("gone {} later", ms(removed.took)));
            printer.row("requests", removed.served);
        },
    );
}

async fn guarded(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Charge at the model server");
    let spent = match inbound::deploy(stand).await {
        Ok(()) => inbound::tenants_run_out(stand).await,
        Err(broken) => Err(broken),
    };
    printer.judge(inbound::TENANTS, spent, |printer, spent| {
        let remaining: Vec<String> = spent.remaining.iter().map(u64::to_string).collect();
        printer.row("remaining", remaining.join(", "));
        printer.row("429", spent.message);
        printer.row("another", format!("{} tokens left", spent.other));
    });
    let bodies = inbound::large_bodies(stand).await;
    printer.judge(inbound::BODIES, bodies, |printer, (received, refusal)| {
        printer.row("200", format!("{received} bytes served"));
        printer.row("413", refusal);
    });
    let bare = inbound::server_without_module(stand).await;
    printer.judge(inbound::BARE, bare, |printer, condition| {
        printer.row("Programmed", condition);
    });
}

async fn analysis(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Analyze the mesh");
    printer.judge(
        install::CLAIM,
        install::analysis(stand).await,
        |printer, warnings| {
            printer.row(
                "istioctl",
                format!("{warnings} × IST0133, one for each EnvoyFilter, nothing else"),
            );
        },
    );
}

async fn overlay(printer: &mut Printer, stand: &MeshStand) {
    printer.section("Serve a gateway");
    printer.action("$ kubectl apply --server-side -k istio-manifests/overlays/istio-gateway");
    let served = gateway::overlay(stand).await;
    printer.judge(gateway::CLAIM, served, |printer, served| {
        printer.row("status", served.finding);
        printer.row(
            "200",
            format!(
                "x-model-version: {}; the model server got the tenant {}",
                served.version, served.tenant
            ),
        );
    });
}

fn ms(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..10_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
