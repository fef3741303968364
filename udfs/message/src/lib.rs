//! What a message between agents is, as plain Rust: its contract, its ids, its hop limit, and the replies to it.
//!
//! SQL calls these functions through the UDFs beside this crate. A message is parsed once, by [`open()`]; the others work
//! on what it returns. They never panic and never return NULL: a row that they cannot work on becomes a message that the
//! router refuses, so that nothing is lost.
//!
//! Asking a model is the business of `baton-llm`.

mod fields;
mod hops;
mod open;
mod write;

pub use open::open;
pub use write::{forward, reply, start_workflow};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A JSON object. Keys keep their order, numbers their digits; of equal keys the last one counts.
type Object = Map<String, Value>;

/// The fields that Baton itself writes, in the order in which a message has them.
const ENVELOPE: [&str; 6] = ["message_id", "workflow_id", "parent_id", "hop", "sender", "created_at"];

/// The first 32 hexadecimal digits of the SHA-256 of some texts with `|` between them. The same texts always make the
/// same id.
fn id_of(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("|"));
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
