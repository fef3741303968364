//! placeholder until the formats branch lands
use datafusion::prelude::SessionContext;
/// Registers Arroyo's functions.
pub fn register(context: &SessionContext) {
    let mut state = context.state();
    let _ = datafusion_functions_json::register_all(&mut state);
    let _ = context;
}
