//! Runs stages one after the other, times them, and closes with a table and one plain line of counts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::stage::{Context, Failure, Outcome, STAGES, Stage};

/// Above this the run is reported as too slow.
const WARN_AFTER: Duration = Duration::from_secs(70 * 60);
/// Above this the run fails: a gate that nobody waits for guards nothing.
const FAIL_AFTER: Duration = Duration::from_secs(84 * 60);

/// A line of the closing table.
struct Row {
    name: &'static str,
    verdict: Verdict,
    note: String,
    took: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// Runs the stages named; true when none of them failed and the time was kept.
pub(crate) fn run(context: &Context, names: &[String]) -> Result<bool, Failure> {
    let stages = names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let started = Instant::now();
    let rows: Vec<Row> = stages.into_iter().map(|stage| run_one(context, stage)).collect();
    let took = started.elapsed();
    print!("{}", table(&rows, took));
    let in_time = judge_time(took);
    println!("{}", closing_line(&rows, in_time));
    Ok(in_time && rows.iter().all(|row| row.verdict != Verdict::Failed))
}

fn find(name: &str) -> Result<&'static Stage, Failure> {
    STAGES.iter().find(|stage| stage.name == name).ok_or_else(|| {
        let known: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
        Failure::new(format!("no stage named {name:?}; the stages are {}", known.join(", ")))
    })
}

fn run_one(context: &Context, stage: &'static Stage) -> Row {
    println!("==> {}", stage.name);
    let started = Instant::now();
    // The testkit fails as tests do, by panicking; the stages after this one run all the same.
    let answer = catch_unwind(AssertUnwindSafe(|| (stage.run)(context)));
    let answer = answer.unwrap_or_else(|_| Err(Failure::new("panicked, see above")));
    let (verdict, note) = verdict(answer, context.strict);
    let took = started.elapsed();
    let colon = if note.is_empty() { "" } else { ": " };
    println!("<== {} {} in {:.1} s{colon}{note}", stage.name, verdict.word(), took.as_secs_f64());
    Row { name: stage.name, verdict, note, took }
}

/// What a stage's answer counts as.
fn verdict(answer: Result<Outcome, Failure>, strict: bool) -> (Verdict, String) {
    match answer {
        Ok(Outcome::Passed(note)) => (Verdict::Passed, note),
        Ok(Outcome::Absent(what)) if strict => (Verdict::Failed, format!("{what} (absent, and CI=true forbids skips)")),
        Ok(Outcome::Absent(what)) => (Verdict::Skipped, what),
        Err(failure) => (Verdict::Failed, failure.0),
    }
}

fn table(rows: &[Row], took: Duration) -> String {
    let mut text = String::from("\nstage        verdict   seconds  note\n");
    for row in rows {
        let first_line = row.note.lines().next().unwrap_or_default();
        text += &format!("{:<12} {:<8} {:>8.1}  {first_line}\n", row.name, row.verdict.word(), row.took.as_secs_f64());
    }
    text + &format!("{:<12} {:<8} {:>8.1}\n\n", "all", "", took.as_secs_f64())
}

fn judge_time(took: Duration) -> bool {
    let minutes = took.as_secs() / 60;
    if took > FAIL_AFTER {
        println!("the gate took {minutes} minutes, more than the {} allowed", FAIL_AFTER.as_secs() / 60);
    } else if took > WARN_AFTER {
        println!("warning: the gate took {minutes} minutes, more than the {} intended", WARN_AFTER.as_secs() / 60);
    }
    took <= FAIL_AFTER
}

/// The last line of a run: stages passed, failed and skipped. Running out of time counts as one failure.
fn closing_line(rows: &[Row], in_time: bool) -> String {
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let failed = count(Verdict::Failed) + usize::from(!in_time);
    let line = format!("{} passed, {failed} failed", count(Verdict::Passed));
    match count(Verdict::Skipped) {
        0 => line,
        skipped => format!("{line}, {skipped} skipped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(verdict: Verdict) -> Row {
        Row { name: "stage", verdict, note: String::new(), took: Duration::ZERO }
    }

    #[test]
    fn absent_is_skipped_at_home_and_red_in_ci() {
        let absent = || Ok(Outcome::Absent("no skopeo".to_owned()));
        assert_eq!(verdict(absent(), false).0, Verdict::Skipped);
        assert_eq!(verdict(absent(), true).0, Verdict::Failed);
    }

    #[test]
    fn the_closing_line_counts_stages() {
        let rows = [row(Verdict::Passed), row(Verdict::Passed), row(Verdict::Failed)];
        assert_eq!(closing_line(&rows, true), "2 passed, 1 failed");
        assert_eq!(closing_line(&rows[..2], false), "2 passed, 1 failed");
        assert_eq!(closing_line(&[row(Verdict::Passed), row(Verdict::Skipped)], true), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn every_stage_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = STAGES.iter().map(|stage| stage.name).collect();
        assert_eq!(names.len(), STAGES.len());
        assert!(find("fmt").is_ok());
        assert!(find("nothing").is_err());
    }

    #[test]
    fn above_eighty_four_minutes_the_gate_is_red() {
        assert!(judge_time(Duration::from_secs(84 * 60)));
        assert!(!judge_time(Duration::from_secs(84 * 60 + 1)));
    }
}
