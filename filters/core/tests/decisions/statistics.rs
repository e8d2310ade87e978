//! Names of statistics: what a proxy cuts labels out of.

use headgate_core::metrics;
use proptest::prelude::*;

#[test]
fn a_statistic_ends_with_its_family_after_its_labels() {
    let metric = metrics::requests("default", "llama", "v2.3.1-cuda118", "base", "admitted");
    assert_eq!(
        metric.rendered(),
        "model_namespace=.=default;.;model=.=llama;.;version=.=v2.3.1-cuda118;.;lane=.=base;.;outcome=.=admitted;.;\
         headgate_requests_total"
    );
    assert_eq!(metric.family().map(|f| f.name), Some("requests_total"));
    let values: Vec<_> = metric.label_values().collect();
    assert_eq!(
        values,
        ["default", "llama", "v2.3.1-cuda118", "base", "admitted"]
    );
    let bare = metrics::lost_attempts();
    assert_eq!(bare.rendered(), "headgate_bucket_tries_lost_total");
    assert_eq!(
        bare.family().map(|f| f.name),
        Some("bucket_tries_lost_total")
    );
    assert_eq!(bare.label_values().count(), 0);
}

/// What the first match of `K=\.=(.*?);\.;` has for its value, as Envoy cuts it out.
fn extracted<'a>(name: &'a str, key: &str) -> Option<&'a str> {
    let (_, value) = name.split_once(&format!("{key}=.="))?;
    Some(value.split_once(";.;")?.0)
}

proptest! {
    /// Values that are made of the separators themselves.
    #[test]
    fn no_value_forges_a_label(
        tenant in "(;|=|\\.|;\\.;|=\\.=|outcome|tenant|a|%3B){0,12}",
        other in "(;|=|\\.|;\\.;|=\\.=|outcome|tenant|a|%3B){0,12}",
    ) {
        let metric = metrics::tenant_requests("ns", &tenant, "admitted");
        let name = metric.rendered();
        prop_assert_eq!(name.matches(";.;").count(), 3);
        prop_assert_eq!(name.matches("=.=").count(), 3);
        prop_assert_eq!(extracted(name, "model_namespace"), Some("ns"));
        prop_assert_eq!(extracted(name, "outcome"), Some("admitted"));
        let decoded = extracted(name, "tenant").unwrap().replace("%3B", ";").replace("%3D", "=");
        prop_assert_eq!(decoded, tenant.replace("%3B", ";"));
        // Tenants arrive with `%` encoded, so different ones have different series.
        let plain = |text: &str| !text.contains('%');
        if plain(&tenant) && plain(&other) {
            let series = metrics::tenant_requests("ns", &other, "admitted");
            prop_assert_eq!(series == metric, tenant == other);
        }
    }
}
