//! Sessions as the proxy uses them: the cache in front, the store behind, store calls on the control runtime.

use std::sync::Arc;

use super::{NewSession, Session, StoreError, Ticket};

/// What a ticket led to without the store.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A live session.
    Live(Arc<Session>),
    /// No such session: ended, expired or never was.
    Gone,
    /// The cache does not know; ask [`Sessions::load`].
    Unknown,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {}

impl Sessions {
    /// Looks a ticket up in the cache: no I/O, no cryptography.
    pub fn lookup(&self, ticket: &Ticket) -> Lookup {
        let _ = ticket;
        todo!()
    }

    /// Reads and opens the record from the store.
    pub async fn load(&self, ticket: &Ticket) -> Result<Option<Arc<Session>>, StoreError> {
        let _ = ticket;
        todo!()
    }

    /// Stores a new session; gives the ticket for its cookie.
    pub async fn begin(&self, new: NewSession) -> Result<Ticket, StoreError> {
        let _ = new;
        todo!()
    }

    /// Ends a session here at once and in the store.
    pub async fn end(&self, ticket: &Ticket) -> Result<(), StoreError> {
        let _ = ticket;
        todo!()
    }
}
