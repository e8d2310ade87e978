//! Entries of a list by the model that they apply to.

use headgate_contract::ModelId;

/// The entries of a list by model: for each, the indices that apply to it, in the list's order.
pub(super) struct Assigned<'a> {
    /// Entries for every model.
    all: Vec<usize>,
    /// Sorted by model, then by index. A list that names a model twice has it twice.
    by_model: Vec<(&'a str, usize)>,
}

impl<'a> Assigned<'a> {
    /// `lists`: the models of each entry; `None` means every model.
    pub(super) fn new(lists: &[Option<&'a [ModelId]>]) -> Self {
        let (mut all, mut by_model) = (Vec::new(), Vec::new());
        for (i, list) in lists.iter().enumerate() {
            match list {
                None => all.push(i),
                Some(models) => by_model.extend(models.iter().map(|model| (model.as_str(), i))),
            }
        }
        by_model.sort_unstable();
        Self { all, by_model }
    }

    #[inline(never)]
    pub(super) fn of(&self, model: &str) -> Vec<usize> {
        let first = self.by_model.partition_point(|(m, _)| *m < model);
        let own = self.by_model[first..].iter();
        let own = own.take_while(|(m, _)| *m == model).map(|(_, i)| *i);
        let mut entries = self.all.clone();
        entries.extend(own);
        entries.sort_unstable();
        entries.dedup();
        entries
    }
}
