//! What a test logs, kept apart from what others log that run beside it.

use std::cell::RefCell;
use std::io::Write;

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the log of the thread that logs. Each test has a thread, on which its runtime and all that it starts run.
#[derive(Debug, Clone, Copy)]
pub struct ThreadLog;

impl Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl ThreadLog {
    /// All that this thread has logged since it was last taken.
    pub fn text() -> String {
        LOG.with_borrow(|log| String::from_utf8(log.clone()).expect("text"))
    }

    /// The same, which is then forgotten.
    pub fn take() -> String {
        LOG.with_borrow_mut(|log| String::from_utf8(std::mem::take(log)).expect("text"))
    }
}
