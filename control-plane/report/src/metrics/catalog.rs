//! All metrics of the control plane: name, type, labels and help. The code registers them from this table, and the metrics
//! reference is generated from it.

/// A metric family.
#[derive(Debug, Clone, Copy)]
pub struct MetricFamily {
    /// Name as scraped, without the suffixes of samples such as `_total`.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
    /// Description, with the unit.
    pub help: &'static str,
}

const fn family(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricFamily {
    MetricFamily {
        name,
        kind,
        labels,
        help,
    }
}

const VERSION: &[&str] = &["model_namespace", "model", "version"];

/// The families, in the order of the reference.
pub const FAMILIES: &[MetricFamily] = &[
    family(
        "headgate_build_info",
        "gauge",
        &["version"],
        "Version of the control plane; always 1",
    ),
    family(
        "headgate_xds_pushes",
        "counter",
        &["type"],
        "Responses sent to proxies",
    ),
    family(
        "headgate_xds_acks",
        "counter",
        &["type"],
        "Responses that proxies ACKed",
    ),
    family(
        "headgate_xds_nacks",
        "counter",
        &["type"],
        "Responses that proxies NACKed",
    ),
    family(
        "headgate_xds_push_duration_seconds",
        "histogram",
        &["type"],
        "Time from a response to its ACK",
    ),
    family(
        "headgate_convergence_duration_seconds",
        "histogram",
        &[],
        "Time from the first response of a change until every connected proxy has ACKed all responses",
    ),
    family(
        "headgate_publication_duration_seconds",
        "histogram",
        &[],
        "Time to compute a publication, from objects to the snapshots of all scopes",
    ),
    family(
        "headgate_publications",
        "counter",
        &[],
        "Plans published by this process",
    ),
    family(
        "headgate_xds_refusals",
        "counter",
        &["reason"],
        "Connections and streams of proxies that were refused",
    ),
    family(
        "headgate_xds_certificate_expiry_timestamp_seconds",
        "gauge",
        &["spiffe_id"],
        "End of the validity of the certificate of the xDS port, in Unix seconds; no series if the port has none",
    ),
    family(
        "headgate_admin_refusals",
        "counter",
        &["reason"],
        "Connections to the admin port that were refused before or during the TLS handshake",
    ),
    family(
        "headgate_admin_certificate_expiry_timestamp_seconds",
        "gauge",
        &["spiffe_id"],
        "End of the validity of the certificate of the admin port, in Unix seconds; no series if the port has none",
    ),
    family(
        "headgate_listener_certificate_expiry_timestamp_seconds",
        "gauge",
        &[],
        "End of the validity of the certificate that proxies present to clients, in Unix seconds; no series without --listener-tls",
    ),
    family("headgate_proxies", "gauge", &[], "Connected proxies"),
    family(
        "headgate_proxies_current",
        "gauge",
        &[],
        "Connected proxies that ACKed the newest version of every resource",
    ),
    family(
        "headgate_synced",
        "gauge",
        &[],
        "1 after the first complete read of the source, else 0",
    ),
    family(
        "headgate_source_errors",
        "counter",
        &["source"],
        "Failures to read the source: a Kubernetes kind, or files",
    ),
    family(
        "headgate_kubernetes_api_unreachable",
        "gauge",
        &[],
        "1 while the Kubernetes API does not answer, else 0",
    ),
    family(
        "headgate_kubernetes_kind_unread_since_timestamp_seconds",
        "gauge",
        &["kind"],
        "Unix time since which a Kubernetes kind cannot be read; no series if it can",
    ),
    family(
        "headgate_problems",
        "gauge",
        &["severity", "reason"],
        "Problems by severity and reason; the findings reference explains each reason",
    ),
    family(
        "headgate_version_weight_percent",
        "gauge",
        VERSION,
        "Planned percent of new sessions of a version",
    ),
    family(
        "headgate_version_ready_endpoints",
        "gauge",
        VERSION,
        "Ready endpoints of a version",
    ),
    family(
        "headgate_version_unreachable_proxies",
        "gauge",
        VERSION,
        "Proxies whose load reports show that they cannot connect to a version",
    ),
    family(
        "process_cpu_seconds",
        "counter",
        &[],
        "User and system CPU time of the process, in seconds",
    ),
    family(
        "process_resident_memory_bytes",
        "gauge",
        &[],
        "Resident memory of the process, in bytes",
    ),
    family(
        "process_virtual_memory_bytes",
        "gauge",
        &[],
        "Virtual memory of the process, in bytes",
    ),
    family(
        "process_open_fds",
        "gauge",
        &[],
        "Open file descriptors of the process",
    ),
    family(
        "process_max_fds",
        "gauge",
        &[],
        "Largest number of open file descriptors of the process",
    ),
    family("process_threads", "gauge", &[], "Threads of the process"),
    family(
        "process_start_time_seconds",
        "gauge",
        &[],
        "Start time of the process, in Unix seconds",
    ),
];

/// The help text of a family; empty if the name is not in the table, which a test excludes.
pub(super) fn help(name: &str) -> &'static str {
    let found = FAMILIES.iter().find(|family| family.name == name);
    found.map_or("", |family| family.help)
}
