//! `roadstead gc`: has the running instance collect now what its collector would remove in its own time.

use std::io::{IsTerminal as _, stderr};

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::admin::{Instance, Refused, block_on};
use super::{Exit, complain, print};

/// What the command line asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    instance: Instance,
    /// Remove nothing; print what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, one object a line; the last has `"event": "end"` or `"failed"`
    #[arg(long)]
    json: bool,
}

/// A line of the answer: see the admin API's `POST /api/v1/gc`.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Candidate {
        digest: String,
        size: u64,
    },
    Manifest {
        repository: String,
        digest: String,
    },
    Progress(Totals),
    End {
        #[serde(flatten)]
        totals: Totals,
        waiting_objects: Option<u64>,
    },
    Failed {
        message: String,
    },
}

#[derive(Debug, Deserialize)]
struct Totals {
    manifests: u64,
    blobs: u64,
    bytes: u64,
    objects: u64,
}

impl Totals {
    /// What there is of it, for a person.
    fn told(&self) -> String {
        let manifests = if self.manifests == 0 { String::new() } else { format!("{} manifests, ", self.manifests) };
        format!("{manifests}{} blobs of {} bytes", self.blobs, self.bytes)
    }
}

/// Collects, and tells how it goes.
pub(super) fn run(arguments: &Arguments) -> Exit {
    match block_on(collect(arguments)) {
        Ok(exit) => exit,
        Err(Refused::Configuration) => Exit::Usage,
        Err(Refused::Told(text)) => {
            complain(&format!("error: {text}\n"));
            Exit::Failed
        }
    }
}

async fn collect(arguments: &Arguments) -> Result<Exit, Refused> {
    let wish = json!({ "dry_run": arguments.dry_run });
    let mut answer = arguments.instance.ask(Method::POST, "/api/v1/gc", Some(wish)).await?;
    // Progress overwrites itself, which only a terminal shows well.
    let progress = !arguments.json && stderr().is_terminal();
    while let Some((line, event)) = answer.line::<Event>().await? {
        if arguments.json {
            print(&format!("{line}\n"));
        }
        match event {
            Event::Candidate { digest, size } if !arguments.json => {
                print(&format!("{digest} {size}\n"));
            }
            Event::Manifest { repository, digest } if !arguments.json => {
                print(&format!("{repository}@{digest}\n"));
            }
            Event::Progress(totals) if progress => {
                complain(&format!("\r{}, {} objects deleted", totals.told(), totals.objects));
            }
            Event::Candidate { .. } | Event::Manifest { .. } | Event::Progress { .. } => {}
            Event::End { .. } if arguments.json => return Ok(Exit::Done),
            Event::End { totals, waiting_objects } => {
                complain(if progress { "\r\x1b[K" } else { "" });
                return Ok(print(&ended(&totals, waiting_objects)));
            }
            Event::Failed { message } => return Err(Refused::Told(message)),
        }
    }
    Err(Refused::Told("the instance went away before it was done; what it removed stays removed".into()))
}

/// The last line for a person.
fn ended(totals: &Totals, waiting: Option<u64>) -> String {
    let (told, objects) = (totals.told(), totals.objects);
    match waiting {
        None => format!("would remove {told}\n"),
        Some(0) => format!("removed {told}, deleted {objects} objects\n"),
        Some(left) => format!(
            "removed {told}, deleted {objects} objects; {left} are not yet due or their storage does not answer\n"
        ),
    }
}
