//! The table: medians, quotients, and what they should at least be.

use std::path::Path;

use super::On;
use super::phases::{FIRST_PULL, Measured, Run};
use super::server::Kind;
use crate::stage::Failure;

/// What the last run wrote stands on the page between a line of its own and this one.
const END: &str = "<!-- to here -->";

/// What is expected where the servers keep their data.
#[derive(Debug)]
pub(super) struct Expected {
    begin: &'static str,
    rows: &'static [Row],
    /// Of the memory.
    peak: &'static str,
}

/// A phase, what it is compared by, and the least quotient if one is expected.
type Row = (&'static str, By, Option<f64>);

/// How two servers are compared in a phase.
#[derive(Debug, Clone, Copy)]
enum By {
    CpuSecond,
    Second,
}

const ON_DISK: Expected = Expected {
    begin: "<!-- cargo xtask bench writes from here -->",
    rows: &[
        ("manifest GET by tag", By::CpuSecond, Some(12.0)),
        ("manifest HEAD by tag", By::CpuSecond, Some(14.0)),
        ("blob HEAD", By::CpuSecond, Some(20.0)),
        ("blob GET 1 KB", By::CpuSecond, Some(20.0)),
        ("push 500 small images, 16 clients", By::Second, Some(3.0)),
        ("push 1 GB, one request", By::CpuSecond, Some(1.6)),
        ("push 1 GB, 16 MB chunks", By::CpuSecond, Some(1.6)),
        ("pull 1 GB, 1 client", By::CpuSecond, Some(1.1)),
        ("pull 1 GB, 4 clients", By::Second, Some(1.2)),
    ],
    peak: "under 150 MB",
};

/// The stores take most of the time there, and of the machine: only what whoever pushes and pulls gets of it counts.
const ON_S3: Expected = Expected {
    begin: "<!-- cargo xtask bench --on s3 writes from here -->",
    rows: &[
        ("manifest GET by tag", By::Second, None),
        ("manifest HEAD by tag", By::Second, None),
        ("blob HEAD", By::Second, None),
        ("blob GET 1 KB", By::Second, None),
        ("push 500 small images, 16 clients", By::Second, None),
        ("push 1 GB, one request", By::Second, Some(1.3)),
        ("push 1 GB, 16 MB chunks", By::Second, Some(1.3)),
        ("pull 1 GB, 1 client", By::Second, Some(1.3)),
        ("pull 1 GB, 4 clients", By::Second, Some(1.3)),
    ],
    peak: "under 200 MB",
};

/// What is expected on these stores.
pub(super) fn expected(on: On) -> &'static Expected {
    match on {
        On::Disk => &ON_DISK,
        On::S3 => &ON_S3,
    }
}

/// The table in Markdown.
pub(super) fn markdown(expected: &Expected, runs: &[(Kind, Run)], rounds: u64, seconds: u64, disk: f64) -> String {
    let mut text = format!(
        "Medians of {rounds} runs in alternating order, fresh data for each, request phases of {seconds} s. The disk took \
         {disk:.0} MB/s in one file with an fsync at its end.\n\n\
         | Phase | roadstead | per CPU-s | docker-registry | per CPU-s | compared by | ratio | at least |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for (phase, by, least) in expected.rows {
        let of = |kind, value: fn(&Measured) -> f64| median(runs, kind, |run| of_phase(run, phase).map(value));
        let rate = |measured: &Measured| measured.amount / measured.seconds;
        let per_cpu = |measured: &Measured| measured.amount / measured.cpu.max(0.01);
        let (Some(ours), Some(peers)) = (of(Kind::Ours, rate), of(Kind::Peer, rate)) else { continue };
        let (Some(ours_cpu), Some(peers_cpu)) = (of(Kind::Ours, per_cpu), of(Kind::Peer, per_cpu)) else { continue };
        let (words, ratio) = match by {
            By::CpuSecond => ("CPU-second", ours_cpu / peers_cpu),
            By::Second => ("second", ours / peers),
        };
        let least = least.map_or_else(String::new, |least| format!("{least} x "));
        let unit = runs.iter().find_map(|(_, run)| of_phase(run, phase)).map_or("", |measured| measured.unit);
        text.push_str(&format!(
            "| {phase} | {ours:.0} {unit}/s | {ours_cpu:.0} | {peers:.0} {unit}/s | {peers_cpu:.0} | {words} | {ratio:.2} x | {least}|\n"
        ));
    }
    text.push_str(&first_pull(runs));
    let peak = |kind| median(runs, kind, |run| Some(run.peak)).unwrap_or_default();
    text.push_str(&format!(
        "| peak memory | {:.0} MB | | {:.0} MB | | | | {} |\n",
        peak(Kind::Ours),
        peak(Kind::Peer),
        expected.peak
    ));
    text
}

