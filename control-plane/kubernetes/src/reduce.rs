//! The loop of a reducer that keeps objects of Headgate's own kinds: policies, and what is remembered of models.
//!
//! Invariant: nothing is published before every watch is known, and all that came in at once is one state.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::update::{News, WatchId};

/// Takes in what watches tell.
pub trait Reduce {
    /// What the watches watch.
    type What;
    /// An object.
    type Object;
    /// What is kept of all objects.
    type Seen: Clone + PartialEq;

    /// Takes in one piece of news.
    fn hear(&mut self, id: &WatchId<Self::What>, said: News<Self::Object>);
    /// Whether every watch has told all there is at least once, or why it cannot.
    fn synced(&self) -> bool;
    /// The objects as they are now.
    fn seen(&self) -> &Self::Seen;
}

/// What one watch tells.
type Told<R> = (WatchId<<R as Reduce>::What>, News<<R as Reduce>::Object>);

/// Reduces until all senders are dropped.
pub async fn reduce<R: Reduce>(
    mut reducer: R,
    mut news: mpsc::Receiver<Told<R>>,
    publish: watch::Sender<Option<Arc<R::Seen>>>,
) {
    while let Some((id, said)) = news.recv().await {
        reducer.hear(&id, said);
        while let Ok((id, said)) = news.try_recv() {
            reducer.hear(&id, said);
        }
        if reducer.synced() {
            publish.send_if_modified(|published| {
                let changed = published.as_deref() != Some(reducer.seen());
                if changed {
                    *published = Some(Arc::new(reducer.seen().clone()));
                }
                changed
            });
        }
    }
}
