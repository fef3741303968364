//! SQL's `llm_classify(text, agents, options)`: which of the agents takes a text next, as JSON text.
//!
//! It only passes its arguments on; `llm/` does the work, ends every call itself, well before the time-out below (which
//! ends the job), and gives every failure back as a value.

/*
[dependencies]
baton-llm = { path = "llm" }
*/

use arroyo_udf_plugin::udf;

#[udf(unordered, allowed_in_flight = 1000, timeout = "10m")]
async fn llm_classify(text: Option<&str>, agents: Option<&str>, options: Option<&str>) -> String {
    baton_llm::classify(text, agents, options).await
}
