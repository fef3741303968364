//! SQL's `http_call(url, body, options)`: the answer of an agent that is an HTTP service, as JSON text.
//!
//! It only passes its arguments on; `llm/` does the work and returns every failure as a value. On Arroyo it ends every
//! call well before the timeout below, which would end the job. On the embedded engine a row may wait for the service.

/*
[dependencies]
baton-llm = { path = "llm" }
*/

use arroyo_udf_plugin::udf;

// baton: timeout = "none"
#[udf(unordered, allowed_in_flight = 1000, timeout = "10m")]
async fn http_call(url: Option<&str>, body: Option<&str>, options: Option<&str>) -> String {
    baton_llm::http_call(url, body, options).await
}
