//! Every fuzz target for a minute, two at a time.
//!
//! The targets are the binaries of `fuzz/Cargo.toml`, a workspace of its own, so that the product's lock file knows
//! nothing of fuzzers. The committed corpus is only read; what a run adds goes to the target directory. A crash leaves
//! its input in `fuzz/artifacts/`; put it into the corpus with the fix.

use std::path::Path;
use std::process::Command;

use crate::process::{capture, last_lines, output, which, words};
use crate::stage::{Context, Failure, Outcome};

/// Seconds for each target.
const SECONDS: &str = "60";
/// A parser that needs more than this for one input is wrong.
const MEGABYTES: &str = "1024";

pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    if which("cargo-fuzz").is_none() {
        return Ok(Outcome::Absent("cargo-fuzz is not installed".to_owned()));
    }
    let targets = capture(&mut fuzz(context, "list", &[]))?;
    let targets: Vec<&str> = targets.lines().collect();
    if targets.is_empty() {
        return Err(Failure::new("cargo fuzz list is empty"));
    }
    // Built once, before two runs at a time would wait for each other's lock.
    crate::process::run(&mut fuzz(context, "build", &[]))?;
    let mut failed = Vec::new();
    for pair in targets.chunks(2) {
        let results = std::thread::scope(|scope| {
            let runs: Vec<_> =
                pair.iter().map(|target| (target, scope.spawn(|| run_target(context, target)))).collect();
            runs.into_iter().map(|(target, run)| (target, run.join())).collect::<Vec<_>>()
        });
        for (target, result) in results {
            match result {
                Ok(Ok(runs)) => println!("{target}: {runs}"),
                Ok(Err(failure)) => failed.push(format!("{target}: {failure}")),
                Err(_) => failed.push(format!("{target}: the thread that watched it panicked")),
            }
        }
    }
    if failed.is_empty() {
        return Ok(Outcome::Passed(format!("{} targets, {SECONDS} s each", targets.len())));
    }
    // All of it in the closing table: a finding is made by chance, and a log that is cut must not lose it.
    Err(Failure::new(format!("{} of {} targets failed: {}", failed.len(), targets.len(), failed.join("; "))))
}

/// `cargo fuzz VERB`. Without a sanitizer: the workspace forbids `unsafe`, so what can be found are panics, hangs and
/// memory, and those are found faster without one, on the stable compiler.
fn fuzz(context: &Context, verb: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo-fuzz");
    command.current_dir(&context.root).arg("fuzz").arg(verb);
    if verb != "list" {
        command.args(["--sanitizer", "none"]).arg("--target-dir").arg(context.target.join("fuzz"));
    }
    command.args(arguments);
    command
}

/// Runs one target; answers the line in which the fuzzer says how much it did.
fn run_target(context: &Context, target: &str) -> Result<String, Failure> {
    let found = context.target.join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&found)?;
    let committed = Path::new("fuzz/corpus").join(target);
    if !context.root.join(&committed).is_dir() {
        return Err(Failure::new(format!("{} is missing: commit a corpus for it", committed.display())));
    }
    let mut command = fuzz(context, "run", &[target]);
    command.arg(&found).arg(&committed).arg("--");
    command.arg(format!("-max_total_time={SECONDS}")).arg(format!("-rss_limit_mb={MEGABYTES}"));
    command.args(["-timeout=10", "-print_final_stats=1"]);
    let output = output(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Failure::new(format!("{}: {}: {}", words(&command), output.status, finding(&said))));
    }
    let done = said.lines().rev().find(|line| line.starts_with("Done "));
    done.map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("ended without a closing line: {}", last_lines(&said, 4))))
}

/// Of what a fuzzer prints at its end: what went wrong, and the input in base64.
fn finding(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let mut told = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let panicked = line.contains("panicked at");
        if panicked || line.contains("ERROR: libFuzzer") || line.starts_with("Base64:") {
            told.push(line.trim());
        }
        // What a panic says is on the line after the one of where.
        told.extend(lines.get(at + 1).filter(|_| panicked).map(|text| text.trim()));
    }
    if told.is_empty() { last_lines(said, 12) } else { told.join(" | ") }
}

#[cfg(test)]
mod tests {
    use super::finding;

    #[test]
    fn a_finding_is_the_panic_and_its_input() {
        let said = "INFO: Seed: 1\nthread '<unnamed>' panicked at fuzz_targets/a.rs:3:9:\nnot so\nstack backtrace:\n  0: f\n\
                    ==7== ERROR: libFuzzer: deadly signal\nBase64: aGVsbG8=\n\nStack backtrace:\n  0: <unknown>\n";
        let panic = "thread '<unnamed>' panicked at fuzz_targets/a.rs:3:9: | not so";
        assert_eq!(finding(said), format!("{panic} | ==7== ERROR: libFuzzer: deadly signal | Base64: aGVsbG8="));
        assert_eq!(finding("a\n\nb\n"), "a | b");
    }
}
