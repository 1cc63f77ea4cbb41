//! Part of the roof.
