//! The ledger's rules of buckets, and their overrides.
//!
//! A rule has one window: the time that an empty bucket takes to fill. An override with the same window shares the bucket's rule. Each
//! other window has a rule and a table of its own. Two windows cannot share a table: rescaling its cells from one to the other and back
//! would lose debt each time.

use std::rc::Rc;

use headgate_contract::{BucketRule, ConfigError, Decimal, OnContention};

use crate::cost;
use crate::host::Host;
use crate::ledger::{self, Ledger, Rule, RuleSpec, Window};
use crate::overrides::Overrides;

/// The rule of a bucket, and its overrides.
#[derive(Debug)]
pub(super) struct OpenBucket {
    pub(super) rule: Rule,
    pub(super) overrides: Option<Rc<Overrides>>,
}

/// The ledger's rules of a namespace, in the order of its buckets.
pub(super) fn open_rules(
    namespace: &str,
    buckets: &[BucketRule],
    host: &dyn Host,
) -> Result<Vec<OpenBucket>, ConfigError> {
    let mut opened = Vec::with_capacity(buckets.len());
    for (i, rule) in buckets.iter().enumerate() {
        let bucket = open(namespace, rule, host);
        let path = || format!("namespaces.{namespace}.buckets[{i}].bucket");
        opened.push(bucket.map_err(|e| ConfigError::new(path(), e))?);
    }
    Ok(opened)
}

fn open(namespace: &str, config: &BucketRule, host: &dyn Host) -> Result<OpenBucket, String> {
    let bucket = &config.bucket;
    let parts = bucket.key.iter().cloned().map(String::from);
    let key = parts.collect::<Vec<_>>().join(",");
    let open = |window: Window, key: String| {
        let spec = RuleSpec {
            id: format!("{namespace}/{}/{}", config.policy, bucket.name),
            key,
            window,
            max_debt: window.debt(bucket.max_debt.map(Decimal::millionths)),
            max_keys: bucket.max_keys,
            on_contention: match bucket.on_contention {
                OnContention::Refuse => ledger::OnContention::Refuse,
                OnContention::Admit => ledger::OnContention::Admit,
            },
        };
        let opened = Ledger::configure(vec![spec], host, host).map_err(|e| e.to_string())?;
        opened.into_iter().next().ok_or_else(String::new)
    };
    let window = cost::window(&bucket.profile).map_err(|e| e.to_string())?;
    let rule = open(window, key.clone())?;
    let mut others: Vec<Rule> = Vec::new();
    let overrides = Overrides::new(bucket, &rule, |capacity, refill| {
        let (capacity, refill) = (capacity.millionths(), refill.millionths());
        let own = Window::from_capacity_and_refill(capacity.into(), refill.into());
        let own = own.map_err(|e| e.to_string())?;
        let same = |rule: &&Rule| rule.window().exact() == own.exact();
        if same(&&rule) {
            return Ok(None);
        }
        if let Some(known) = others.iter().find(same) {
            return Ok(Some(known.clone()));
        }
        let (numerator, denominator) = own.exact();
        let opened = open(own, format!("{key}@{numerator}/{denominator}"))?;
        others.push(opened.clone());
        Ok::<_, String>(Some(opened))
    })?;
    Ok(OpenBucket {
        rule,
        overrides: overrides.map(Rc::new),
    })
}
