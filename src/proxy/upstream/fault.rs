//! What can be wrong with an upstream's end of an exchange.

use std::io;

use crate::proxy::decoder::Malformed;

/// Why a response did not come, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The connection ended before the first byte of a response.
    #[error("the connection was closed before a response")]
    Closed(#[source] Option<io::Error>),
    /// The connection ended in the middle of a response.
    #[error("the connection was closed in the middle of a response")]
    Truncated(#[source] Option<io::Error>),
    /// What came is no HTTP/1.
    #[error("the response is not HTTP")]
    Garbage,
    /// The head has more bytes or fields than is accepted.
    #[error("the head of the response is too large")]
    TooLarge,
    /// The head delimits its body in two ways.
    #[error("the response is framed ambiguously")]
    Ambiguous,
    /// The request's own body broke off, so no response is waited for.
    #[error("the body of the request broke off")]
    Upload,
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Garbage => Self::Garbage,
            Malformed::TooLarge => Self::TooLarge,
            Malformed::Truncated => Self::Truncated(None),
        }
    }
}
