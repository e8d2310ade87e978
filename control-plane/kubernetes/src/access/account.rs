//! The ServiceAccount that is granted the rights.

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// The default name.
    pub const DEFAULT_NAME: &str = "headgate";
}
