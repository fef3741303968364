//! SQL's `llm_complete(prompt, input, fallback, options)`: what a model answers to a prompt about an input, as JSON text.
//!
//! It only passes its arguments on; `llm/` does the work, ends every call itself, well before the time-out below (which
//! ends the job), and gives every failure back as a value.

/*
[dependencies]
baton-llm = { path = "llm" }
*/

use arroyo_udf_plugin::udf;

#[udf(unordered, allowed_in_flight = 1000, timeout = "10m")]
async fn llm_complete(
    prompt: Option<&str>,
    input: Option<&str>,
    fallback: Option<&str>,
    options: Option<&str>,
) -> String {
    baton_llm::complete(prompt, input, fallback, options).await
}
