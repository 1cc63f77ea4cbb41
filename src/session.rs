//! Sessions: a signed-in browser. The cookie is an opaque [`Ticket`], the record rests sealed in a store, and a bounded
//! cache in the process answers requests without the store.

mod cache;
pub mod contract;
mod cookie;
mod flight;
mod headers;
mod keys;
mod login;
mod memory;
mod model;
mod record;
mod redis;
mod refresh;
mod roster;
mod secrets;
mod service;
mod store;
mod ticket;

pub use self::redis::{BadRedisSettings, RedisSettings, RedisStore};
pub use cookie::{COOKIE_NAME, clear_session_cookie, is_our_cookie, session_cookie, upstream_cookies};
pub use headers::IdentityHeaders;
pub use login::{MAX_LOGINS, OpenLogin, clear_login_cookie, crowded_out_logins, login_cookie, open_login_cookies};
pub use memory::MemoryStore;
pub use model::{Lifetimes, NewSession, Session, Tokens};
pub use refresh::{Refresh, Renewed};
pub use roster::{Resting, Roster};
pub use secrets::SecretStore;
pub use service::{Begun, Lookup, MAX_OF_A_PERSON, Sessions, sweep_regularly};
pub use store::{Change, Changes, Held, RecordKey, Store, StoreError, StoredRecord, Version};
pub use ticket::{LastTicket, Ticket, TicketState};

#[cfg(test)]
mod tests;
