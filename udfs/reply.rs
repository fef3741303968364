//! SQL's `reply(opened, context, answer, fields)`: the message with which an agent answers, as bytes.
//!
//! It only passes its arguments on; `message/` does the work.

/*
[dependencies]
baton-message = { path = "message" }
*/

use arroyo_udf_plugin::udf;

#[udf]
fn reply(opened: Option<&str>, context: Option<&str>, answer: Option<&str>, fields: Option<&str>) -> Vec<u8> {
    baton_message::reply(opened, context, answer, fields)
}
