//! The state that the sessions of equal proxies share: one pool for each kind of map.

use std::sync::Arc;

use super::ledger::HeldResource;
use super::shared_map::Pool;

/// What the sessions of one server share. The default shares nothing with other sessions.
#[derive(Clone, Debug, Default)]
pub struct SharedState(Arc<Pools>);

#[derive(Debug, Default)]
struct Pools {
    held: Pool<HeldResource>,
    names: Pool<()>,
}

impl SharedState {
    pub(super) fn held(&self) -> &Pool<HeldResource> {
        &self.0.held
    }

    pub(super) fn names(&self) -> &Pool<()> {
        &self.0.names
    }
}
