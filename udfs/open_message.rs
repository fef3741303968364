//! SQL's `open_message(value, topic, partition, offset_id, published_ms, options)`: a message and its errors, as JSON
//! text.
//!
//! It only passes its arguments on; `message/` does the work.

/*
[dependencies]
baton-message = { path = "message" }
*/

use arroyo_udf_plugin::udf;

#[udf]
fn open_message(
    value: Option<&[u8]>,
    topic: Option<&str>,
    partition: Option<i32>,
    offset_id: Option<i64>,
    published_ms: Option<i64>,
    options: Option<&str>,
) -> String {
    baton_message::open(value, topic, partition, offset_id, published_ms, options)
}
