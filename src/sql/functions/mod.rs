//! The functions that SQL can call: exactly those that Arroyo has, so that a pipeline that runs here runs there.
//!
//! Most are DataFusion's. What DataFusion has beyond Arroyo's (and every second name of a function) is taken away, what
//! it lacks is added, and what it computes once for a whole query (`now()`) is computed for each batch, because a stream
//! has no end. Aggregates and window functions are left as they are.

mod clock;
mod json_operators;
mod json_path;
mod json_values;
mod lists;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;
use datafusion_functions_json::udfs;

use json_operators::{JsonCalls, JsonOperators};

/// The names of all scalar functions, one a line, in order. `unnest` is not among a context's functions: the planner
/// makes an operator of it.
const NAMES: &str = include_str!("arroyo.txt");

/// Whether Arroyo has a scalar function of that name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    NAMES.lines().any(|known| known == name)
}

/// Leaves in a context the scalar functions and JSON operators that Arroyo has, and no others.
pub fn register(context: &SessionContext) {
    for function in own() {
        context.register_udf(function);
    }
    let all = context.state().scalar_functions().clone();
    for name in all.keys().filter(|name| !is_known(name)) {
        context.deregister_udf(name);
    }
    // One that counts its own name among its second names went with those.
    let left = context.udfs();
    for (name, function) in all.iter().filter(|(name, _)| is_known(name) && !left.contains(*name)) {
        debug_assert_eq!(name, function.name(), "a second name of a function cannot be its only one");
        context.register_udf(ScalarUDF::new_from_impl(FirstNameOnly(Arc::clone(function))));
    }
    if let Some(array_has) = all.get("array_has") {
        context.register_udf(lists::array_has(Arc::clone(array_has)));
    }
    context.add_analyzer_rule(Arc::new(lists::UnnestKeepsNulls));
    // A clone of a context shares its state.
    let mut registry = context.clone();
    // Both fail only for a registry that does not plan.
    let registered = registry
        .register_expr_planner(Arc::new(JsonOperators))
        .and_then(|()| registry.register_function_rewrite(Arc::new(JsonCalls)));
    debug_assert!(registered.is_ok(), "{registered:?}");
}

/// A function without its second names.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FirstNameOnly(Arc<ScalarUDF>);

impl ScalarUDFImpl for FirstNameOnly {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.0.invoke_with_args(args)
    }
}

/// The functions that are not DataFusion's.
fn own() -> Vec<ScalarUDF> {
    let json = [
        json_values::json_get_bool(),
        json_values::json_get_float(),
        json_values::json_get_int(),
        udfs::json_as_text_udf(),
        udfs::json_contains_udf(),
        udfs::json_get_udf(),
        udfs::json_get_json_udf(),
        udfs::json_get_str_udf(),
        udfs::json_length_udf(),
        udfs::json_object_keys_udf(),
    ];
    let mut functions: Vec<ScalarUDF> = json.iter().map(|function| function.as_ref().clone()).collect();
    functions.extend(clock::functions());
    functions.extend(json_path::functions());
    functions
}
