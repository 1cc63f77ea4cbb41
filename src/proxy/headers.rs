//! Which fields pass, in either direction. Outbound heads start empty: end-to-end fields are admitted one by one,
//! framing, hop-by-hop, forwarding and identity fields are ours alone.
