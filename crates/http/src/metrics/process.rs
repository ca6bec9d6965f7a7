//! What the kernel knows of this process, read from `/proc/self` at each scrape. Elsewhere than on Linux these
//! metrics are absent.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Ticks per second in `/proc/*/stat`: fixed by the kernel's interface to user space on every platform served.
const USER_HZ: f64 = 100.0;

#[derive(Debug)]
struct Process;

pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

/// Counts lost lines of the log.
struct Log<F>(F);

impl<F> fmt::Debug for Log<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

pub(super) fn register_log(registry: &mut Registry, lost: impl Fn() -> u64 + Send + Sync + 'static) {
    registry.register_collector(Box::new(Log(lost)));
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Collector for Log<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let lost = ConstCounter::new((self.0)());
        let help = "Lines of the log that could not be written soon enough and were dropped";
        lost.encode(encoder.encode_descriptor("roadstead_log_lines_lost", help, None, lost.metric_type())?)
    }
}

/// One reading.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    cpu_seconds: f64,
    /// Seconds since the Unix epoch.
    start_time: f64,
    threads: i64,
    resident: i64,
    peak_resident: i64,
    open_fds: i64,
    max_fds: i64,
}

impl Reading {
    /// From the texts of `stat`, `status`, `limits` and `/proc/stat`, and the number of entries of `fd`.
    fn parse(stat: &str, status: &str, limits: &str, system: &str, open_fds: i64) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |n: usize| fields.get(n - 3)?.parse::<f64>().ok();
        let boot: f64 = system.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / USER_HZ,
            start_time: boot + field(22)? / USER_HZ,
            threads: kernel_number(status, "Threads:")?,
            resident: kernel_number(status, "VmRSS:")? * 1024,
            peak_resident: kernel_number(status, "VmHWM:")? * 1024,
            open_fds,
            max_fds: kernel_number(limits, "Max open files").unwrap_or(0),
        })
    }

    #[allow(clippy::disallowed_methods, reason = "/proc is not storage: these reads never block")]
    fn take() -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        // The directory's own descriptor is open while it is counted.
        let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        Self::parse(
            &read("/proc/self/stat")?,
            &read("/proc/self/status")?,
            &read("/proc/self/limits")?,
            &read("/proc/stat")?,
            i64::try_from(open_fds).ok()?,
        )
    }
}

/// The first number after `name` at the start of a line.
fn kernel_number(text: &str, name: &str) -> Option<i64> {
    text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(r) = Reading::take() else { return Ok(()) };
        let cpu = ConstCounter::new(r.cpu_seconds);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time used, user and system",
            None,
            cpu.metric_type(),
        )?)?;
        let started = ConstGauge::new(r.start_time);
        started.encode(encoder.encode_descriptor(
            "process_start_time_seconds",
            "Start of the process since the Unix epoch",
            None,
            started.metric_type(),
        )?)?;
        for (name, help, value) in [
            ("process_threads", "Threads", r.threads),
            ("process_resident_memory_bytes", "Resident memory", r.resident),
            ("process_resident_memory_peak_bytes", "Most resident memory since the start", r.peak_resident),
            ("process_open_fds", "Open file descriptors", r.open_fds),
            ("process_max_fds", "Most file descriptors that may be open", r.max_fds),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_reading_is_parsed_even_when_the_name_is_odd() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 1000 0 0";
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t7\n";
        let limits = "Limit   Soft  Hard\nMax open files            1024                 4096                 files\n";
        let reading = Reading::parse(stat, status, limits, "cpu 1 2\nbtime 1700000000\n", 9).unwrap();
        assert_eq!(
            reading,
            Reading {
                cpu_seconds: 3.0,
                start_time: 1_700_000_010.0,
                threads: 7,
                resident: 1 << 20,
                peak_resident: 2 << 20,
                open_fds: 9,
                max_fds: 1024
            }
        );
        assert_eq!(Reading::parse("", status, limits, "", 9), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_read() {
        let reading = Reading::take().unwrap();
        assert!(reading.resident > 0 && reading.open_fds > 0 && reading.threads > 0, "{reading:?}");
    }
}
