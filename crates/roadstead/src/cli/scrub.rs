//! `roadstead scrub`: has the running instance look for damage now, and tells what it finds.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admin::{Instance, Refused, block_on, exit};
use super::{Exit, complain, print};
use crate::config::units::Size;

/// How often the run is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);
/// So many failed steps in a row are no hiccup.
const FAILURES: u32 = 3;

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing is damaged
  1  something is damaged, or the run failed
  2  the command line or the configuration is wrong";

/// What the command line asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(flatten)]
    instance: Instance,
    /// Read and hash every blob; otherwise only look whether each is there and of the right size
    #[arg(long)]
    deep: bool,
    /// Bytes to read in a second at most, as in 100MiB; without it as `scrub.rate` says
    #[arg(long, value_name = "SIZE")]
    rate: Option<Size>,
    /// In place of a scrub: lets the objects go to the reaper that nothing names and that were kept because they are many
    #[arg(long, conflicts_with_all = ["deep", "rate"])]
    reap_orphans: bool,
    /// Print JSON, one object a line; the last has `"event": "end"`
    #[arg(long)]
    json: bool,
}

/// See the admin API's `GET /api/v1/scrub`.
#[derive(Debug, Deserialize)]
struct Told {
    running: bool,
    failures: Option<u32>,
    last_error: Option<String>,
    locations: Vec<Location>,
    orphans: u64,
    damaged: Vec<Damaged>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Location {
    location: String,
    placements: u64,
    held_orphans: u64,
    last: Option<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    stopped: bool,
    objects: u64,
    bytes: u64,
    repaired: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Damaged {
    location: String,
    key: String,
    digest: String,
    kind: String,
    found_at: i64,
    repositories: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    objects: u64,
    of: u64,
    bytes: u64,
    repaired: u64,
}

impl Told {
    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for location in &self.locations {
            totals.of += location.placements;
            if let Some(run) = &location.last {
                totals.objects += run.objects;
                totals.bytes += run.bytes;
                totals.repaired += run.repaired;
            }
        }
        totals
    }
}

/// Looks for damage, and tells how it goes.
pub(super) fn run(arguments: &Arguments) -> Exit {
    exit(block_on(scrub(arguments)), arguments.json)
}

/// See the admin API's `POST /api/v1/scrub/orphans`.
#[derive(Debug, Deserialize)]
struct LetGo {
    orphans: u64,
}

async fn let_orphans_go(arguments: &Arguments) -> Result<Exit, Refused> {
    let LetGo { orphans } = arguments.instance.ask(Method::POST, "/api/v1/scrub/orphans", None).await?.whole().await?;
    Ok(print(&match arguments.json {
        true => format!("{}\n", json!({ "event": "end", "orphans": orphans })),
        false => format!("{orphans} objects that nothing names go to the reaper, each when its `gc.grace` is over\n"),
    }))
}

async fn scrub(arguments: &Arguments) -> Result<Exit, Refused> {
    if arguments.reap_orphans {
        return let_orphans_go(arguments).await;
    }
    let wish = json!({ "deep": arguments.deep, "rate": arguments.rate.map(Size::bytes) });
    arguments.instance.ask(Method::POST, "/api/v1/scrub", Some(wish)).await?;
    let told = ended(arguments).await?;
    let (totals, orphans) = (told.totals(), told.orphans);
    let (held, held_orphans) = (held(&told.locations), told.locations.iter().map(|l| l.held_orphans).sum::<u64>());
    if told.locations.iter().filter_map(|location| location.last.as_ref()).any(|run| run.stopped) {
        return Err(Refused::Told("the run was stopped before its end".into()));
    }
    let (mut damaged, mut printed) = (0, Exit::Done);
    let mut page = told;
    loop {
        for object in &page.damaged {
            damaged += 1;
            let line = print(&line(arguments.json, object));
            printed = if printed == Exit::Done { line } else { printed };
        }
        let Some(next) = &page.next else { break };
        page = ask(arguments, &format!("/api/v1/scrub?{next}")).await?;
    }
    let Totals { objects, bytes, repaired, .. } = totals;
    let last = if arguments.json {
        let end = json!({
            "event": "end", "objects": objects, "bytes": bytes, "repaired": repaired, "damaged": damaged, "orphans": orphans,
            "held_orphans": held_orphans,
        });
        print(&format!("{end}\n"))
    } else {
        let repaired = if repaired == 0 { String::new() } else { format!(", {repaired} whole again") };
        let orphans = if orphans == 0 { String::new() } else { format!(", {orphans} that nothing names") };
        print(&format!("{objects} objects looked at, {bytes} bytes read: {damaged} damaged{repaired}{orphans}\n{held}"))
    };
    Ok(if damaged > 0 || last != Exit::Done { Exit::Failed } else { printed })
}

/// What to do about objects that nothing names and that are kept because they are many.
fn held(locations: &[Location]) -> String {
    let held = locations.iter().filter(|location| location.held_orphans > 0);
    held.map(|Location { location, held_orphans, .. }| {
        format!(
            "{held_orphans} objects at {location} that nothing names are kept: so many are as if metadata were older than \
             the store. If a backup of metadata was restored, restore a newer one; if they are really nobody's, run \
             `roadstead scrub --reap-orphans`\n"
        )
    })
    .collect()
}

/// A damaged object, for a script or for a person.
fn line(json: bool, object: &Damaged) -> String {
    if json {
        let Damaged { location, key, digest, kind, found_at, repositories } = object;
        let event = json!({
            "event": "damaged", "location": location, "key": key, "digest": digest, "kind": kind, "found_at": found_at,
            "repositories": repositories,
        });
        return format!("{event}\n");
    }
    let links =
        if object.repositories.is_empty() { "no repository".to_owned() } else { object.repositories.join(", ") };
    format!("{} {} at {}: {} (linked by {links})\n", object.kind, object.digest, object.location, object.key)
}

/// Waits for the end of the run.
async fn ended(arguments: &Arguments) -> Result<Told, Refused> {
    // Progress overwrites itself, which only a terminal shows well.
    let progress = !arguments.json && stderr().is_terminal();
    loop {
        // Whose blobs are damaged is asked once, for what is printed.
        let told = ask(arguments, "/api/v1/scrub?progress=true").await?;
        if !told.running {
            complain(if progress { "\r\x1b[K" } else { "" });
            return ask(arguments, "/api/v1/scrub").await;
        }
        if let (Some(FAILURES..), Some(error)) = (told.failures, &told.last_error) {
            return Err(Refused::Told(format!("the run cannot go on, and does when this has passed: {error}")));
        }
        let totals = told.totals();
        if progress {
            complain(&format!("\r{} of {} objects, {} bytes read", totals.objects, totals.of, totals.bytes));
        } else if arguments.json {
            let Totals { objects, of, bytes, .. } = totals;
            print(&format!("{}\n", json!({ "event": "progress", "objects": objects, "of": of, "bytes": bytes })));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn ask(arguments: &Arguments, path: &str) -> Result<Told, Refused> {
    arguments.instance.ask(Method::GET, path, None).await?.whole().await
}
