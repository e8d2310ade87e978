//!
//! Place in the flow: outside of it, like `headgate-testkit`, on which it builds. Nothing that ships depends on this crate, and it
//! depends on no crate that ships.
//!
//! | to get | use | module |
//! |---|---|---|
//! | a real SPIRE: identities for programs, federated trust domains | `Spire::start` | [`spire`] |

pub mod command;
pub mod spire;
