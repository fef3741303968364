//! A UDF as the planner knows it, before it is compiled: its name, arguments and result.
//!
//! A sync UDF runs the library that is put into its slot later. The engine takes an async UDF out of the plan and calls
//! it itself.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature as PlanSignature, Volatility,
};

use super::host::{LoadedSlot, LoadedUdf};
use super::source::UdfSource;
use crate::sql::types::to_sql;

/// A UDF in a plan.
#[derive(Debug)]
pub struct HostedUdf {
    source: Arc<UdfSource>,
    slot: Arc<LoadedSlot>,
    signature: PlanSignature,
}

impl PartialEq for HostedUdf {
    fn eq(&self, other: &Self) -> bool {
        self.source.name == other.source.name && Arc::ptr_eq(&self.slot, &other.slot)
    }
}

impl Eq for HostedUdf {}

impl Hash for HostedUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.name.hash(state);
    }
}

/// The planner's function for a UDF. `slot` gets the library once it is compiled.
#[must_use]
pub fn scalar_udf(source: &UdfSource, slot: Arc<LoadedSlot>) -> ScalarUDF {
    // A UDF may read a clock or call a model, so its value is never precomputed or shared between two calls.
    let signature = PlanSignature::user_defined(Volatility::Volatile);
    ScalarUDF::new_from_impl(HostedUdf { source: Arc::new(source.clone()), slot, signature })
}

/// The UDF of a function in a plan, if it is one of ours.
#[must_use]
pub fn hosted(function: &ScalarUDF) -> Option<&HostedUdf> {
    function.inner().downcast_ref()
}

impl HostedUdf {
    /// The declaration in its source file.
    #[must_use]
    pub fn source(&self) -> &Arc<UdfSource> {
        &self.source
    }

    /// The slot of its library.
    #[must_use]
    pub fn slot(&self) -> &Arc<LoadedSlot> {
        &self.slot
    }
}

impl ScalarUDFImpl for HostedUdf {
    fn name(&self) -> &str {
        &self.source.name
    }

    fn signature(&self) -> &PlanSignature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.source.signature.returns.data_type.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let (name, args) = (&self.source.name, &self.source.signature.args);
        if given.len() != args.len() {
            let plural = if args.len() == 1 { "argument" } else { "arguments" };
            return plan_err!("`{name}` takes {} {plural}, {} given", args.len(), given.len());
        }
        for (i, (given, arg)) in given.iter().zip(args).enumerate() {
            if !fits(given, &arg.data_type) {
                let (is, takes) = (to_sql(given), to_sql(&arg.data_type));
                return plan_err!("argument {} of `{name}` is {is}, it takes {takes}", i + 1);
            }
        }
        Ok(args.iter().map(|a| a.data_type.clone()).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        match self.slot.get() {
            Some(LoadedUdf::Sync(udf)) => {
                let columns = args.args.into_iter().map(|a| a.into_array(rows)).collect::<Result<Vec<_>>>()?;
                Ok(ColumnarValue::Array(udf.call(&columns, rows)?))
            }
            Some(LoadedUdf::Async(_)) => internal_err!("the async UDF `{}` was left in a plan", self.source.name),
            None => internal_err!("the UDF `{}` was called before it was loaded", self.source.name),
        }
    }
}

/// Whether a value is cast implicitly: only if nothing can be lost and no row can fail, as in Arroyo.
fn fits(given: &DataType, takes: &DataType) -> bool {
    use DataType as T;
    if let T::Dictionary(_, value) = given {
        return fits(value, takes);
    }
    let is_decimal = matches!(given, T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..));
    match takes {
        _ if *given == T::Null || given == takes => true,
        T::Utf8 => given.is_string(),
        T::Binary => matches!(given, T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_)),
        T::Float64 => given.is_integer() || given.is_floating() || is_decimal,
        T::Float32 => given.is_integer() || *given == T::Float16 || is_decimal,
        T::Int64 => matches!(given, T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 | T::UInt32),
        T::Int32 => matches!(given, T::Int8 | T::Int16 | T::UInt8 | T::UInt16),
        T::Int16 => matches!(given, T::Int8 | T::UInt8),
        T::UInt64 => matches!(given, T::UInt8 | T::UInt16 | T::UInt32),
        T::UInt32 => matches!(given, T::UInt8 | T::UInt16),
        T::UInt16 => *given == T::UInt8,
        _ => false,
    }
}
