//! Regular expressions whose results differ in Arroyo's DataFusion 48.
//!
//! - In the replacement of `regexp_replace` each backslash names a group by the digits after it. Without digits it is
//!   removed.
//! - `regexp_like` of NULL is NULL for every pattern. The embedded version turns it into an operator, and some
//!   operators into `IS NOT NULL`.
//! - `~*` and `!~*` do not ignore case if the pattern is a text, or a choice of texts, from start to end (`^foo$`,
//!   `^(foo|bar)$`). `!~ '.*'` tests whether the text is empty.
//! - `regexp_count` finds nothing in NULL; a NULL start or NULL flags count as not given.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::compute::kernels::comparison::regexp_is_match;
use datafusion::arrow::compute::{cast, not};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    Column, DFSchema, Result, ScalarValue, exec_datafusion_err, exec_err, plan_datafusion_err, plan_err,
};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    binary_expr, lit,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use regex::Regex;

use super::own::{Adjusted, over_columns};

const TEXT: DataType = DataType::Utf8;

/// The adjusted version of a DataFusion function, by name.
pub(super) fn adjusted(name: &str, from: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
    Some(match name {
        "regexp_count" => Adjusted::function(from, regexp_count),
        "regexp_like" => ScalarUDF::new_from_impl(RegexpLike(Arc::clone(from))),
        "regexp_replace" => Adjusted::function(from, regexp_replace),
        _ => return None,
    })
}

fn compiled(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| plan_datafusion_err!("{error}"))
}

static GROUP: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\\(\d*)").ok());

/// The replacement in the syntax of the regex crate, where `${1}` is a group and `${}` is empty.
fn with_groups(replacement: &str) -> Cow<'_, str> {
    let Some(group) = &*GROUP else { return Cow::Borrowed(replacement) };
    let replaced = group.replace_all(replacement, "$${$1}");
    // DataFusion has an optimisation for `${1}` that is wrong for patterns such as `^a|b(c).*$`. The zero avoids it.
    if replaced == "${1}" { Cow::Borrowed("${01}") } else { replaced }
}

fn regexp_replace(from: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    if let Some(replacement) = args.args.get_mut(2) {
        let data_type = replacement.data_type();
        *replacement = over_columns(std::slice::from_ref(replacement), |columns| {
            let texts = cast(&columns[0], &TEXT)?;
            let texts: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(with_groups)).collect();
            Ok(cast(&texts, &data_type)?)
        })?;
    }
    from.invoke_with_args(args)
}

/// Counts from `start`, or from the beginning if that is NULL.
#[allow(clippy::needless_pass_by_value, reason = "the type of every function here")]
fn regexp_count(_: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    over_columns(&args.args, |columns| {
        let text = |at: usize| columns.get(at).map(|column| cast(column, &TEXT)).transpose();
        let (Some(texts), Some(patterns), flags) = (text(0)?, text(1)?, text(3)?) else {
            return exec_err!("regexp_count takes a text and a pattern");
        };
        let starts = columns.get(2).map(|starts| cast(starts, &DataType::Int64)).transpose()?;
        let mut known: HashMap<String, Regex> = HashMap::new();
        let mut one = |row: usize| {
            let Some(pattern) = filled(&patterns, row) else { return Ok(0) };
            let pattern = match flags.as_ref().and_then(|flags| filled(flags, row)) {
                Some(flags) if flags.contains('g') => {
                    return exec_err!("regexp_count has no flag 'g': it counts all matches");
                }
                Some(flags) => format!("(?{flags}){pattern}"),
                None => pattern.to_string(),
            };
            let pattern = match known.entry(pattern) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let pattern = compiled(new.key())?;
                    new.insert(pattern)
                }
            };
            let Some(text) = filled(&texts, row) else { return Ok(0) };
            let start = starts.as_ref().filter(|starts| starts.is_valid(row));
            let skipped = match start.map(|starts| starts.as_primitive::<Int64Type>().value(row)) {
                None => 0,
                Some(start @ 1..) => usize::try_from(start - 1).unwrap_or(usize::MAX),
                Some(start) => return exec_err!("regexp_count starts at character 1 or later, not at {start}"),
            };
            let rest = text.char_indices().nth(skipped).map_or("", |(at, _)| &text[at..]);
            i64::try_from(pattern.find_iter(rest).count()).map_err(|_| exec_datafusion_err!("too many matches"))
        };
        Ok(Arc::new((0..texts.len()).map(&mut one).collect::<Result<Int64Array>>()?))
    })
}

/// A text that is neither NULL nor empty.
fn filled(texts: &ArrayRef, row: usize) -> Option<&str> {
    let texts: &StringArray = texts.as_string();
    texts.is_valid(row).then(|| texts.value(row)).filter(|text| !text.is_empty())
}

/// DataFusion's function, kept as a function instead of an operator.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RegexpLike(Arc<ScalarUDF>);

impl ScalarUDFImpl for RegexpLike {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    /// A wrong pattern is rejected before a row is read.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let Some(Expr::Literal(pattern, _)) = args.get(1)
            && let Some(Some(pattern)) = pattern.try_as_str()
        {
            compiled(pattern)?;
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.0.invoke_with_args(args)
    }
}

