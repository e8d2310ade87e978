//! Which rules are for which models: the first of them, found without looking at each.

use std::collections::BTreeMap;

use headgate_contract::ModelId;

/// Rules of one name, by their place in a list. Invariant: every answer is the earliest that fits.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    any: Option<usize>,
    all: Option<usize>,
    models: BTreeMap<ModelId, usize>,
}

impl Claims {
    /// A rule for these models, or for all. Places only grow.
    pub(crate) fn enter(&mut self, models: Option<&[ModelId]>, place: usize) {
        self.any.get_or_insert(place);
        match models {
            None => _ = self.all.get_or_insert(place),
            Some(models) => {
                for model in models {
                    self.models.entry(model.clone()).or_insert(place);
                }
            }
        }
    }

    /// The first rule for this model.
    pub(crate) fn first(&self, model: &ModelId) -> Option<usize> {
        let named = self.models.get(model).copied();
        named.into_iter().chain(self.all).min()
    }

    /// The first rule for any of these models, or at all.
    pub(crate) fn overlapping(&self, models: Option<&[ModelId]>) -> Option<usize> {
        match models {
            None => self.any,
            Some(models) => models.iter().filter_map(|model| self.first(model)).min(),
        }
    }

    /// Whether one of them is for all models.
    pub(crate) fn for_all(&self) -> bool {
        self.all.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> ModelId {
        ModelId::try_from(format!("m{n}").as_str()).unwrap()
    }

    proptest! {
        #[test]
        fn the_first_that_fits_is_found_as_by_looking_at_each(
            rules in prop::collection::vec(prop::option::of(prop::collection::vec(0u8..6, 1..4)), 0..8),
            asked in prop::option::of(prop::collection::vec(0u8..6, 1..4)),
        ) {
            let ids = |list: &Option<Vec<u8>>| list.as_ref().map(|l| l.iter().map(|n| id(*n)).collect::<Vec<_>>());
            let mut claims = Claims::default();
            for (place, rule) in rules.iter().enumerate() {
                claims.enter(ids(rule).as_deref(), place);
            }
            let fits = |rule: &Option<Vec<u8>>| match (rule, &asked) {
                (Some(theirs), Some(asked)) => asked.iter().any(|n| theirs.contains(n)),
                _ => true,
            };
            prop_assert_eq!(claims.overlapping(ids(&asked).as_deref()), rules.iter().position(fits));
        }
    }
}
