//! A UDF's source file in Arroyo's form: one `#[udf]` function, its types, its options, its dependencies comment.
//!
//! The compiler checks the Rust code itself (`build`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::ParseBuffer;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, GenericParam, Item, ItemFn, LitInt, LitStr, Meta, ReturnType};

use super::options::{AsyncOptions, duration};
use super::place::span_of;
use super::types::{self, Position, UdfType};
use super::{comments, dependencies};
use crate::diag::{Code, Diagnostic, SourceText, Span, display_path, nearest};

/// A UDF as its source file declares it.
#[derive(Debug, Clone)]
pub struct UdfSource {
    /// The function's name, which is its name in SQL.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub text: Arc<SourceText>,
    /// Where the name stands.
    pub name_span: Span,
    /// Its arguments and its result.
    pub signature: Signature,
    /// Sync, or async with its options.
    pub kind: UdfKind,
    /// The crates in its comment, as in a Cargo.toml.
    pub dependencies: toml::Table,
    /// Where the comment stands, from `[dependencies]` on.
    pub dependencies_span: Option<Span>,
}

/// The arguments and the result of a UDF.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signature {
    /// In order.
    pub args: Vec<UdfType>,
    /// The result.
    pub returns: UdfType,
}

/// How a UDF is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UdfKind {
    /// A plain function, called on whole batches.
    Sync,
    /// An `async fn`: many calls are in flight at once.
    Async(AsyncOptions),
}

impl UdfSource {
    /// The options, of an async UDF.
    #[must_use]
    pub fn async_options(&self) -> Option<AsyncOptions> {
        match self.kind {
            UdfKind::Sync => None,
            UdfKind::Async(options) => Some(options),
        }
    }
}

