//! Baton: an event-driven orchestrator for multi-agent systems, written as SQL.
//!
//! ARCHITECTURE.md has the map and the invariants. Layers, low to high (an import goes down only): `diag`, `config`,
//! `delivery` → `sql` → `connectors`, `formats`, `udf` → `engine` → `cli`.

pub mod cli;
pub mod config;
pub mod connectors;
pub mod delivery;
pub mod diag;
pub mod engine;
pub mod formats;
pub mod sql;
pub mod udf;
