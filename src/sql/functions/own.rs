//! The two kinds of functions that differ from DataFusion's: our own, and those that do something before or after
//! DataFusion's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

/// A function of our own over columns.
#[derive(Debug, Clone)]
pub(super) struct Own {
    name: &'static str,
    signature: Signature,
    returns: fn(&[DataType]) -> Result<DataType>,
    compute: fn(&[ArrayRef]) -> Result<ArrayRef>,
}

/// Returns the type of its first argument.
#[allow(clippy::unnecessary_wraps, reason = "the shape of `Own`")]
pub(super) fn as_first(types: &[DataType]) -> Result<DataType> {
    Ok(types.first().cloned().unwrap_or(DataType::Null))
}

impl Own {
    /// `compute` gets the arguments as in [`over_columns`].
    pub(super) fn function(
        name: &'static str,
        takes: Vec<TypeSignature>,
        returns: fn(&[DataType]) -> Result<DataType>,
        compute: fn(&[ArrayRef]) -> Result<ArrayRef>,
    ) -> ScalarUDF {
        let signature = Signature::one_of(takes, Volatility::Immutable);
        ScalarUDF::new_from_impl(Self { name, signature, returns, compute })
    }
}

// The name identifies the function: comparing function pointers is unreliable.
impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Own {}

impl Hash for Own {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Own {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.returns)(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, self.compute)
    }
}

/// Calls `compute` with the arguments as columns of one length. The length is 1 if all are constant.
pub(super) fn over_columns(
    args: &[ColumnarValue],
    compute: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let computed = compute(&ColumnarValue::values_to_arrays(args)?)?;
    Ok(if constant {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&computed, 0)?)
    } else {
        ColumnarValue::Array(computed)
    })
}

/// A DataFusion function with something done before or after it.
#[derive(Debug, Clone)]
pub(super) struct Adjusted {
    from: Arc<ScalarUDF>,
    call: fn(&ScalarUDF, ScalarFunctionArgs) -> Result<ColumnarValue>,
}

impl Adjusted {
    /// `call` runs instead of `from`'s own implementation.
    pub(super) fn function(
        from: &Arc<ScalarUDF>,
        call: fn(&ScalarUDF, ScalarFunctionArgs) -> Result<ColumnarValue>,
    ) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { from: Arc::clone(from), call })
    }
}

impl PartialEq for Adjusted {
    fn eq(&self, other: &Self) -> bool {
        self.from == other.from
    }
}

impl Eq for Adjusted {}

impl Hash for Adjusted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.from.hash(state);
    }
}

impl ScalarUDFImpl for Adjusted {
    fn name(&self) -> &str {
        self.from.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.from.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.from.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.from.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.from.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.from.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        // A simplification of DataFusion's function does not apply to this one.
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.call)(&self.from, args)
    }
}
