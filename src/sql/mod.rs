//! From SQL text to a checked plan: statements with their places, definitions, and one logical plan for each INSERT.

pub mod functions;
pub mod table;
