//! A safe wrapper around the C interface of `arroyo-udf-plugin 0.2.0`: the plugin's layouts, who frees which memory,
//! and when each function may be called. The modules above decide what a failed call means.
//!
//! Arrays cross as the Arrow C data interface (`c_data`), so the two sides may use different versions of arrow. Each
//! side frees its own arrays through the `release` of the structure. Only the vector that holds the structures is freed
//! by the receiver, so both sides must use the system's allocator: Baton sets no other, and a UDF must not either.
//!
//! A panic of user code never crosses. In sync calls the plugin catches it; in async calls it ends the UDF's own
//! thread. The UDF's own copy of the standard library prints it to standard error, not to Baton's log.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_ffi::FfiFuture;
use datafusion::arrow::array::{Array, ArrayData, ArrayRef, AsArray, Int8Array, UInt64Array};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::arrow::error::ArrowError;
use libloading::Library;

use super::c_data::{Exchanged, Signals, Watch, copy, lend};

/// Why a library cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(String);

impl From<libloading::Error> for LoadError {
    fn from(error: libloading::Error) -> Self {
        // The system's message is in the error's source.
        Self(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
    }
}

/// The plugin's vector of arrays.
#[repr(C)]
struct FfiArrays {
    ptr: *mut Exchanged,
    len: usize,
    capacity: usize,
    error: bool,
}

// SAFETY: it is an owned vector of structures that are themselves `Send`.
unsafe impl Send for FfiArrays {}

impl FfiArrays {
    /// Passes arrays to the plugin. The receiver of the result frees them. `watch` travels with the first.
    fn give(arrays: Vec<ArrayData>, mut watch: Option<Watch>) -> Result<Self, ArrowError> {
        let vec = arrays.into_iter().map(|array| lend(array, watch.take())).collect::<Result<Vec<_>, _>>()?;
        let (len, capacity) = (vec.len(), vec.capacity());
        Ok(Self { ptr: vec.leak().as_mut_ptr(), len, capacity, error: false })
    }

    /// Takes arrays from the plugin.
    ///
    /// # Safety
    /// `self` came from the plugin, which made it from a vector, and has not been taken before.
    unsafe fn take(self) -> Result<Vec<ArrayRef>, ArrowError> {
        // SAFETY: by contract these are the parts of a vector; both sides use the system's allocator.
        let vec = unsafe { Vec::from_raw_parts(self.ptr, self.len, self.capacity) };
        // SAFETY: by contract each was made by arrow's own export.
        vec.iter().map(|lent| unsafe { copy(lent) }).collect()
    }
}

#[repr(C)]
#[expect(dead_code, reason = "the plugin makes the values")]
enum RunResult {
    Ok(Exchanged),
    Err,
}

#[repr(C)]
#[expect(dead_code, reason = "the plugin makes the values")]
enum DrainResult {
    Data(FfiArrays),
    None,
    Error,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Handle(*mut c_void);

// SAFETY: the plugin declares its handle `Send` and `Sync`: behind it are a channel's sender and a mutex.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

type Run = unsafe extern "C-unwind" fn(FfiArrays) -> RunResult;
type Start = unsafe extern "C-unwind" fn(bool, u64, u32) -> Handle;
type Send_ = unsafe extern "C-unwind" fn(Handle, u64, FfiArrays) -> FfiFuture<bool>;
type Drain = unsafe extern "C-unwind" fn(Handle) -> DrainResult;
type Stop = unsafe extern "C-unwind" fn(Handle);

/// Opens a library for the rest of the process's life.
fn open(path: &Path) -> Result<ManuallyDrop<Library>, LoadError> {
    // SAFETY: opening runs the library's initialisers. It is a UDF that the user wrote to be run in this process.
    let library = unsafe { Library::new(path) }?;
    Ok(ManuallyDrop::new(library))
}

/// The library of a sync UDF.
#[derive(Debug, Clone, Copy)]
pub(super) struct SyncLibrary {
    run: Run,
}

impl SyncLibrary {
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let library = open(path)?;
        // SAFETY: the macro of the plugin, whose version is pinned, generates a function of this type and name.
        let run = unsafe { *library.get::<Run>(b"__run\0")? };
        Ok(Self { run })
    }

