//! The types that UDFs take and return, in Rust, Arrow and SQL words.
//!
//! The list is what the code that `arroyo-udf-macros 0.2.0` generates really compiles for, which is less than what its
//! parser names; `tests/udf_host.rs` compiles and calls every type that is accepted here.

use datafusion::arrow::datatypes::DataType;
use syn::{GenericArgument, PathArguments, Type};

/// A type of an argument or a result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UdfType {
    /// The Arrow type that crosses the boundary.
    pub data_type: DataType,
    /// Whether it is an `Option` in Rust.
    pub nullable: bool,
}

/// Where a type stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// An argument.
    Argument,
    /// The result of a sync function.
    Result,
    /// The result of an async function, which knows fewer types.
    AsyncResult,
}

/// Why a type is refused; the caller knows its text and place.
#[derive(Debug)]
pub(super) struct WrongType {
    pub help: String,
}

/// What a Rust type is in Arrow, at its position.
pub(super) fn read(ty: &Type, position: Position) -> Result<UdfType, WrongType> {
    match option_of(ty) {
        Some(inner) if option_of(inner).is_some() => Err(wrong("one `Option` is enough: NULL is its `None`")),
        Some(inner) => Ok(UdfType { data_type: plain(inner, position, true)?, nullable: true }),
        None => Ok(UdfType { data_type: plain(ty, position, false)?, nullable: false }),
    }
}

fn plain(ty: &Type, position: Position, optional: bool) -> Result<DataType, WrongType> {
    let write =
        |name: &str| wrong(if optional { format!("write `Option<{name}>`") } else { format!("write `{name}`") });
    let argument = position == Position::Argument;
    match ty {
        Type::Path(path) => {
            if let Some(element) = vec_of(ty) {
                return match (simple_name(element).as_deref(), argument) {
                    (Some("u8"), true) => Err(write("&[u8]")),
                    (Some("u8"), false) => Ok(DataType::Binary),
                    (_, true) => {
                        Err(wrong("a `Vec` would make it an aggregate, which is not supported: take one value a call"))
                    }
                    (_, false) => Err(wrong("return several values as one JSON text: write `String`")),
                };
            }
            let name = simple_name(ty).unwrap_or_default();
            if let Some(data_type) = number(&name) {
                let narrow = matches!(name.as_str(), "i8" | "i16" | "u8" | "u16");
                return match (position, narrow) {
                    (Position::AsyncResult, true) => Err(write(if name.starts_with('i') { "i32" } else { "u32" })),
                    _ => Ok(data_type),
                };
            }
            let last = path.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
            Err(match (name.as_str(), last.as_str()) {
                ("String", _) if !argument => return Ok(DataType::Utf8),
                (_, "String") => write(if argument { "&str" } else { "String" }),
                ("bool", _) if argument => wrong("take an `i32`, and write `CAST(… AS INT)` in SQL"),
                ("bool", _) => wrong("return an `i32`, and compare it with 1 in SQL"),
                (_, "SystemTime" | "Duration") => wrong(if argument {
                    "take its text (`&str`) or a number (`i64`)"
                } else {
                    "return text (`String`) or a number (`i64`)"
                }),
                (_, "Result") => {
                    wrong(format!("return an `Option`, `None` for a failure, or one of {}", allowed(position)))
                }
                ("usize", _) => write("u64"),
                ("isize", _) => write("i64"),
                _ => wrong(expected(position)),
            })
        }
        Type::Reference(reference) => {
            let is_static = reference.lifetime.as_ref().is_some_and(|l| l.ident == "static");
            let name = match &*reference.elem {
                Type::Slice(slice) => simple_name(&slice.elem).map(|n| format!("[{n}]")),
                elem if vec_of(elem).is_some_and(|e| simple_name(e).as_deref() == Some("u8")) => Some("Vec<u8>".into()),
                elem => simple_name(elem),
            };
            let name = name.unwrap_or_default();
            let plain = reference.mutability.is_none() && !is_static;
            match (name.as_str(), argument) {
                ("str", true) if plain => Ok(DataType::Utf8),
                ("[u8]", true) if plain => Ok(DataType::Binary),
                ("str" | "String", true) => Err(write("&str")),
                ("str" | "String", false) => Err(write("String")),
                ("[u8]" | "Vec<u8>", true) => Err(write("&[u8]")),
                ("[u8]" | "Vec<u8>", false) => Err(write("Vec<u8>")),
                (number_name, _) if number(number_name).is_some() => Err(write(number_name)),
                _ => Err(wrong(expected(position))),
            }
        }
        _ => Err(wrong(expected(position))),
    }
}

fn number(name: &str) -> Option<DataType> {
    Some(match name {
        "i8" => DataType::Int8,
        "i16" => DataType::Int16,
        "i32" => DataType::Int32,
        "i64" => DataType::Int64,
        "u8" => DataType::UInt8,
        "u16" => DataType::UInt16,
        "u32" => DataType::UInt32,
        "u64" => DataType::UInt64,
        "f32" => DataType::Float32,
        "f64" => DataType::Float64,
        _ => return None,
    })
}

/// The types of a position, for a message.
fn allowed(position: Position) -> &'static str {
    match position {
        Position::Argument => "`i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `&str`, `&[u8]`",
        Position::Result => "`i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `String`, `Vec<u8>`",
        Position::AsyncResult => "`i32`, `i64`, `u32`, `u64`, `f32`, `f64`, `String`, `Vec<u8>`",
    }
}

fn expected(position: Position) -> String {
    let what = match position {
        Position::Argument => "an argument is",
        Position::Result => "a result is",
        Position::AsyncResult => "the result of an async function is",
    };
    format!("{what} one of {}, or an `Option` of one of these", allowed(position))
}

fn wrong(help: impl Into<String>) -> WrongType {
    WrongType { help: help.into() }
}

/// `T` of `Option<T>`.
fn option_of(ty: &Type) -> Option<&Type> {
    generic_of(ty, "Option")
}

/// `T` of `Vec<T>`.
fn vec_of(ty: &Type) -> Option<&Type> {
    generic_of(ty, "Vec")
}

fn generic_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match (last.ident == name, arguments.args.first()) {
        (true, Some(GenericArgument::Type(inner))) => Some(inner),
        _ => None,
    }
}

/// The name of a type that is one plain word: the macro knows types by how they are written.
fn simple_name(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    path.path.get_ident().filter(|_| path.qself.is_none()).map(ToString::to_string)
}
