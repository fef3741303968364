//! SQL's `forward(opened, decision, reason)`: the original message with the decision about it, as bytes.
//!
//! It only passes its arguments on; `message/` does the work.

/*
[dependencies]
baton-message = { path = "message" }
*/

use arroyo_udf_plugin::udf;

#[udf]
fn forward(opened: Option<&str>, decision: Option<&str>, reason: Option<&str>) -> Vec<u8> {
    baton_message::forward(opened, decision, reason)
}
