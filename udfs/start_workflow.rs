//! SQL's `start_workflow(workflow_id, sender, created_at, context, lead_data)`: the first message of a workflow, as bytes.
//!
//! It only passes its arguments on; `message/` does the work.

/*
[dependencies]
baton-message = { path = "message" }
*/

use arroyo_udf_plugin::udf;

#[udf]
fn start_workflow(
    workflow_id: Option<&str>,
    sender: Option<&str>,
    created_at: Option<&str>,
    context: Option<&str>,
    lead_data: Option<&str>,
) -> Vec<u8> {
    baton_message::start_workflow(workflow_id, sender, created_at, context, lead_data)
}
