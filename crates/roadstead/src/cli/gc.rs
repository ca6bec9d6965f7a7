//! `roadstead gc`: has the running instance collect now what its collector would remove in its own time.

use std::io::{IsTerminal as _, stderr};

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::admin::{Instance, Refused, block_on, exit};
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
        trouble: Option<String>,
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
    exit(block_on(collect(arguments)), arguments.json)
}

async fn collect(arguments: &Arguments) -> Result<Exit, Refused> {
    let wish = json!({ "dry_run": arguments.dry_run });
    let mut answer = arguments.instance.ask(Method::POST, "/api/v1/gc", Some(wish)).await?;
    // Progress overwrites itself, which only a terminal shows well.
    let progress = !arguments.json && stderr().is_terminal();
    let mut printed = Exit::Done;
    while let Some((line, event)) = answer.line::<Event>().await? {
        let text = match &event {
            _ if arguments.json => format!("{line}\n"),
            Event::Candidate { digest, size } => format!("{digest} {size}\n"),
            Event::Manifest { repository, digest } => format!("{repository}@{digest}\n"),
            Event::End { totals, waiting_objects, trouble } => {
                complain(if progress { "\r\x1b[K" } else { "" });
                ended(totals, *waiting_objects, trouble.as_deref())
            }
            Event::Progress(_) | Event::Failed { .. } => String::new(),
        };
        // A list that was cut is no list.
        printed = if printed == Exit::Done { print(&text) } else { printed };
        match event {
            Event::Progress(totals) if progress => {
                complain(&format!("\r{}, {} objects deleted", totals.told(), totals.objects));
            }
            Event::End { trouble: Some(_), .. } => return Ok(Exit::Failed),
            Event::End { .. } => return Ok(printed),
            Event::Failed { message } if arguments.json => {
                complain(&format!("error: {message}\n"));
                return Ok(Exit::Failed);
            }
            Event::Failed { message } => return Err(Refused::Told(message)),
            Event::Candidate { .. } | Event::Manifest { .. } | Event::Progress(_) => {}
        }
    }
    Err(Refused::Told("the instance went away before it was done; what it removed stays removed".into()))
}

/// The last line for a person.
fn ended(totals: &Totals, waiting: Option<u64>, trouble: Option<&str>) -> String {
    let (told, objects) = (totals.told(), totals.objects);
    match (waiting, trouble) {
        (None, _) => format!("would remove {told}\n"),
        (Some(0), _) => format!("removed {told}, deleted {objects} objects\n"),
        (Some(left), None) => format!("removed {told}, deleted {objects} objects; {left} are not yet due\n"),
        (Some(left), Some(trouble)) => format!(
            "removed {told}, deleted {objects} objects; {left} wait, and are tried again by themselves: {trouble}\n"
        ),
    }
}
