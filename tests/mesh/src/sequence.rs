//! Checks all claims on one testbed, in order, and prints the results.

use std::time::{Duration, Instant};

use headgate_demo::{BrokenClaim, Printer};

use crate::claims::{
    bodies, budget, canary, gateway, inbound, install, metrics, others, outages, plugin, sidecars,
    spans, tags,
};
use crate::error::MeshTestbedError;
use crate::testbed::{MeshTestbed, Options};

/// Starts a testbed and checks all claims on it. Returns those that do not hold.
///
/// # Errors
/// The testbed cannot be set up.
pub async fn run() -> Result<Vec<BrokenClaim>, MeshTestbedError> {
    let (mut printer, began) = (Printer::new(), Instant::now());
    printer.line("Headgate in an Istio mesh. Every figure below is measured in this run.\n");
    let options = Options {
        // Routes of removed versions stay for a minute by default.
        args: vec!["--linger=5".to_owned()],
    };
    let mut testbed = MeshTestbed::start(&options).await?;
    opening(&printer, &testbed, began.elapsed());
    applied(&printer, &testbed).await?;

    requests(&mut printer, &testbed).await;
    pulled(&mut printer, &testbed).await;
    comes(&mut printer, &testbed).await;
    label(&mut printer, &testbed).await;
    outage(&mut printer, &mut testbed).await;
    restart(&mut printer, &testbed).await;
    goes(&mut printer, &testbed).await;
    inbound_budgets(&mut printer, &testbed).await;
    analysis(&mut printer, &testbed).await;
    overlay(&mut printer, &testbed).await;
    Ok(printer.finish(began.elapsed()))
}

fn opening(printer: &Printer, testbed: &MeshTestbed, took: Duration) {
    printer.row("Kubernetes API", testbed.kube.url());
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

async fn applied(printer: &Printer, testbed: &MeshTestbed) -> Result<(), MeshTestbedError> {
    let began = Instant::now();
    testbed.deploy().await?;
    testbed.until_tagged().await?;
    printer.row(
        "first tag",
        format!(
            "{} after the first object of the model",
            ms(began.elapsed())
        ),
    );
    Ok(())
}

async fn requests(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Tag requests");
    printer.judge(
        tags::CLAIM,
        tags::tag_travels(testbed).await,
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
    let labels = metrics::labels(testbed).await;
    printer.judge(metrics::CLAIM, labels, |printer, sample| {
        printer.row("Prometheus", sample);
    });
    let logged = metrics::access_log(testbed).await;
    printer.judge(metrics::LOG, logged, |printer, line| {
        printer.row("access log", line);
    });
    printer.judge(spans::CLAIM, spans::tags(testbed).await, |printer, tags| {
        printer.row("span", tags.join(", "));
    });
    printer.section("Leave others alone");
    let untouched = others::service_is_untouched(testbed).await;
    printer.judge(others::SERVICE, untouched, |printer, seen| {
        for (path, status) in seen {
            printer.row(&status.to_string(), format!("{path} of the service users"));
        }
    });
    let untouched = others::plain_sidecar_is_untouched(testbed).await;
    printer.judge(others::SIDECAR, untouched, |printer, rejected| {
        printer.row("rejected", format!("{rejected} listeners"));
    });
    printer.section("Spend the budget of a tenant");
    let exhausted = budget::tenant_runs_out(testbed, "acme").await;
    printer.judge(budget::CLAIM, exhausted, show_exhausted);
    printer.section("Send large bodies");
    printer.judge(
        bodies::CLAIM,
        bodies::large_bodies(testbed).await,
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

async fn pulled(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Pull the module for a WasmPlugin");
    let pulled = plugin::plugin_is_pulled(testbed).await;
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

async fn comes(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Deploy a version under load");
    printer.judge(
        canary::COMES,
        canary::version_comes(testbed).await,
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

async fn label(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Change its share by label, under load");
    let labelled = canary::label_moves_sessions(testbed, 20).await;
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

async fn outage(printer: &mut Printer, testbed: &mut MeshTestbed) {
    printer.section("Kill Headgate under load");
    let killed = outages::headgate_dies(testbed).await;
    printer.judge(outages::HEADGATE_DIES, killed, show_killed);
    printer.section("Kill istiod under load");
    let killed = outages::istiod_dies(testbed).await;
    printer.judge(outages::ISTIOD_DIES, killed, show_killed);
    printer.section("Upgrade Headgate under load");
    let replaced = outages::headgate_is_replaced(testbed).await;
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

async fn restart(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Restart a sidecar while Headgate is away");
    printer.action(
        "kubectl scale --replicas=0, kill -9 of the sidecar, then kubectl scale --replicas=2",
    );
    let restarted = sidecars::starts_while_headgate_is_away(testbed).await;
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
        printer.row(
            "all streams",
            format!(
                "{} after Headgate's pods were ready",
                ms(restarted.connected)
            ),
        );
    });
}

async fn goes(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Delete a version under load");
    printer.judge(
        canary::GOES,
        canary::version_goes(testbed).await,
        |printer, removed| {
            printer.command(&removed.typed);
            printer.row("routes", format!("gone {} later", ms(removed.took)));
            printer.row("requests", removed.served);
        },
    );
}

async fn inbound_budgets(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Charge at the model server");
    let spent = match inbound::deploy(testbed).await {
        Ok(()) => inbound::tenants_run_out(testbed).await,
        Err(broken) => Err(broken),
    };
    printer.judge(inbound::TENANTS, spent, |printer, spent| {
        let remaining: Vec<String> = spent.remaining.iter().map(u64::to_string).collect();
        printer.row("remaining", remaining.join(", "));
        printer.row("429", spent.message);
        printer.row("another", format!("{} tokens left", spent.other));
    });
    let bodies = inbound::large_bodies(testbed).await;
    printer.judge(inbound::BODIES, bodies, |printer, (received, refusal)| {
        printer.row("200", format!("{received} bytes served"));
        printer.row("413", refusal);
    });
    let without_module = inbound::server_without_module(testbed).await;
    printer.judge(
        inbound::WITHOUT_MODULE,
        without_module,
        |printer, condition| {
            printer.row("Programmed", condition);
        },
    );
}

async fn analysis(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Analyze the mesh");
    printer.judge(
        install::CLAIM,
        install::analysis(testbed).await,
        |printer, warnings| {
            printer.row(
                "istioctl",
                format!("{warnings} × IST0133, one for each EnvoyFilter, nothing else"),
            );
        },
    );
}

async fn overlay(printer: &mut Printer, testbed: &MeshTestbed) {
    printer.section("Serve a gateway");
    printer.action("$ kubectl apply --server-side -k istio-manifests/overlays/istio-gateway");
    let served = gateway::overlay(testbed).await;
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
