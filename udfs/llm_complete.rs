//! SQL's `llm_complete(prompt, input, fallback, options)`: a model's answer to a prompt about an input, as JSON text.
//!
//! It only passes its arguments on; `llm/` does the work and returns every failure as a value. On Arroyo it ends every
//! call well before the timeout below, which would end the job. On the embedded engine a row may wait for the model.

/*
[dependencies]
baton-llm = { path = "llm" }
*/

use arroyo_udf_plugin::udf;

// baton: timeout = "none"
#[udf(unordered, allowed_in_flight = 1000, timeout = "10m")]
async fn llm_complete(
    prompt: Option<&str>,
    input: Option<&str>,
    fallback: Option<&str>,
    options: Option<&str>,
) -> String {
    baton_llm::complete(prompt, input, fallback, options).await
}
