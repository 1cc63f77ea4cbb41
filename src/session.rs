//! Sessions: a signed-in browser. The cookie is an opaque [`Ticket`], the record rests sealed in a store, and a bounded
//! cache in the process answers requests without the store.

mod cookie;
mod memory;
mod model;
mod secrets;
mod service;
mod store;
mod ticket;

pub use cookie::{COOKIE_NAME, clear_session_cookie, session_cookie};
pub use memory::MemoryStore;
pub use model::{Lifetimes, NewSession, Session, Tokens};
pub use secrets::SecretStore;
pub use service::{Lookup, Sessions};
pub use store::{Store, StoreError, StoredRecord, Version};
pub use ticket::{Ticket, TicketState};