/// Reads every `*.rs` directly in a folder, in the order of their names.
///
/// # Errors
/// All errors in all files; [`Code::FILE`] if the folder or a file cannot be read.
pub fn discover(dir: &Path) -> Result<Vec<UdfSource>, Vec<Diagnostic>> {
    let unreadable = |error: &std::io::Error| {
        let shown = display_path(dir);
        vec![Diagnostic::new(Code::FILE, format!("cannot read the folder `{shown}`: {error}")).help("check the path")]
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| unreadable(&e))? {
        let path = entry.map_err(|e| unreadable(&e))?.path();
        if path.extension().is_some_and(|e| e == "rs") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut errors = Vec::new();
    let mut sources: Vec<UdfSource> = Vec::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    for path in paths {
        let source = SourceText::read(&path).map_err(|e| vec![e]).and_then(|text| parse(&path, &text));
        match source {
            Err(more) => errors.extend(more),
            // SQL treats unquoted `Score` and `score` as the same name, and so do some file systems.
            Ok(source) => {
                if let Some(&first) = names.get(&source.name.to_lowercase()) {
                    let first = &sources[first].name_span;
                    errors.push(
                        Diagnostic::new(Code::UDF_SOURCE, format!("`{}` is defined twice", source.name))
                            .at(source.name_span.clone())
                            .help(format!("rename one: the other is in {}", first.place())),
                    );
                } else {
                    names.insert(source.name.to_lowercase(), sources.len());
                    sources.push(source);
                }
            }
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

/// Reads one source file.
///
/// # Errors
/// All errors in it, at their places.
pub fn parse(path: &Path, text: &Arc<SourceText>) -> Result<UdfSource, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let dependencies = dependencies::read(text, &mut errors);
    let file = match syn::parse_file(&text.text) {
        Ok(file) => file,
        Err(error) => {
            errors.extend(error.into_iter().map(|e| {
                Diagnostic::new(Code::UDF_SOURCE, format!("this is not Rust: {}", plain_reason(&e)))
                    .at(span_of(text, e.span()))
                    .help("correct the syntax here")
            }));
            return Err(errors);
        }
    };
    let mut functions = Vec::new();
    for item in &file.items {
        match item {
            Item::Fn(function) => {
                if let Some(attribute) = function.attrs.iter().find(|a| is_udf(a)) {
                    functions.push((function, attribute));
                }
            }
            Item::Mod(module) if module.content.is_none() => errors.push(
                Diagnostic::new(Code::UDF_SOURCE, format!("a UDF is one file, `{}` would be another", module.ident))
                    .at(span_of(text, module.span()))
                    .help(format!("put its text here: `mod {} {{ … }}`, or make it a `path` dependency", module.ident)),
            ),
            _ => {}
        }
    }
    if let Some((function, _)) = functions.get(1) {
        errors.push(
            Diagnostic::new(Code::UDF_SOURCE, "a UDF's file has one `#[udf]` function, this is the second")
                .at(span_of(text, function.sig.ident.span()))
                .help("move it to a file of its own"),
        );
    }
    let Some((function, attribute)) = functions.first() else {
        errors.push(
            Diagnostic::new(Code::UDF_SOURCE, "no function is marked `#[udf]`")
                .at(Span::new(text, 0..0))
                .help("write `use arroyo_udf_plugin::udf;`, and `#[udf]` above the function that SQL calls"),
        );
        return Err(errors);
    };
    let mut options = options(text, function, attribute, &mut errors);
    // It was parsed above, so it can be split into tokens.
    let tokens = text.text.parse().unwrap_or_default();
    if let Some(timeout) = comments::timeout(text, tokens, &mut errors) {
        options.timeout = timeout.value;
        if function.sig.asyncness.is_none() {
            errors.push(
                Diagnostic::new(Code::UDF_SOURCE, "a time-out is for async functions, this one is not")
                    .at(timeout.span)
                    .help("remove the comment, or make it an `async fn`"),
            );
        }
    }
    let signature = signature(text, function, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(UdfSource {
        name: function.sig.ident.unraw().to_string(),
        path: path.to_path_buf(),
        text: Arc::clone(text),
        name_span: span_of(text, function.sig.ident.span()),
        signature,
        kind: if function.sig.asyncness.is_some() { UdfKind::Async(options) } else { UdfKind::Sync },
        dependencies: dependencies.table,
        dependencies_span: dependencies.span,
    })
}

fn is_udf(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|s| s.ident == "udf")
}

fn options(
    text: &Arc<SourceText>,
    function: &ItemFn,
    attribute: &Attribute,
    errors: &mut Vec<Diagnostic>,
) -> AsyncOptions {
    let mut options = AsyncOptions::default();
    if matches!(attribute.meta, Meta::Path(_)) {
        return options;
    }
    let whole = span_of(text, attribute.span());
    if !attribute.path().is_ident("udf") {
        errors.push(
            Diagnostic::new(Code::UDF_SOURCE, "options are read from `#[udf(…)]` only, without a path before it")
                .at(whole)
                .help("write `use arroyo_udf_plugin::udf;` above, and `#[udf(…)]` here"),
        );
        return options;
    }
    if function.sig.asyncness.is_none() {
        errors.push(
            Diagnostic::new(Code::UDF_SOURCE, "options are for async functions, this one is not")
                .at(whole)
                .help("write `#[udf]`, or make it an `async fn`"),
        );
        return options;
    }
    let read = attribute.parse_nested_meta(|meta| {
        option(&meta, &mut options).unwrap_or_else(|wrong| {
            errors
                .push(Diagnostic::new(Code::UDF_SOURCE, wrong.message).at(span_of(text, wrong.span)).help(wrong.help));
        });
        Ok(())
    });
    if let Err(error) = read {
        errors.push(
            Diagnostic::new(Code::UDF_SOURCE, format!("the options of `#[udf(…)]` cannot be read: {error}"))
                .at(span_of(text, error.span()))
                .help("write, for example, `#[udf(ordered, allowed_in_flight = 100, timeout = \"10s\")]`"),
        );
    }
    options
}

struct WrongOption {
    span: proc_macro2::Span,
    message: String,
    help: String,
}

fn option(meta: &ParseNestedMeta<'_>, options: &mut AsyncOptions) -> Result<(), WrongOption> {
    const NAMES: [&str; 4] = ["ordered", "unordered", "allowed_in_flight", "timeout"];
    let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
    let value = |expected: &str, error: &syn::Error| WrongOption {
        span: error.span(),
        message: format!("`{name}` takes {expected}"),
        help: format!("write `{name} = {}`", if name == "timeout" { "\"10s\"" } else { "100" }),
    };
    match name.as_str() {
        "ordered" => options.ordered = true,
        "unordered" => options.ordered = false,
        "allowed_in_flight" => {
            let expected = "a whole number from 1 to 1000000";
            let literal: LitInt = meta.value().and_then(ParseBuffer::parse).map_err(|e| value(expected, &e))?;
            options.allowed_in_flight = literal
                .base10_parse::<u32>()
                .ok()
                .filter(|n| (1..=1_000_000).contains(n))
                .ok_or_else(|| value(expected, &syn::Error::new(literal.span(), "")))?;
        }
        "timeout" => {
            let expected = "a time above zero: a whole number and `ms`, `s`, `m` or `h`";
            let literal: LitStr = meta.value().and_then(ParseBuffer::parse).map_err(|e| value(expected, &e))?;
            options.timeout =
                duration(&literal.value()).ok_or_else(|| value(expected, &syn::Error::new(literal.span(), "")))?;
        }
        _ => {
            // The value must be skipped, or everything after it is an error as well.
            if let Ok(rest) = meta.value() {
                let _ = rest.parse::<syn::Expr>();
            }
            return Err(WrongOption {
                span: meta.path.span(),
                message: format!("`{name}` is not an option of `#[udf]`"),
                help: nearest(&name, NAMES).map_or_else(
                    || "the options are `ordered`, `unordered`, `allowed_in_flight = N` and `timeout = \"10s\"`".into(),
                    |near| format!("did you mean `{near}`?"),
                ),
            });
        }
    }
    Ok(())
}

fn signature(text: &Arc<SourceText>, function: &ItemFn, errors: &mut Vec<Diagnostic>) -> Signature {
    let name = &function.sig.ident;
    let is_async = function.sig.asyncness.is_some();
    if let Some(parameter) = function.sig.generics.params.iter().find(|p| !matches!(p, GenericParam::Lifetime(_))) {
        errors.push(
            Diagnostic::new(Code::UDF_SOURCE, format!("`{name}` cannot be generic: SQL calls it with fixed types"))
                .at(span_of(text, parameter.span()))
                .help("name the types of its arguments"),
        );
    }
    let mut read = |ty: &syn::Type, position: Position| {
        let span = span_of(text, ty.span());
        types::read(ty, position).map_err(|wrong| {
            let verb = if position == Position::Argument { "take" } else { "return" };
            let which = if position == Position::AsyncResult { "an async UDF" } else { "a UDF" };
            errors.push(
                Diagnostic::new(Code::UDF_TYPE, format!("{which} cannot {verb} `{}`", span.text()))
                    .at(span.clone())
                    .help(wrong.help),
            );
        })
    };
    let unknown = UdfType { data_type: datafusion::arrow::datatypes::DataType::Null, nullable: true };
    let mut args = Vec::new();
    let mut receiver = None;
    for argument in &function.sig.inputs {
        match argument {
            FnArg::Typed(argument) => {
                args.push(read(&argument.ty, Position::Argument).unwrap_or_else(|()| unknown.clone()));
            }
            FnArg::Receiver(this) => receiver = Some(this.span()),
        }
    }
    let position = if is_async { Position::AsyncResult } else { Position::Result };
    let returns = match &function.sig.output {
        ReturnType::Type(_, ty) => read(ty, position).unwrap_or_else(|()| unknown.clone()),
        ReturnType::Default => {
            errors.push(
                Diagnostic::new(Code::UDF_SOURCE, format!("`{name}` returns nothing"))
                    .at(span_of(text, name.span()))
                    .help("say what it returns, for example `-> String`"),
            );
            unknown
        }
    };
    if let Some(span) = receiver {
        errors.push(
            Diagnostic::new(Code::UDF_SOURCE, format!("`{name}` takes `self`, but SQL has no object to call it on"))
                .at(span_of(text, span))
                .help("remove `self`"),
        );
    } else if args.is_empty() && !is_async {
        errors.push(
            Diagnostic::new(
                Code::UDF_SOURCE,
                format!("`{name}` takes no argument, so the number of rows would be unknown"),
            )
            .at(span_of(text, name.span()))
            .help("give it an argument, or make it an `async fn`"),
        );
    }
    Signature { args, returns }
}

/// The parser's reason. If the text cannot even be split into tokens, the reason has no details.
fn plain_reason(error: &syn::Error) -> String {
    let reason = error.to_string();
    if reason.contains("token stream") { "a bracket or a quotation mark is not closed".into() } else { reason }
}