/// The function with the meaning that a regular-expression operator has on Arroyo.
///
/// It exists while a plan is made. The final form depends on the pattern, which is known after constants are folded. If
/// the pattern varies by row, the function stays.
pub(super) fn operator(op: Operator) -> Option<ScalarUDF> {
    let (negated, ignores_case) = match op {
        Operator::RegexMatch => (false, false),
        Operator::RegexIMatch => (false, true),
        Operator::RegexNotMatch => (true, false),
        Operator::RegexNotIMatch => (true, true),
        _ => return None,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(ScalarUDF::new_from_impl(RegexOperator { op, negated, ignores_case, stays: false, signature }))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RegexOperator {
    op: Operator,
    negated: bool,
    ignores_case: bool,
    /// Do not turn it into an operator: its text may later become a column.
    stays: bool,
    signature: Signature,
}

impl RegexOperator {
    /// The pattern as a comparison, if it is one.
    fn comparison(&self, text: &Expr, pattern: &ScalarValue) -> Result<Option<Expr>> {
        let data_type = pattern.data_type();
        if pattern.try_as_str() == Some(Some(".*")) {
            let (text, empty) = (text.clone(), ScalarValue::from("").cast_to(&data_type)?);
            return Ok(Some(if self.negated { text.eq(lit(empty)) } else { text.is_not_null() }));
        }
        if !self.ignores_case {
            return Ok(None);
        }
        // DataFusion 48 compares case-sensitively where this version ignores case, so the other operator is used here.
        let placeholder = Column::new_unqualified("text");
        let field = Field::new(&placeholder.name, data_type, true);
        let schema = DFSchema::from_unqualified_fields(vec![field].into(), HashMap::new())?;
        let info = SimplifyContext::builder().with_schema(Arc::new(schema)).build();
        let op = if self.negated { Operator::RegexNotMatch } else { Operator::RegexMatch };
        let by_case = binary_expr(Expr::Column(placeholder.clone()), op, lit(pattern.clone()));
        let comparison = ExprSimplifier::new(info).simplify(by_case)?;
        if comparison.exists(|part| Ok(matches!(part, Expr::BinaryExpr(binary) if binary.op == op)))? {
            return Ok(None);
        }
        let comparison = comparison.transform_up(|part| {
            Ok(match part {
                Expr::Column(column) if column == placeholder => Transformed::yes(text.clone()),
                Expr::Like(like) => Transformed::yes(Expr::Like(Like { case_insensitive: true, ..like })),
                part => Transformed::no(part),
            })
        })?;
        Ok(Some(comparison.data))
    }
}

/// Whether Arroyo stores a text as a view, as it does with the result of `substr`. There, patterns over such texts do
/// not become comparisons.
pub(super) fn is_view(text: &Expr) -> bool {
    match text {
        Expr::Alias(alias) => is_view(&alias.expr),
        Expr::Cast(cast) => *cast.field.data_type() == DataType::Utf8View,
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => is_view(left) || is_view(right),
        Expr::Case(case) => {
            case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr).any(|result| is_view(result))
        }
        Expr::ScalarFunction(call) => match call.func.name() {
            "substr" => true,
            "btrim" | "initcap" | "ltrim" | "nullif" | "regexp_replace" | "rtrim" => {
                call.args.first().is_some_and(is_view)
            }
            "coalesce" | "concat" | "greatest" | "least" | "nvl" | "nvl2" => call.args.iter().any(is_view),
            _ => false,
        },
        _ => false,
    }
}

impl ScalarUDFImpl for RegexOperator {
    fn name(&self) -> &'static str {
        "regex_operator"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [text, pattern] = types else { return plan_err!("{} takes a text and a pattern", self.op) };
        let (text, pattern) = BinaryTypeCoercer::new(text, &self.op, pattern).get_input_types()?;
        Ok(vec![text, pattern])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if !self.stays && args.first().is_some_and(is_view) {
            let staying = ScalarUDF::new_from_impl(Self { stays: true, ..self.clone() });
            return Ok(ExprSimplifyResult::Simplified(staying.call(args)));
        }
        let [text, Expr::Literal(pattern, _)] = args.as_slice() else { return Ok(ExprSimplifyResult::Original(args)) };
        if self.stays {
            return Ok(ExprSimplifyResult::Original(args));
        }
        if !pattern.is_null()
            && let Some(comparison) = self.comparison(text, pattern)?
        {
            return Ok(ExprSimplifyResult::Simplified(comparison));
        }
        let (pattern, text) = (args.remove(1), args.remove(0));
        Ok(ExprSimplifyResult::Simplified(binary_expr(text, self.op, pattern)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let [texts, patterns] = columns else { return exec_err!("{} takes a text and a pattern", self.op) };
            let (texts, patterns) = (cast(texts, &TEXT)?, cast(patterns, &TEXT)?);
            let flags = self.ignores_case.then(|| StringArray::from(vec!["i"; texts.len()]));
            let matches = regexp_is_match(texts.as_string::<i32>(), patterns.as_string::<i32>(), flags.as_ref())?;
            Ok(Arc::new(if self.negated { not(&matches)? } else { matches }))
        })
    }
}
