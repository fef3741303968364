//! Arithmetic functions whose types or edge cases differ in Arroyo's DataFusion 48.
//!
//! There all of them use floating point, except `power` and `factorial` of whole numbers: `round(7)` is `7.0`, and a
//! DECIMAL becomes DOUBLE. `atan2`, `log`, `nanvl` and `trunc` with digits use FLOAT unless an argument is DOUBLE. The
//! root of a negative number is NaN, which JSON writes as null.

use std::sync::Arc;

use datafusion::arrow::array::types::{Float32Type, Float64Type, Int64Type};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use datafusion::arrow::compute::{binary, unary};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::TypeSignature::{self, Exact};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::own::{Own, as_first, over_columns};

const FLOAT: DataType = DataType::Float32;
const DOUBLE: DataType = DataType::Float64;
const BIGINT: DataType = DataType::Int64;

pub(super) fn functions() -> Vec<ScalarUDF> {
    let one = || vec![TypeSignature::Uniform(1, vec![DOUBLE, FLOAT])];
    let two = || vec![Exact(vec![FLOAT, FLOAT]), Exact(vec![DOUBLE, DOUBLE])];
    let log = vec![Exact(vec![FLOAT]), Exact(vec![DOUBLE]), Exact(vec![FLOAT, FLOAT]), Exact(vec![DOUBLE, DOUBLE])];
    let round = vec![Exact(vec![DOUBLE, BIGINT]), Exact(vec![FLOAT, BIGINT]), Exact(vec![DOUBLE]), Exact(vec![FLOAT])];
    let trunc = vec![Exact(vec![FLOAT, BIGINT]), Exact(vec![DOUBLE, BIGINT]), Exact(vec![DOUBLE]), Exact(vec![FLOAT])];
    vec![
        Own::function("atan2", two(), as_first, |a| of_two(a, f32::atan2, f64::atan2)),
        Own::function("ceil", one(), as_first, |a| of_one(a, f32::ceil, f64::ceil)),
        Own::function("factorial", vec![Exact(vec![BIGINT])], as_first, factorial),
        Own::function("floor", one(), as_first, |a| of_one(a, f32::floor, f64::floor)),
        Own::function("log", log, as_first, |a| match a {
            [_] => of_one(a, |x| x.log(10.0), |x| x.log(10.0)),
            _ => of_two(a, |base, x| x.log(base), |base, x| x.log(base)),
        }),
        Own::function("nanvl", two(), as_first, |a| {
            of_two(a, |x, y| if x.is_nan() { y } else { x }, |x, y| if x.is_nan() { y } else { x })
        }),
        ScalarUDF::new_from_impl(Power(Signature::one_of(
            vec![Exact(vec![BIGINT, BIGINT]), Exact(vec![DOUBLE, DOUBLE])],
            Volatility::Immutable,
        ))),
        Own::function("round", round, as_first, |a| with_digits(a, f32::round, f64::round)),
        Own::function("sqrt", one(), as_first, |a| of_one(a, f32::sqrt, f64::sqrt)),
        // With digits it rounds. Without digits, only values between -1 and 0 give a negative zero.
        Own::function("trunc", trunc, as_first, |a| match a {
            [_] => of_one(a, |x| if x == 0.0 { 0.0 } else { x.trunc() }, |x| if x == 0.0 { 0.0 } else { x.trunc() }),
            _ => with_digits(a, f32::round, f64::round),
        }),
    ]
}

fn of_one(args: &[ArrayRef], float: fn(f32) -> f32, double: fn(f64) -> f64) -> Result<ArrayRef> {
    let x = &args[0];
    Ok(match x.data_type() {
        DataType::Float32 => Arc::new(unary::<_, _, Float32Type>(x.as_primitive::<Float32Type>(), float)),
        DataType::Float64 => Arc::new(unary::<_, _, Float64Type>(x.as_primitive::<Float64Type>(), double)),
        other => return exec_err!("{other} is not a numeric type"),
    })
}

