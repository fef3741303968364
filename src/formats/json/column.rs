//! A column that is filled value by value and can be truncated, so that a message that turns out bad half way leaves no
//! trace. Arrow's own builders cannot be truncated. The columns of each type are in [`columns`](super::columns) and
//! [`nested`](super::nested).

use datafusion::arrow::array::{ArrayRef, BooleanBufferBuilder};
use datafusion::arrow::buffer::NullBuffer;
use jiter::{Jiter, Peek};

use super::wrong::Wrong;

/// A column under construction.
pub(super) trait Column: Send {
    /// Appends the next value, which is not null.
    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong>;
    /// Appends NULL.
    fn null(&mut self);
    /// The number of values.
    fn len(&self) -> usize;
    /// Truncates it to `len` values.
    fn truncate(&mut self, len: usize);
    /// Its values as an array. The column is empty afterwards.
    fn finish(&mut self) -> ArrayRef;
}

/// Which values are present and which are NULL.
pub(super) struct Validity(BooleanBufferBuilder);

impl Validity {
    pub(super) fn new() -> Self {
        Self(BooleanBufferBuilder::new(0))
    }

    pub(super) fn push(&mut self, valid: bool) {
        self.0.append(valid);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(super) fn finish(&mut self) -> Option<NullBuffer> {
        let nulls = NullBuffer::new(self.0.finish());
        (nulls.null_count() > 0).then_some(nulls)
    }
}
