//! Turns a panic of the planner into an error of the statement, so that it does not end the process.
//!
//! DataFusion panics on some statements that nobody writes on purpose (`SELECT (SELECT FROM t)`).

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Once;
use std::task::Poll;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a future to completion; `None` if it panics. The panic is not printed.
pub(super) async fn guarded<T>(future: impl Future<Output = T>) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if GUARDED.get() {
                tracing::debug!("the planner panicked: {panicked}");
            } else {
                usual(panicked);
            }
        }));
    });
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let outer = GUARDED.replace(true);
        // The future and its data are dropped after a panic.
        let polled = panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        GUARDED.set(outer);
        match polled {
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer() {
        let answer =
            |future: std::pin::Pin<Box<dyn Future<Output = i32>>>| futures::executor::block_on(guarded(future));
        assert_eq!(answer(Box::pin(async { 1 })), Some(1));
        assert_eq!(answer(Box::pin(async { Vec::<i32>::new()[0] })), None);
        assert!(!GUARDED.get());
    }
}