    /// Calls the function on all rows of `args`: at least one row, each argument of its declared type. `None` if it
    /// panicked.
    pub fn run(self, args: Vec<ArrayData>) -> Result<Option<ArrayRef>, ArrowError> {
        let args = FfiArrays::give(args, None)?;
        // SAFETY: the arrays are given away here and used nowhere else. The plugin catches panics of user code.
        match unsafe { (self.run)(args) } {
            // SAFETY: made by arrow's own export in the plugin.
            RunResult::Ok(lent) => Ok(Some(unsafe { copy(&lent) }?)),
            RunResult::Err => Ok(None),
        }
    }
}

/// The library of an async UDF.
#[derive(Debug, Clone, Copy)]
pub(super) struct AsyncLibrary {
    start: Start,
    send: Send_,
    drain: Drain,
    stop: Stop,
}

impl AsyncLibrary {
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let library = open(path)?;
        // SAFETY: the macro of the plugin, whose version is pinned, generates functions of these types and names.
        unsafe {
            Ok(Self {
                start: *library.get::<Start>(b"__start\0")?,
                send: *library.get::<Send_>(b"__send\0")?,
                drain: *library.get::<Drain>(b"__drain_results\0")?,
                stop: *library.get::<Stop>(b"__stop_runtime\0")?,
            })
        }
    }
}

/// One runtime of an async UDF: a thread of the plugin that runs calls, and a mutex with their results.
///
/// Dropping it drops the plugin's end of the channel. A living thread then ends by itself and a dead one is forgotten.
/// A blocked one is left behind and ends if it ever returns.
pub(super) struct Runtime {
    inner: Arc<Inner>,
    signals: Arc<Signals>,
}

struct Inner {
    library: AsyncLibrary,
    handle: Handle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: the handle came from `__start` and is stopped once. On the plugin's side only the futures of `__send`
        // borrow it, and each of them holds this value; the thread shares ownership of the results.
        unsafe { (self.library.stop)(self.handle) };
    }
}

/// The outcome of polling the results.
pub(super) enum Drained {
    /// The numbers of calls and their results.
    Rows(UInt64Array, ArrayRef),
    /// Nothing new.
    Nothing,
    /// A call exceeded its timeout, which ends the thread.
    TimedOut,
}

impl Runtime {
    pub fn start(library: AsyncLibrary, ordered: bool, timeout: Duration, allowed_in_flight: u32) -> Self {
        let micros = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        // SAFETY: it takes plain values.
        let handle = unsafe { (library.start)(ordered, micros, allowed_in_flight) };
        Self { inner: Arc::new(Inner { library, handle }), signals: Arc::default() }
    }

    pub fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// The handle for submitting calls.
    pub fn entrance(&self) -> Entrance {
        Entrance { inner: Arc::clone(&self.inner), signals: Arc::clone(&self.signals) }
    }

    /// Takes the results that are ready.
    pub fn drain(&mut self) -> Result<Drained, ArrowError> {
        // SAFETY: the handle is not stopped. `&mut` prevents a second poll at the same time, which the plugin does not
        // expect.
        match unsafe { (self.inner.library.drain)(self.inner.handle) } {
            DrainResult::None => Ok(Drained::Nothing),
            DrainResult::Error => Ok(Drained::TimedOut),
            DrainResult::Data(arrays) => {
                // SAFETY: they come from the plugin, once.
                let mut arrays = unsafe { arrays.take() }?.into_iter();
                match (arrays.next(), arrays.next()) {
                    (Some(ids), Some(values)) if ids.len() == values.len() => {
                        match ids.as_primitive_opt::<UInt64Type>() {
                            Some(ids) => Ok(Drained::Rows(ids.clone(), values)),
                            None => Err(ArrowError::CDataInterface(
                                "the call numbers of a UDF's results are not integers".into(),
                            )),
                        }
                    }
                    _ => Err(ArrowError::CDataInterface("a UDF's results have no call numbers".into())),
                }
            }
        }
    }
}

/// Submits calls from any thread, including the UDF's own while it takes a call.
pub(super) struct Entrance {
    inner: Arc<Inner>,
    signals: Arc<Signals>,
}

impl Entrance {
    /// Passes a call to the thread: arrays of one row, of the declared types. Poll the result at once: its first poll
    /// takes the arrays, which would leak otherwise.
    pub fn send(&self, id: u64, mut args: Vec<ArrayData>) -> Result<Sending, ArrowError> {
        if args.is_empty() {
            // For a function without arguments: an additional argument lives as long as the call and is never read.
            args.push(Int8Array::from(vec![0]).into_data());
        }
        let args = FfiArrays::give(args, Some(Watch::new(&self.signals)))?;
        // SAFETY: the handle is not stopped, because `inner` exists, and the future keeps it alive. The arrays are
        // given away here. With the handle, the plugin only reads its channel and its mutex, here and when it polls
        // results. Any thread may use both, and nobody writes to the handle itself.
        let future = unsafe { (self.inner.library.send)(self.inner.handle, id, args) };
        Ok(Sending { future, _runtime: Arc::clone(&self.inner) })
    }
}

/// A call on its way to the thread: `true` once it has arrived, `false` if the thread is dead.
///
/// If it is dropped while it waits, the call was never made.
pub(super) struct Sending {
    future: FfiFuture<bool>,
    _runtime: Arc<Inner>,
}

impl Future for Sending {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.future).poll(context)
    }
}