/// A pull of what the server has not served since it started: there ours hashes what it sends.
fn first_pull(runs: &[(Kind, Run)]) -> String {
    let rate =
        |kind| median(runs, kind, |run| of_phase(run, FIRST_PULL).map(|measured| measured.amount / measured.seconds));
    match (rate(Kind::Ours), rate(Kind::Peer)) {
        (Some(ours), Some(peers)) => {
            format!("| {FIRST_PULL} | {ours:.0} MB/s | | {peers:.0} MB/s | | second | {:.2} x | |\n", ours / peers)
        }
        _ => String::new(),
    }
}

fn of_phase<'a>(run: &'a Run, phase: &str) -> Option<&'a Measured> {
    run.phases.iter().find(|measured| measured.name == phase)
}

fn median(runs: &[(Kind, Run)], kind: Kind, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = runs.iter().filter(|(of, _)| *of == kind).filter_map(|(_, run)| value(run)).collect();
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((below + above) / 2.0)
}

/// Puts the table where the page has it.
pub(super) fn write(page: &Path, expected: &Expected, table: &str) -> Result<(), Failure> {
    let begin = expected.begin;
    let text = std::fs::read_to_string(page)?;
    let parts = text.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        return Err(Failure::new(format!("{} has no lines {begin} and {END}", page.display())));
    };
    Ok(std::fs::write(page, format!("{before}{begin}\n{table}{END}{after}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: f64, cpu: f64) -> Run {
        let phase = |(name, ..): &Row| Measured { name, unit: "req", amount: rate * 2.0, seconds: 2.0, cpu };
        Run { phases: ON_DISK.rows.iter().map(phase).collect(), peak: cpu * 10.0 }
    }

    #[test]
    fn a_row_compares_medians() {
        let runs = [
            (Kind::Peer, run(10.0, 2.0)),
            (Kind::Ours, run(500.0, 1.0)),
            (Kind::Ours, run(100.0, 1.0)),
            (Kind::Ours, run(90.0, 1.0)),
        ];
        let table = markdown(&ON_DISK, &runs, 3, 2, 400.0);
        assert!(
            table.contains("| blob HEAD | 100 req/s | 200 | 10 req/s | 10 | CPU-second | 20.00 x | 20 x |"),
            "{table}"
        );
        assert!(
            table.contains("| pull 1 GB, 4 clients | 100 req/s | 200 | 10 req/s | 10 | second | 10.00 x | 1.2 x |"),
            "{table}"
        );
        assert!(table.contains("| peak memory | 10 MB | | 20 MB | | | | under 150 MB |"), "{table}");
        let table = markdown(&ON_S3, &runs, 3, 2, 400.0);
        assert!(table.contains("| blob HEAD | 100 req/s | 200 | 10 req/s | 10 | second | 10.00 x | |"), "{table}");
        assert!(table.contains("| pull 1 GB, 1 client | 100 req/s | 200 | 10 req/s | 10 | second | 10.00 x | 1.3 x |"));
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() -> Result<(), Failure> {
        let page = tempfile::NamedTempFile::new()?;
        let (disk, s3) = (ON_DISK.begin, ON_S3.begin);
        let text = |one, other| format!("before\n{disk}\n{one}\n{END}\nbetween\n{s3}\n{other}\n{END}\nafter\n");
        std::fs::write(page.path(), text("old", "old"))?;
        write(page.path(), &ON_S3, "new\n")?;
        assert_eq!(std::fs::read_to_string(page.path())?, text("old", "new"));
        write(page.path(), &ON_DISK, "newer\n")?;
        assert_eq!(std::fs::read_to_string(page.path())?, text("newer", "new"));
        std::fs::write(page.path(), "no marks")?;
        assert!(write(page.path(), &ON_DISK, "new\n").is_err());
        Ok(())
    }
}
