//! Calls of a sync UDF: a whole batch at once, or row by row if a row of it panics.
//!
//! A call that never returns blocks its thread. Nothing in the same process can stop it.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, new_empty_array, new_null_array};
use datafusion::arrow::compute::concat;
use datafusion::arrow::error::ArrowError;

use super::abi::SyncLibrary;
use super::args::declared;
use super::{RowError, RowErrors};
use crate::udf::source::UdfSource;

/// A sync UDF.
pub struct SyncUdf {
    source: Arc<UdfSource>,
    library: SyncLibrary,
    errors: RowErrors,
}

impl fmt::Debug for SyncUdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncUdf({})", self.source.name)
    }
}

impl SyncUdf {
    pub(super) fn new(source: Arc<UdfSource>, library: SyncLibrary, errors: RowErrors) -> Self {
        Self { source, library, errors }
    }

    /// Calls it on every row. All of `args` have `rows` rows.
    ///
    /// A NULL for an argument that is not an `Option` gives NULL without a call. If the UDF panics, each row of the
    /// batch is called once more by itself. Rows that panic again become NULL and are reported.
    ///
    /// # Errors
    /// An argument cannot be cast to its declared type.
    pub fn call(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef, ArrowError> {
        let returns = &self.source.signature.returns.data_type;
        let args = declared(&self.source.signature, args)?;
        if rows == 0 {
            return Ok(new_empty_array(returns));
        }
        if let Some(result) = self.run(&args, rows)? {
            return Ok(result);
        }
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            let one: Vec<ArrayRef> = args.iter().map(|a| a.slice(row, 1)).collect();
            let result = self.run(&one, 1)?.unwrap_or_else(|| {
                let udf = self.source.name.as_str().into();
                (self.errors)(&RowError { udf, message: "panicked on this row".into() });
                new_null_array(returns, 1)
            });
            results.push(result);
        }
        concat(&results.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    fn run(&self, args: &[ArrayRef], rows: usize) -> Result<Option<ArrayRef>, ArrowError> {
        let args: Vec<_> = args.iter().map(Array::to_data).collect();
        let Some(result) = self.library.run(args)? else { return Ok(None) };
        if result.len() != rows || *result.data_type() != self.source.signature.returns.data_type {
            let name = &self.source.name;
            return Err(ArrowError::CDataInterface(format!("`{name}` was compiled from a different source")));
        }
        Ok(Some(result))
    }
}