fn of_two(args: &[ArrayRef], float: fn(f32, f32) -> f32, double: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (x, y) = (&args[0], &args[1]);
    Ok(match x.data_type() {
        DataType::Float32 => {
            let numbers: PrimitiveArray<Float32Type> =
                binary(x.as_primitive::<Float32Type>(), y.as_primitive::<Float32Type>(), float)?;
            Arc::new(numbers)
        }
        DataType::Float64 => {
            let numbers: PrimitiveArray<Float64Type> =
                binary(x.as_primitive::<Float64Type>(), y.as_primitive::<Float64Type>(), double)?;
            Arc::new(numbers)
        }
        other => return exec_err!("{other} is not a numeric type"),
    })
}

/// Applies a function to a number and its digits after the point (before it, if negative); 0 if not given.
fn with_digits(args: &[ArrayRef], float: fn(f32) -> f32, double: fn(f64) -> f64) -> Result<ArrayRef> {
    let x = &args[0];
    let digits = match args.get(1) {
        Some(digits) => digits.as_primitive::<Int64Type>().clone(),
        None => Int64Array::from_value(0, x.len()),
    };
    let digits = digits.try_unary::<_, datafusion::arrow::array::types::Int32Type, _>(|d| {
        i32::try_from(d).map_err(|_| exec_datafusion_err!("{d} is not a valid number of digits"))
    })?;
    Ok(match x.data_type() {
        DataType::Float32 => {
            let numbers: PrimitiveArray<Float32Type> =
                binary(x.as_primitive::<Float32Type>(), &digits, |x, d| float(x * 10_f32.powi(d)) / 10_f32.powi(d))?;
            Arc::new(numbers)
        }
        DataType::Float64 => {
            let numbers: PrimitiveArray<Float64Type> =
                binary(x.as_primitive::<Float64Type>(), &digits, |x, d| double(x * 10_f64.powi(d)) / 10_f64.powi(d))?;
            Arc::new(numbers)
        }
        other => return exec_err!("{other} is not a numeric type"),
    })
}

/// For numbers below 2, including negative ones, it is 1.
fn factorial(args: &[ArrayRef]) -> Result<ArrayRef> {
    let one = |n: i64| {
        (2..=n).try_fold(1_i64, i64::checked_mul).ok_or_else(|| exec_datafusion_err!("overflow in factorial({n})"))
    };
    Ok(Arc::new(args[0].as_primitive::<Int64Type>().try_unary::<_, Int64Type, _>(one)?))
}

/// `power`, which returns a whole number for whole numbers and then rejects a negative exponent.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Power(Signature);

impl ScalarUDFImpl for Power {
    fn name(&self) -> &'static str {
        "power"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        as_first(types)
    }

    /// `power(x, 0)` is 1 and `power(x, 1)` is `x`, also for NULL.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [base, Expr::Literal(exponent, _)] = args.as_slice() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let (zero, one) = (ScalarValue::new_zero(&exponent.data_type()), ScalarValue::new_one(&exponent.data_type()));
        if zero.is_ok_and(|zero| zero == *exponent) {
            let one = ScalarValue::new_one(&info.get_data_type(base)?)?;
            return Ok(ExprSimplifyResult::Simplified(Expr::Literal(one, None)));
        }
        if one.is_ok_and(|one| one == *exponent) {
            return Ok(ExprSimplifyResult::Simplified(base.clone()));
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, power)
    }
}

fn power(args: &[ArrayRef]) -> Result<ArrayRef> {
    if args[0].data_type() != &BIGINT {
        return of_two(args, f32::powf, f64::powf);
    }
    let whole = |base: i64, exponent: i64| {
        let Ok(times) = u32::try_from(exponent) else {
            return exec_err!("power of whole numbers does not take a negative exponent ({exponent}): write {base}.0");
        };
        base.checked_pow(times).ok_or_else(|| exec_datafusion_err!("overflow in power({base}, {exponent})"))
    };
    let (bases, exponents) = (args[0].as_primitive::<Int64Type>(), args[1].as_primitive::<Int64Type>());
    let powers = bases.iter().zip(exponents).map(|(base, exponent)| match (base, exponent) {
        (Some(base), Some(exponent)) => whole(base, exponent).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(powers.collect::<Result<Int64Array>>()?))
}
