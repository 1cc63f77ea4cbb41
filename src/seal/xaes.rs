//! XAES-256-GCM (C2SP): AES-256-GCM under a key derived from the first half of a 192-bit nonce.
