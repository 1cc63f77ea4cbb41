//! A piece of a response on its way through `h2`. The connection counts those that are not written: a client may take a window
//! back by its settings, and `h2` keeps what had it, for a stream that has left its place.

use std::rc::Rc;

use bytes::{Buf, Bytes};

use crate::proxy::pulse::Pulse;

/// Bytes that count as unwritten as long as they are there.
pub(super) struct Piece {
    bytes: Bytes,
    pulse: Rc<Pulse>,
}

impl Piece {
    /// Counts bytes that are handed over.
    pub(super) fn new(bytes: Bytes, pulse: &Rc<Pulse>) -> Self {
        pulse.handed_over();
        Self { bytes, pulse: Rc::clone(pulse) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.pulse.let_go();
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
