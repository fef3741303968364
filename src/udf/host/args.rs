//! Casts arguments to the exact types that a UDF declares, once for each batch.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryArray, PrimitiveArray, StringArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::error::ArrowError;

use crate::udf::source::Signature;

/// The arguments of a batch of calls.
#[derive(Debug, Clone)]
pub struct CallArgs {
    columns: Arc<[ArrayRef]>,
    rows: usize,
}

impl CallArgs {
    /// Arguments for an async UDF. As in Arroyo, a NULL argument that is not an `Option` becomes zero or an empty text.
    pub(super) fn for_async(signature: &Signature, args: &[ArrayRef], rows: usize) -> Result<Self, ArrowError> {
        let columns = declared(signature, args)?;
        let columns = columns
            .into_iter()
            .zip(&signature.args)
            .map(|(column, ty)| if ty.nullable { column } else { without_nulls(&column) })
            .collect::<Vec<_>>();
        Ok(Self { columns: columns.into(), rows })
    }

    /// The number of calls.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The arguments of one call, sharing the batch's memory.
    pub(super) fn row(&self, row: usize) -> Vec<ArrayData> {
        self.columns.iter().map(|c| c.slice(row, 1).into_data()).collect()
    }
}

/// Casts each argument to its declared type. A UDF would panic on another type, such as `DataFusion`'s own text type,
/// where nothing catches it.
pub(super) fn declared(signature: &Signature, args: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
    if args.len() != signature.args.len() {
        let (given, wanted) = (args.len(), signature.args.len());
        return Err(ArrowError::InvalidArgumentError(format!("{given} arguments for a UDF that takes {wanted}")));
    }
    args.iter()
        .zip(&signature.args)
        .map(|(column, ty)| match column.data_type() {
            same if *same == ty.data_type => Ok(Arc::clone(column)),
            DataType::Null => Ok(new_null_array(&ty.data_type, column.len())),
            _ => cast(column, &ty.data_type),
        })
        .collect()
}

/// Replaces each NULL by zero or an empty text. The memory under a NULL may contain anything.
fn without_nulls(column: &ArrayRef) -> ArrayRef {
    fn numbers<T: ArrowPrimitiveType>(column: &ArrayRef) -> ArrayRef {
        Arc::new(column.as_primitive::<T>().iter().map(|v| Some(v.unwrap_or_default())).collect::<PrimitiveArray<T>>())
    }
    if column.null_count() == 0 {
        return Arc::clone(column);
    }
    match column.data_type() {
        DataType::Utf8 => {
            Arc::new(column.as_string::<i32>().iter().map(|v| Some(v.unwrap_or_default())).collect::<StringArray>())
        }
        DataType::Binary => {
            Arc::new(column.as_binary::<i32>().iter().map(|v| Some(v.unwrap_or_default())).collect::<BinaryArray>())
        }
        DataType::Int8 => numbers::<Int8Type>(column),
        DataType::Int16 => numbers::<Int16Type>(column),
        DataType::Int32 => numbers::<Int32Type>(column),
        DataType::Int64 => numbers::<Int64Type>(column),
        DataType::UInt8 => numbers::<UInt8Type>(column),
        DataType::UInt16 => numbers::<UInt16Type>(column),
        DataType::UInt32 => numbers::<UInt32Type>(column),
        DataType::UInt64 => numbers::<UInt64Type>(column),
        DataType::Float32 => numbers::<Float32Type>(column),
        DataType::Float64 => numbers::<Float64Type>(column),
        // `UdfType` has no other types.
        _ => Arc::clone(column),
    }
}
