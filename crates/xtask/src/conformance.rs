//! Conformance to the OCI distribution specification, judged on the release binary.
//!
//! Our own suite, a clause for each requirement of the specification, always runs (`crates/roadstead/tests`). The two
//! suites of the specification's own project run too where the Go module proxy serves them; their counts are asserted
//! exactly, so that a category that stops running is as red as one that fails. A proxy that does not serve them is
//! quoted and does not fail the gate: it is the one absence that nothing in this repository can mend. They judge the
//! registry on its own disk, and on PostgreSQL and S3.

mod upstream;

use crate::grounds::Ground;
use crate::process::which;
use crate::stage::{Context, Failure, Outcome};
use crate::suites::{cargo_test_release, release_binary};

pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    let binary = release_binary(context)?;
    cargo_test_release(context, &binary, &["conformance"])?;
    if which("go").is_none() {
        return Ok(Outcome::Absent("go is not installed; our own suite passed".to_owned()));
    }
    let (mut grounds, mut absent) = (vec![Ground::disk()], None);
    match Ground::servers() {
        Ok(servers) => grounds.push(servers),
        Err(names) => absent = Some(names),
    }
    let mut notes = vec!["our own suite passed".to_owned()];
    for suite in upstream::SUITES {
        let folder = context.target.join("conformance").join(suite.name);
        std::fs::create_dir_all(&folder)?;
        notes.push(match upstream::build(suite, &folder)? {
            upstream::Built::Program(program) => {
                for ground in &grounds {
                    upstream::judge(suite, &program, &ground.launch(&binary, suite.name)?, &folder)
                        .map_err(|failure| Failure::new(format!("on {}: {failure}", ground.name)))?;
                }
                suite.counts()
            }
            upstream::Built::Refused(words) => {
                println!("{}: not served: {words}", suite.name);
                format!("{} refused by the module proxy", suite.name)
            }
        });
    }
    let names: Vec<_> = grounds.iter().map(|ground| ground.name).collect();
    let note = format!("on {}: {}", names.join(" and on "), notes.join("; "));
    Ok(match absent {
        None => Outcome::Passed(note),
        Some(names) => Outcome::Absent(format!("not installed: {names}; {note}")),
    })
}
