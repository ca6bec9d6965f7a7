//! The signals that end the server.

use std::io;

use futures::stream::{self, BoxStream, StreamExt};
use roadstead_http::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM drains with the wait that load balancers need, SIGINT without it. SIGHUP, when a terminal is closed or an
/// operator hopes for a reload, is a SIGTERM; a process that was started to ignore it (`nohup`) goes on doing so.
pub(super) fn stops() -> io::Result<BoxStream<'static, Stop>> {
    let mut all = vec![on(SignalKind::terminate(), Stop::Drain)?, on(SignalKind::interrupt(), Stop::Promptly)?];
    if !ignored(SignalKind::hangup()) {
        all.push(on(SignalKind::hangup(), Stop::Drain)?);
    }
    Ok(stream::select_all(all).boxed())
}

fn on(kind: SignalKind, stop: Stop) -> io::Result<BoxStream<'static, Stop>> {
    let next = move |mut signals: Signal| async move { signals.recv().await.map(|()| (stop, signals)) };
    Ok(stream::unfold(signal(kind)?, next).boxed())
}

/// Whether this process was started with the signal ignored. A system that does not tell is taken to say no.
fn ignored(kind: SignalKind) -> bool {
    #[allow(clippy::disallowed_methods, reason = "the process's own record, no data of the registry")]
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status, kind.as_raw_value())
}

fn ignored_in(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::ignored_in;

    #[test]
    fn what_is_ignored_is_told_by_the_system() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(ignored_in(status, 1) && ignored_in(status, 13) && !ignored_in(status, 2));
        assert!(!ignored_in("", 1) && !ignored_in("SigIgn:\tnone\n", 1));
    }
}
