//! Messages between agents in plain Rust: their contract, ids, hop limit and replies.
//!
//! SQL calls these functions through the UDFs beside this crate. [`open()`] parses a message once, and the other
//! functions work on its result. They never panic and never return NULL: a row that they cannot process becomes a
//! message that the router refuses, so nothing is lost.
//!
//! `baton-llm` calls the models.

mod fields;
mod hops;
mod open;
mod write;

pub use open::open;
pub use write::{forward, reply, start_workflow};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A JSON object. Keys keep their order and numbers their digits; the last of duplicate keys counts.
type Object = Map<String, Value>;

/// The fields that Baton writes, in their order in a message.
const ENVELOPE: [&str; 6] = ["message_id", "workflow_id", "parent_id", "hop", "sender", "created_at"];

/// The first 32 hexadecimal digits of the SHA-256 of the texts, joined by `|`. The same texts always give the same id.
fn id_of(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("|"));
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
