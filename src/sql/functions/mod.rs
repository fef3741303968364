//! The functions that SQL can call: exactly those of Arroyo, so that a pipeline that runs here also runs there.
//!
//! Most are DataFusion's. If its version and Arroyo's (48) give different results, Arroyo's result counts: each file
//! here covers a family of functions and lists the differences. DataFusion's additional functions and all aliases are
//! removed, and missing functions are added. Functions that DataFusion evaluates once for a whole query (`now()`) are
//! evaluated for each batch, because a stream has no end. Aggregates and window functions are unchanged.

mod clock;
mod conditionals;
mod dates;
mod encodings;
mod expressions;
mod json_find;
mod json_functions;
mod json_operators;
mod json_path;
mod list_sets;
mod list_texts;
mod lists;
mod numbers;
mod own;
mod patterns;
mod struct_names;
#[cfg(test)]
mod tests;
mod texts;
mod to_char;
mod type_names;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;

use expressions::{Meaning, Refused};
pub use expressions::{cast, castable};
use json_operators::{JsonCalls, JsonOperators};

/// The names of all scalar functions, one per line, sorted. `unnest` is not registered in a context: the planner turns
/// it into an operator.
const NAMES: &str = include_str!("arroyo.txt");

/// Whether Arroyo has a scalar function of that name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    NAMES.lines().any(|known| known == name)
}

/// Keeps only the scalar functions and JSON operators of Arroyo in a context.
pub fn register(context: &SessionContext) {
    for function in own() {
        context.register_udf(function);
    }
    let all = context.state().scalar_functions().clone();
    for name in all.keys().filter(|name| !is_known(name)) {
        context.deregister_udf(name);
    }
    // Functions that list their own name as an alias were removed with the aliases.
    let left = context.udfs();
    for (name, function) in all.iter().filter(|(name, _)| is_known(name) && !left.contains(*name)) {
        debug_assert_eq!(name, function.name(), "a second name of a function cannot be its only one");
        context.register_udf(ScalarUDF::new_from_impl(FirstNameOnly(Arc::clone(function))));
    }
    let ours = overriding(&all);
    for function in ours.values() {
        context.register_udf(function.as_ref().clone());
    }
    context.add_analyzer_rule(Arc::new(lists::UnnestKeepsNulls));
    // A clone of a context shares its state.
    let mut registry = context.clone();
    // Both fail only for a registry without a planner.
    let registered = registry
        .register_expr_planner(Arc::new(JsonOperators))
        .and_then(|()| registry.register_expr_planner(Arc::new(Refused)))
        .and_then(|()| registry.register_function_rewrite(Arc::new(JsonCalls)))
        .and_then(|()| registry.register_function_rewrite(Arc::new(Meaning { overridden: ours })));
    debug_assert!(registered.is_ok(), "{registered:?}");
}

/// A function without its aliases.
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

/// The functions that replace DataFusion's, by name.
fn overriding(all: &HashMap<String, Arc<ScalarUDF>>) -> HashMap<String, Arc<ScalarUDF>> {
    let mut ours = numbers::functions();
    ours.extend(texts::functions());
    ours.extend(list_sets::functions());
    ours.push(list_texts::function());
    ours.push(type_names::function());
    let adjusted = |(name, from): (&String, &Arc<ScalarUDF>)| {
        texts::adjusted(name, from)
            .or_else(|| patterns::adjusted(name, from))
            .or_else(|| conditionals::adjusted(name, from))
            .or_else(|| lists::adjusted(name, from))
            .or_else(|| dates::adjusted(name, from))
            .or_else(|| encodings::adjusted(name, from))
    };
    ours.extend(all.iter().filter(|(name, from)| *name == from.name()).filter_map(adjusted));
    ours.into_iter().map(|function| (function.name().to_string(), Arc::new(function))).collect()
}

/// The functions that are not DataFusion's.
fn own() -> Vec<ScalarUDF> {
    let mut functions = json_functions::functions();
    functions.extend(clock::functions());
    functions.extend(json_path::functions());
    functions
}
