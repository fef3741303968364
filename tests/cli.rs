//! What a person sees of `baton`: the built binary is run as it is, and its output, its files and its exit codes are
//! held. What needs a Kafka broker is in the Kafka suite; UDFs that do not compile are in the UDF host's.

#[path = "cli/agents.rs"]
mod agents;
#[path = "cli/binary.rs"]
mod binary;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/eval.rs"]
mod eval;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/functions.rs"]
mod functions;
#[path = "cli/layers.rs"]
mod layers;
#[path = "cli/llm/mod.rs"]
mod llm;
#[path = "cli/llm_calls.rs"]
mod llm_calls;
#[path = "cli/malformed.rs"]
mod malformed;
#[path = "cli/meaning.rs"]
mod meaning;
#[path = "cli/model_servers/mod.rs"]
mod model_servers;
#[path = "cli/new.rs"]
mod new;
#[path = "cli/parity.rs"]
mod parity;
#[path = "cli/plan.rs"]
mod plan;
#[path = "support/model.rs"]
#[allow(dead_code, reason = "another test binary needs the rest")]
mod played;
#[path = "cli/render.rs"]
mod render;
#[path = "support/udf_fixtures.rs"]
mod udf_fixtures;
#[path = "cli/waiting.rs"]
mod waiting;
#[path = "cli/wrong.rs"]
mod wrong;
