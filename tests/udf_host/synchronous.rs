//! Sync UDFs: every type there and back, NULLs, panics.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    StringArray, StringViewArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Int64Type};

use super::fixtures::sync;

/// `(required, optional, expected)` columns for the fixtures that take `(T, Option<T>)`: they answer with `optional`,
/// with `required` where that is zero, and with NULL where either is.
pub fn typed() -> Vec<(&'static str, ArrayRef, ArrayRef, ArrayRef)> {
    macro_rules! numbers {
        ($name:literal, $array:ident, $min:expr, $max:expr, $zero:expr, $one:expr) => {
            (
                $name,
                Arc::new($array::from(vec![Some($one), Some($one), Some($max), Some($min), None])) as ArrayRef,
                Arc::new($array::from(vec![Some($max), None, Some($zero), Some($min), Some($one)])) as ArrayRef,
                Arc::new($array::from(vec![Some($max), None, Some($max), Some($min), None])) as ArrayRef,
            )
        };
    }
    let text = |values: [Option<&str>; 6]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let bytes = |values: [Option<&[u8]>; 6]| Arc::new(BinaryArray::from_opt_vec(values.to_vec())) as ArrayRef;
    let large = "ü".repeat(1 << 19);
    let binary = large.repeat(2).into_bytes();
    vec![
        numbers!("i8", Int8Array, i8::MIN, i8::MAX, 0, 1),
        numbers!("i16", Int16Array, i16::MIN, i16::MAX, 0, 1),
        numbers!("i32", Int32Array, i32::MIN, i32::MAX, 0, 1),
        numbers!("i64", Int64Array, i64::MIN, i64::MAX, 0, 1),
        numbers!("u8", UInt8Array, u8::MIN, u8::MAX, 0, 1),
        numbers!("u16", UInt16Array, 7, u16::MAX, 0, 1),
        numbers!("u32", UInt32Array, 7, u32::MAX, 0, 1),
        numbers!("u64", UInt64Array, 7, u64::MAX, 0, 1),
        numbers!("f32", Float32Array, f32::NEG_INFINITY, f32::MAX, 0.0, 0.1),
        numbers!("f64", Float64Array, f64::NEG_INFINITY, f64::MIN_POSITIVE, 0.0, 0.1),
        (
            "text",
            text([Some("a"), Some("a"), Some("Zürich 🚃"), Some("x"), None, Some("")]),
            text([Some(""), None, Some("required"), Some(&large), Some("x"), Some("required")]),
            text([Some(""), None, Some("Zürich 🚃"), Some(&large), None, Some("")]),
        ),
        (
            "bytes",
            bytes([Some(b"a"), Some(b"a"), Some(b"\x00\xff\xfe"), Some(b"x"), None, Some(b"")]),
            bytes([Some(b""), None, Some(b"required"), Some(&binary), Some(b"x"), Some(b"required")]),
            bytes([Some(b""), None, Some(b"\x00\xff\xfe"), Some(&binary), None, Some(b"")]),
        ),
    ]
}

#[test]
fn every_type_goes_there_and_back() {
    for (name, required, optional, expected) in typed() {
        let (udf, errors) = sync(&format!("sync_{name}"));
        let rows = required.len();
        let result = udf.call(&[Arc::clone(&required), Arc::clone(&optional)], rows).unwrap();
        assert_eq!(&result, &expected, "{name}");
        // A part of a batch begins in the middle of its buffers.
        for start in 1..rows {
            let part =
                udf.call(&[required.slice(start, rows - start), optional.slice(start, rows - start)], rows - start);
            assert_eq!(&part.unwrap(), &expected.slice(start, rows - start), "{name} from {start}");
        }
        let none = udf.call(&[required.slice(0, 0), optional.slice(0, 0)], 0).unwrap();
        assert_eq!((none.len(), none.data_type()), (0, expected.data_type()), "{name}");
        assert!(errors.lock().unwrap().is_empty());
    }
}

/// The columns of `sync_describe` and `async_describe`, and their first row's answer.
pub fn described() -> (Vec<ArrayRef>, &'static str) {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![Some(-1), None])),
        Arc::new(Int16Array::from(vec![-2, 0])),
        Arc::new(Int32Array::from(vec![-3, 0])),
        Arc::new(Int64Array::from(vec![-4, 0])),
        Arc::new(UInt8Array::from(vec![5, 0])),
        Arc::new(UInt16Array::from(vec![6, 0])),
        Arc::new(UInt32Array::from(vec![7, 0])),
        Arc::new(UInt64Array::from(vec![8, 0])),
        Arc::new(Float32Array::from(vec![9.5, 0.0])),
        Arc::new(Float64Array::from(vec![-10.25, 0.0])),
        Arc::new(StringArray::from(vec!["eleven", ""])),
        Arc::new(BinaryArray::from(vec![b"\x0c".as_slice(), b""])),
        Arc::new(Int8Array::from(vec![None, Some(1)])),
        Arc::new(UInt16Array::from(vec![Some(14), None])),
    ];
    (columns, r#"-1 -2 -3 -4 5 6 7 8 9.5 -10.25 "eleven" [12] None Some(14)"#)
}

#[test]
fn results_that_are_no_option() {
    let (columns, first) = described();
    let result = sync("sync_describe").0.call(&columns, 2).unwrap();
    assert_eq!(result.as_string::<i32>().iter().collect::<Vec<_>>(), [Some(first), None]);

    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None, Some(-1)]));
    let call = |name: &str| sync(name).0.call(&[Arc::clone(&values)], 3).unwrap();
    assert_eq!(call("plain_i64").as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(6), None, Some(-2)]));
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![Some(3.0), None, Some(-1.0)]));
    assert_eq!(&call("plain_f32"), &floats);
    let bytes: ArrayRef =
        Arc::new(BinaryArray::from_opt_vec(vec![Some(&[3, 0, 0, 0]), None, Some(&[255, 255, 255, 255])]));
    assert_eq!(&call("plain_bytes"), &bytes);
}

#[test]
fn arguments_are_cast_to_the_declared_types() {
    let (udf, _) = sync("shout");
    let view: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a text that is longer than a view holds"), None]));
    let result = udf.call(&[view], 2).unwrap();
    let expected = [Some("A TEXT THAT IS LONGER THAN A VIEW HOLDS"), None];
    assert_eq!(result.as_string::<i32>().iter().collect::<Vec<_>>(), expected);
    let nulls = udf.call(&[new_null_array(&DataType::Null, 3)], 3).unwrap();
    assert_eq!(nulls.null_count(), 3);
    assert!(udf.call(&[], 1).is_err());
}

#[test]
fn one_row_that_panics_is_null_and_told_of() {
    let (udf, errors) = sync("die_on_13");
    let values: ArrayRef = Arc::new((0..100).collect::<Int64Array>());
    let result = udf.call(&[values], 100).unwrap();
    let expected: Int64Array = (0..100).map(|n| (n != 13).then_some(n * 2)).collect();
    assert_eq!(result.as_primitive::<Int64Type>(), &expected);
    let errors: Vec<String> = errors.lock().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["`die_on_13` panicked on this row"]);
}
