//! From SQL text to a checked plan: statements with their places, definitions, and one logical plan for each view and
//! INSERT. The layers above know connectors and UDFs.

pub mod agent;
pub mod arguments;
pub mod catalogue;
mod chains;
pub mod check;
mod clashes;
pub mod constants;
pub mod definition;
pub mod dialect;
pub mod errors;
mod expand;
pub mod functions;
mod guard;
pub(crate) mod json;
pub mod option_reader;
pub mod options;
pub mod outline;
pub mod plan;
pub mod render;
pub mod resolve;
pub mod statement;
pub mod table;
pub mod types;
pub mod udfs;
pub mod volatile;

pub use expand::names_of;

use datafusion::sql::sqlparser::ast::Ident;

/// A name as SQL compares it: lower case unless quoted.
#[must_use]
pub fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// A name as `CREATE TABLE` and `STRUCT<…>` keep it: with its capitals, quoted or not (Arroyo's rule). A query must
/// quote such a column, because [`name_of`] applies there.
#[must_use]
pub fn name_as_written(ident: &Ident) -> String {
    ident.value.clone()
}

/// A name as a query must write it: in quotes unless [`name_of`] returns it unchanged.
#[must_use]
pub fn as_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
