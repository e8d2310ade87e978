//! The parser of stored conditions, for all kinds.

use headgate_contract::Condition;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

/// The conditions of a list. Those that cannot be read are left out, and so are written again.
///
/// # Errors
/// It is not a list.
pub(crate) fn read<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<Condition>, D::Error> {
    let list = Vec::<Value>::deserialize(list)?;
    let conditions = list.into_iter().filter_map(condition);
    Ok(conditions.collect())
}

fn condition(value: Value) -> Option<Condition> {
    let condition: Condition = serde_json::from_value(value).ok()?;
    // The API server would refuse the time when it is written back.
    let time = condition.last_transition_time.parse::<Timestamp>();
    time.is_ok().then_some(condition)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_that_cannot_be_read_is_left_out_and_the_others_stay() {
        let good = json!({
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-31T12:00:00Z",
        });
        let mut list = vec![good.clone()];
        for (field, value) in [
            ("status", json!("Maybe")),
            ("lastTransitionTime", json!("yesterday")),
            ("lastTransitionTime", Value::Null),
            ("type", json!(1)),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            list.push(bad);
        }
        list.push(Value::Null);
        let conditions = read(Value::from(list)).unwrap();
        assert_eq!(serde_json::to_value(conditions).unwrap(), json!([good]));
        assert!(read(json!({})).is_err());
    }
}
