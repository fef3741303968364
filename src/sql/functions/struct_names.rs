//! A STRUCT is cast to another by position, as in Arroyo's arrow 55: the first field becomes the first, whatever their
//! names. The embedded version matches by name, so the fields are renamed before the cast.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::own::over_columns;

pub(super) const NAME: &str = "struct_names";

/// The type with the field names of `to`, or `None` if the number of fields differs. A list can only become another
/// list or text.
pub(super) fn named_as(from: &DataType, to: &DataType) -> Option<DataType> {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) if from.len() == to.len() => {
            let named = |(from, to): (&FieldRef, &FieldRef)| {
                let data_type = named_as(from.data_type(), to.data_type())?;
                Some(Arc::new(Field::new(to.name(), data_type, true).with_metadata(from.metadata().clone())))
            };
            Some(DataType::Struct(from.iter().zip(to).map(named).collect::<Option<Fields>>()?))
        }
        (DataType::List(from), DataType::List(to)) => {
            let item = named_as(from.data_type(), to.data_type())?;
            Some(DataType::List(Arc::new(from.as_ref().clone().with_data_type(item))))
        }
        (DataType::Struct(_), DataType::Struct(_)) => None,
        (DataType::List(_), to) => (to.is_list() || to.is_string()).then(|| from.clone()),
        _ => Some(from.clone()),
    }
}

/// A function that gives a value the field names that a CAST to `to` expects, if they differ.
pub(super) fn function(from: &DataType, to: &DataType) -> Option<ScalarUDF> {
    let renamed = named_as(from, to).filter(|renamed| has_struct(from) && renamed != from)?;
    Some(ScalarUDF::new_from_impl(StructNames { renamed, signature: Signature::any(1, Volatility::Immutable) }))
}

fn has_struct(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) => true,
        DataType::List(item) => has_struct(item.data_type()),
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct StructNames {
    renamed: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for StructNames {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.renamed.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(NAME, self.renamed.clone(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| rename(&columns[0], &self.renamed))
    }
}

fn rename(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match (values.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let values = values.as_struct();
            let columns = values.columns().iter().zip(fields).map(|(column, field)| rename(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls = values.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, values.len())?))
        }
        (DataType::List(_), DataType::List(item)) => {
            let Some(lists) = values.as_list_opt::<i32>() else { return exec_err!("a list is no list") };
            let items = rename(lists.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), lists.offsets().clone(), items, lists.nulls().cloned())?))
        }
        _ => Ok(Arc::clone(values)),
    }
}
