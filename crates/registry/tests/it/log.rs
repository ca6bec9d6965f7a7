//! What a test has logged, from warnings on.

use std::sync::Once;

use roadstead_testkit::ThreadLog;

/// Logs from now on. One subscriber for the process.
pub fn begin() {
    static ONCE: Once = Once::new();
    let logging = || tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN);
    ONCE.call_once(|| logging().with_writer(|| ThreadLog).init());
    ThreadLog::take();
}
