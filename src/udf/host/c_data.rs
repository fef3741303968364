//! The Arrow C data interface, for the dozen types that a UDF takes and returns.
//!
//! arrow implements this interface too, behind a feature that `DataFusion` leaves off. Here arguments are lent without
//! a copy, and the last user to drop them notifies a [`Watch`]. Results are copied and checked, so that no memory of a
//! library stays in use.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{ArrayData, ArrayRef, make_array};
use datafusion::arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use tokio::sync::Notify;

/// An array and the type that describes it, as both sides lay them out.
#[repr(C)]
pub(super) struct Exchanged {
    array: CArray,
    schema: CSchema,
}

/// `struct ArrowArray` of the specification.
#[repr(C)]
struct CArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *const *const c_void,
    children: *mut *mut CArray,
    dictionary: *mut CArray,
    release: Option<unsafe extern "C" fn(*mut CArray)>,
    private_data: *mut c_void,
}

/// `struct ArrowSchema` of the specification.
#[repr(C)]
struct CSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut CSchema,
    dictionary: *mut CSchema,
    release: Option<unsafe extern "C" fn(*mut CSchema)>,
    private_data: *mut c_void,
}

// SAFETY: the specification lets any thread move and release the structures. Ours hold `Send` buffers and a `Send`
// watch.
unsafe impl Send for Exchanged {}

impl Drop for CArray {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it has not been released, or `release` would be `None`.
            unsafe { release(self) };
        }
    }
}

impl Drop for CSchema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as above.
            unsafe { release(self) };
        }
    }
}

/// The signals of the plugin's side of a runtime.
///
/// The plugin itself wakes nobody. But it drops the arguments of a call when the call returns or its thread dies, and
/// an Arrow array notifies its owner when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Notified whenever a call has returned.
    pub over: Notify,
    /// Calls that have not returned.
    running: AtomicUsize,
}

impl Signals {
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }
}

/// Lives as long as the arguments of one call.
pub(super) struct Watch(Arc<Signals>);

impl Watch {
    pub fn new(signals: &Arc<Signals>) -> Self {
        signals.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(signals))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Release);
        self.0.over.notify_one();
    }
}

/// What a lent array keeps alive.
struct Lent {
    buffers: [*const c_void; 3],
    _data: ArrayData,
    _nulls: Option<Buffer>,
    _watch: Option<Watch>,
}

unsafe extern "C" fn release_array(array: *mut CArray) {
    // SAFETY: the specification: called once, with the structure that we made, or a moved copy of it.
    let array = unsafe { &mut *array };
    // SAFETY: `lend` made it from a box.
    drop(unsafe { Box::from_raw(array.private_data.cast::<Lent>()) });
    array.release = None;
}

unsafe extern "C" fn release_schema(schema: *mut CSchema) {
    // SAFETY: as above. Everything that it points to is static.
    unsafe { (*schema).release = None };
}

/// Lends an array. `watch` is dropped with the last part of it that is in use.
pub(super) fn lend(data: ArrayData, watch: Option<Watch>) -> Result<Exchanged, ArrowError> {
    let format = format_of(data.data_type()).filter(|_| data.offset() == 0).ok_or_else(|| {
        ArrowError::CDataInterface(format!("an array of {} cannot be passed to a UDF", data.data_type()))
    })?;
    // The first bit of a sliced bitmap may be inside a byte.
    let nulls = data.nulls().filter(|n| n.null_count() > 0).map(|n| n.inner().sliced());
    let address = |buffer: &Buffer| buffer.as_ptr().cast::<c_void>();
    let buffers = [
        nulls.as_ref().map_or(ptr::null(), address),
        data.buffers().first().map_or(ptr::null(), address),
        data.buffers().get(1).map_or(ptr::null(), address),
    ];
    let (length, null_count, n_buffers) =
        (signed(data.len())?, signed(data.null_count())?, signed(data.buffers().len() + 1)?);
    let lent = Box::into_raw(Box::new(Lent { buffers, _data: data, _nulls: nulls, _watch: watch }));
    let array = CArray {
        length,
        null_count,
        offset: 0,
        n_buffers,
        n_children: 0,
        // SAFETY: the box was just made, and only `release_array` frees it.
        buffers: unsafe { &raw const (*lent).buffers }.cast(),
        children: ptr::null_mut(),
        dictionary: ptr::null_mut(),
        release: Some(release_array),
        private_data: lent.cast(),
    };
    let schema = CSchema {
        format: format.as_ptr(),
        name: c"".as_ptr(),
        metadata: ptr::null(),
        flags: 2, // may be NULL
        n_children: 0,
        children: ptr::null_mut(),
        dictionary: ptr::null_mut(),
        release: Some(release_schema),
        private_data: ptr::null_mut(),
    };
    Ok(Exchanged { array, schema })
}

fn signed(n: usize) -> Result<i64, ArrowError> {
    i64::try_from(n).map_err(|e| ArrowError::CDataInterface(e.to_string()))
}

