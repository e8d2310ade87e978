//! The effect of a kind that was not listed yet.

/// The part of the traffic that is not served until a kind has been listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blocks {
    /// Nothing is served.
    #[default]
    Everything,
    /// Pods that its objects may own are not served.
    OwnedPods,
    /// Everything is served. Its objects declare ports, and policies target them.
    Nothing,
    /// Everything is served, but proxies of the mesh get no new versions.
    MeshRoutes,
}
