//! The table: medians, quotients, and what they should at least be.

use std::path::Path;

use super::phases::{FIRST_PULL, Measured, Run};
use super::server::Kind;
use crate::stage::Failure;

/// Between these lines of the page stands what the last run wrote.
const BEGIN: &str = "<!-- cargo xtask bench writes from here -->";
const END: &str = "<!-- to here -->";

/// How two servers are compared in a phase.
#[derive(Clone, Copy)]
enum By {
    CpuSecond,
    Second,
}

/// What each phase is compared by, and the least quotient.
const TARGETS: [(&str, By, f64); 9] = [
    ("manifest GET by tag", By::CpuSecond, 12.0),
    ("manifest HEAD by tag", By::CpuSecond, 14.0),
    ("blob HEAD", By::CpuSecond, 20.0),
    ("blob GET 1 KB", By::CpuSecond, 20.0),
    ("push 500 small images, 16 clients", By::Second, 3.0),
    ("push 1 GB, one request", By::CpuSecond, 1.6),
    ("push 1 GB, 16 MB chunks", By::CpuSecond, 1.6),
    ("pull 1 GB, 1 client", By::CpuSecond, 1.1),
    ("pull 1 GB, 4 clients", By::Second, 1.2),
];

/// The table in Markdown.
pub(super) fn markdown(runs: &[(Kind, Run)], rounds: u64, seconds: u64, disk: f64) -> String {
    let mut text = format!(
        "Medians of {rounds} runs in alternating order, fresh data for each, request phases of {seconds} s. The disk took \
         {disk:.0} MB/s in one file with an fsync at its end.\n\n\
         | Phase | roadstead | per CPU-s | docker-registry | per CPU-s | compared by | ratio | at least |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for (phase, by, least) in TARGETS {
        let of = |kind, value: fn(&Measured) -> f64| median(runs, kind, |run| of_phase(run, phase).map(value));
        let rate = |measured: &Measured| measured.amount / measured.seconds;
        let per_cpu = |measured: &Measured| measured.amount / measured.cpu.max(0.01);
        let (Some(ours), Some(peers)) = (of(Kind::Ours, rate), of(Kind::Peer, rate)) else { continue };
        let (Some(ours_cpu), Some(peers_cpu)) = (of(Kind::Ours, per_cpu), of(Kind::Peer, per_cpu)) else { continue };
        let (words, ratio) = match by {
            By::CpuSecond => ("CPU-second", ours_cpu / peers_cpu),
            By::Second => ("second", ours / peers),
        };
        let unit = runs.iter().find_map(|(_, run)| of_phase(run, phase)).map_or("", |measured| measured.unit);
        text.push_str(&format!(
            "| {phase} | {ours:.0} {unit}/s | {ours_cpu:.0} | {peers:.0} {unit}/s | {peers_cpu:.0} | {words} | {ratio:.2} x | {least} x |\n"
        ));
    }
    text.push_str(&first_pull(runs));
    let peak = |kind| median(runs, kind, |run| Some(run.peak)).unwrap_or_default();
    text.push_str(&format!(
        "| peak memory | {:.0} MB | | {:.0} MB | | | | under 150 MB |\n",
        peak(Kind::Ours),
        peak(Kind::Peer)
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
pub(super) fn write(page: &Path, table: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(page)?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        return Err(Failure::new(format!("{} has no lines {BEGIN} and {END}", page.display())));
    };
    Ok(std::fs::write(page, format!("{before}{BEGIN}\n{table}{END}{after}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: f64, cpu: f64) -> Run {
        let phase = |(name, ..): &(&'static str, By, f64)| Measured {
            name,
            unit: "req",
            amount: rate * 2.0,
            seconds: 2.0,
            cpu,
        };
        Run { phases: TARGETS.iter().map(phase).collect(), peak: cpu * 10.0 }
    }

    #[test]
    fn a_row_compares_medians() {
        let runs = [
            (Kind::Peer, run(10.0, 2.0)),
            (Kind::Ours, run(500.0, 1.0)),
            (Kind::Ours, run(100.0, 1.0)),
            (Kind::Ours, run(90.0, 1.0)),
        ];
        let table = markdown(&runs, 3, 2, 400.0);
        assert!(
            table.contains("| blob HEAD | 100 req/s | 200 | 10 req/s | 10 | CPU-second | 20.00 x | 20 x |"),
            "{table}"
        );
        assert!(
            table.contains("| pull 1 GB, 4 clients | 100 req/s | 200 | 10 req/s | 10 | second | 10.00 x | 1.2 x |"),
            "{table}"
        );
        assert!(table.contains("| peak memory | 10 MB | | 20 MB |"), "{table}");
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() -> Result<(), Failure> {
        let page = tempfile::NamedTempFile::new()?;
        std::fs::write(page.path(), format!("before\n{BEGIN}\nold\n{END}\nafter\n"))?;
        write(page.path(), "new\n")?;
        assert_eq!(std::fs::read_to_string(page.path())?, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        std::fs::write(page.path(), "no marks")?;
        assert!(write(page.path(), "new\n").is_err());
        Ok(())
    }
}