/// Copies an array that the plugin lends, and returns it.
///
/// # Safety
/// arrow's own export in the plugin made it.
pub(super) unsafe fn copy(lent: &Exchanged) -> Result<ArrayRef, ArrowError> {
    let wrong = |what: &str| ArrowError::CDataInterface(format!("a UDF gave {what}"));
    let Exchanged { array, schema } = lent;
    if schema.format.is_null() || array.release.is_none() {
        return Err(wrong("no array"));
    }
    // SAFETY: by contract a C string.
    let format = unsafe { CStr::from_ptr(schema.format) };
    let data_type = type_of(format).ok_or_else(|| wrong("an array of another type than UDFs return"))?;
    let unsigned = |n: i64| usize::try_from(n).map_err(|_| wrong("a negative length"));
    let (len, offset) = (unsigned(array.length)?, unsigned(array.offset)?);
    let expected = if data_type.primitive_width().is_some() { 2 } else { 3 };
    if unsigned(array.n_buffers)? != expected || array.buffers.is_null() {
        return Err(wrong("an array with other buffers than its type has"));
    }
    let buffer = |index: usize, bytes: usize| {
        // SAFETY: `index` is less than `n_buffers`.
        let start = unsafe { *array.buffers.add(index) }.cast::<u8>();
        if bytes == 0 {
            return Ok(Buffer::from(&[]));
        }
        if start.is_null() {
            return Err(wrong("an array without data"));
        }
        // SAFETY: the specification defines the length of each buffer, and the callers below ask for that length.
        Ok(Buffer::from(unsafe { std::slice::from_raw_parts(start, bytes) }))
    };
    let end = len + offset;
    let mut builder = ArrayData::builder(data_type.clone()).len(len).offset(offset);
    if array.null_count != 0 {
        // SAFETY: there is a first buffer.
        let has_bitmap = unsafe { !(*array.buffers).is_null() };
        if has_bitmap {
            let bits = BooleanBuffer::new(buffer(0, end.div_ceil(8))?, offset, len);
            builder = builder.nulls(Some(NullBuffer::new(bits)));
        }
    }
    if let Some(width) = data_type.primitive_width() {
        builder = builder.add_buffer(buffer(1, end * width)?);
    } else {
        let offsets = buffer(1, (end + 1) * size_of::<i32>())?;
        let last = offsets.typed_data::<i32>().last().copied().unwrap_or_default();
        let bytes = buffer(2, unsigned(last.into())?)?;
        builder = builder.add_buffer(offsets).add_buffer(bytes);
    }
    // Checks offsets and UTF-8.
    builder.build().map(make_array)
}

const FORMATS: [(&CStr, DataType); 12] = [
    (c"c", DataType::Int8),
    (c"C", DataType::UInt8),
    (c"s", DataType::Int16),
    (c"S", DataType::UInt16),
    (c"i", DataType::Int32),
    (c"I", DataType::UInt32),
    (c"l", DataType::Int64),
    (c"L", DataType::UInt64),
    (c"f", DataType::Float32),
    (c"g", DataType::Float64),
    (c"u", DataType::Utf8),
    (c"z", DataType::Binary),
];

fn format_of(data_type: &DataType) -> Option<&'static CStr> {
    FORMATS.iter().find(|(_, t)| t == data_type).map(|(format, _)| *format)
}

fn type_of(format: &CStr) -> Option<DataType> {
    FORMATS.iter().find(|(f, _)| *f == format).map(|(_, t)| t.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Array, BinaryArray, Float64Array, Int64Array, StringArray, UInt8Array};

    use super::*;

    #[test]
    fn what_is_lent_is_read_back_and_told_when_dropped() {
        let arrays: [ArrayRef; 6] = [
            Arc::new(Int64Array::from(vec![Some(1), None, Some(-3), Some(4)])),
            Arc::new(UInt8Array::from(vec![1, 2, 3, 255])),
            Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN), None, Some(-0.0)])),
            Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some("Zürich 🚃")])),
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), Some(b""), None, Some(b"x")])),
            Arc::new(StringArray::from(Vec::<Option<&str>>::new())),
        ];
        for array in arrays {
            for start in 0..=array.len() {
                for length in 0..=array.len() - start {
                    let part = array.slice(start, length);
                    let signals = Arc::new(Signals::default());
                    let lent = lend(part.to_data(), Some(Watch::new(&signals))).unwrap();
                    assert_eq!(signals.running(), 1);
                    // SAFETY: lent just now, in the same layout.
                    let back = unsafe { copy(&lent) }.unwrap();
                    assert_eq!(back.to_data(), part.to_data(), "{start}..{}", start + length);
                    drop(lent);
                    assert_eq!(signals.running(), 0);
                }
            }
        }
    }

    #[test]
    fn a_type_that_no_udf_has_is_not_lent() {
        let array = datafusion::arrow::array::StringViewArray::from(vec!["x"]);
        assert!(lend(array.to_data(), None).is_err());
    }
}
