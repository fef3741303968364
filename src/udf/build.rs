//! placeholder until the compile step
use super::source::UdfSource;
use std::path::PathBuf;
/// A UDF whose library is there.
#[derive(Debug, Clone)]
pub struct BuiltUdf {
    /// The source.
    pub source: UdfSource,
    /// The library.
    pub library: PathBuf,
}
