//! From SQL text to a checked plan: statements with their places, definitions, and one logical plan for each view and
//! INSERT. What connectors and UDFs mean is for the layers above.

pub mod catalogue;
mod chains;
pub mod check;
pub mod constants;
pub mod definition;
pub mod dialect;
pub mod errors;
pub mod functions;
mod guard;
pub(crate) mod json;
pub mod plan;
pub mod statement;
pub mod table;
pub mod types;
pub mod volatile;

use datafusion::sql::sqlparser::ast::Ident;

/// A name as SQL compares it: lower case unless quoted.
#[must_use]
pub fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}
