//! What several test binaries share.

pub mod broker;
pub mod running;
