//! The place of a token in a UDF's source.

use std::sync::Arc;

use proc_macro2::LineColumn;

use crate::diag::{SourceText, Span};

/// The place of a token in its file.
pub(super) fn span_of(text: &Arc<SourceText>, span: proc_macro2::Span) -> Span {
    let offset = |at: LineColumn| text.offset(at.line, at.column + 1);
    Span::new(text, offset(span.start())..offset(span.end()))
}
