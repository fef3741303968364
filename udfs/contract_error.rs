//! SQL's `contract_error(payload, json_schema)`: NULL if the payload matches its contract, else the violations.
//!
//! It only passes its arguments on; `llm/` does the work.

/*
[dependencies]
baton-llm = { path = "llm" }
*/

use arroyo_udf_plugin::udf;

#[udf]
fn contract_error(payload: Option<&str>, json_schema: Option<&str>) -> Option<String> {
    baton_llm::contract_error(payload, json_schema)
}
