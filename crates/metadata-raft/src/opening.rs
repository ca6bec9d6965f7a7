//! Opening a directory, in the order that makes sure nothing acknowledged is missing.
//!
//! Whose it is; that no other process has it; what was acknowledged; that hiqlite gets to see only what can be trusted;
//! hiqlite itself, until its log is replayed; and that as much came back as was acknowledged.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use futures::future::BoxFuture;
use hiqlite::Client;
use uuid::Uuid;

use crate::directory::{Directory, replace};
use crate::disk::Reserve;
use crate::footing::{Footing, Trier};
use crate::growth::{self, Growth};
use crate::high_water::{Found, Mark, Raiser};
use crate::peers::Peers;
use crate::snapshots::Snapshots;
use crate::{OpenError, Options, clean_stop, identity, log_files, log_header, memory, node, nudge, tables};

/// A directory that is open, and all that works on it.
pub(crate) struct Opened {
    pub(crate) directory: Directory,
    pub(crate) cluster: Uuid,
    pub(crate) client: Client,
    pub(crate) raiser: Raiser,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) footing: Arc<Footing>,
    pub(crate) trier: Trier,
    pub(crate) snapshots: Snapshots,
    pub(crate) growth: Arc<Growth>,
    /// Log entries between two snapshots.
    pub(crate) entries: u64,
}

/// Opens the directory that `options` name. Boxed, so that all of the engine beneath is compiled in this crate and not
/// once more in each that waits for it.
pub(crate) fn open(options: &Options) -> BoxFuture<'_, Result<Opened, OpenError>> {
    Box::pin(opened(options))
}

async fn opened(options: &Options) -> Result<Opened, OpenError> {
    let cluster = identity::claim(&options.directory, options.cluster).await?.cluster;
    let directory = Directory::lock(&options.directory)?;
    let peers = directory.once("peers.json", || Peers::draw(cluster))?;
    let secrets = directory.secrets()?;
    let mark = find_mark(&directory, options)?;
    let reserve = Arc::new(Reserve::new(directory.path(), directory.database(), options.disk_reserve));
    let snapshots = Snapshots::new(&directory.raft(), directory.path());
    let accept_lost_commits = options.accept_lost_commits;
    let prepared = tokio::task::spawn_blocking({
        let (reserve, snapshots) = (Arc::clone(&reserve), snapshots.clone());
        move || {
            // On a full disk the start itself may need what was reserved.
            let short = reserve.short().is_some();
            prepare(&directory, &snapshots, short, accept_lost_commits).map(|behind| (directory, behind))
        }
    });
    let failed = |reason: String| OpenError::Start { directory: options.directory.clone(), reason };
    let (mut directory, behind) = prepared.await.map_err(|e| failed(e.to_string()))??;

    let bound = options.bytes_per_snapshot.unwrap_or_else(|| growth::bound(memory::allowed()));
    let entries = node::entries_per_snapshot(options, &directory.database(), bound);
    let client = match node::start(&directory, options, &peers, secrets, entries).await {
        Ok(client) => client,
        Err(e) => {
            // Threads of a node that started half may still be writing.
            directory.keep_locked();
            return Err(e);
        }
    };
    let verified = async {
        let raiser = verify(&client, &directory, options, mark).await?;
        let footing = Arc::new(directory.footing()?);
        let trier = Trier::start(Arc::clone(&footing))?;
        let place = nudge::place(&client).await.map_err(failed)?;
        Ok((raiser, footing, trier, Arc::new(Growth::new(bound, place.snapshot, behind))))
    };
    match verified.await {
        Ok((raiser, footing, trier, growth)) => {
            Ok(Opened { directory, cluster, client, raiser, reserve, footing, trier, snapshots, growth, entries })
        }
        Err(e) => {
            node::stop(&client, &mut directory).await;
            Err(e)
        }
    }
}

/// Puts in order what hiqlite will start from. Answers how many bytes of log there are since the last snapshot.
fn prepare(
    directory: &Directory,
    snapshots: &Snapshots,
    short_of_space: bool,
    accept_lost_commits: bool,
) -> Result<u64, OpenError> {
    // The voucher goes last: until then a start that is cut short can be begun again.
    let trusted = clean_stop::trusted(directory)?;
    check_log(directory, snapshots, trusted, accept_lost_commits)?;
    clean_stop::consume(directory, trusted)?;
    let behind = || log_files::bytes_after(&directory.raft().join("logs"), snapshots.last_entry_of_newest()?);
    if trusted || !directory.has_data() {
        // A snapshot that nobody needs now is no reason not to start.
        return Ok(behind().unwrap_or(0));
    }
    tracing::info!("metadata was not stopped cleanly: rebuilding the database from snapshot and log");
    snapshots.rebuild(&directory.database())?;
    // Before hiqlite opens it. What cannot be copied now may be later; it is no reason not to start.
    if !short_of_space && let Err(e) = snapshots.keep() {
        tracing::warn!(error = %e, "cannot copy the metadata snapshot");
    }
    Ok(behind().unwrap_or(0))
}

/// Sees to it that hiqlite can read all of the log that it needs.
fn check_log(
    directory: &Directory,
    snapshots: &Snapshots,
    trusted: bool,
    accept_lost_commits: bool,
) -> Result<(), OpenError> {
    let logs = directory.raft().join("logs");
    log_header::mend(&logs)?;
    let base = if trusted { 0 } else { snapshots.last_entry_of_newest()? };
    match log_files::check(&logs, base)? {
        None => Ok(()),
        Some(damage) if trusted => log_files::begin_anew(directory, snapshots, &damage),
        Some(damage) if accept_lost_commits => log_files::cut_off(directory, &damage),
        Some(damage) if damage.in_newest && damage.at > 0 => {
            let aside = directory.path().join("damaged-log");
            tracing::warn!(log = %damage.file.display(), at = damage.at, copy = %aside.display(),
                "the metadata log is damaged and will be cut off there; it is kept aside as it was");
            let bytes = std::fs::read(&damage.file).map_err(OpenError::io("read", &damage.file))?;
            replace(&aside, &bytes)
        }
        Some(damage) => Err(OpenError::DamagedLog {
            directory: directory.path().to_owned(),
            file: damage.file,
            at: damage.at,
            entry: damage.entry,
            last: damage.last,
        }),
    }
}

/// The high-water mark of the directory: a new one where there is no data, otherwise the one that must be there.
fn find_mark(directory: &Directory, options: &Options) -> Result<Option<Mark>, OpenError> {
    let file = directory.path().join("high-water");
    let found = Mark::find(&file).map_err(OpenError::io("read", &file))?;
    let reason = match found {
        Found::Mark(mark) => return Ok(Some(mark)),
        Found::Missing | Found::Unreadable if !directory.has_data() => {
            return Mark::create(&file, 0).map(Some).map_err(OpenError::io("write", &file));
        }
        Found::Missing | Found::Unreadable if options.accept_lost_commits => return Ok(None),
        Found::Missing => "is missing",
        Found::Unreadable => "is unreadable",
    };
    Err(OpenError::NoHighWater { directory: directory.path().to_owned(), file, reason: reason.to_owned() })
}

/// Checks that every acknowledged commit was recovered, and begins to record the next.
async fn verify(
    client: &Client,
    directory: &Directory,
    options: &Options,
    mark: Option<Mark>,
) -> Result<Raiser, OpenError> {
    let failed = |e: hiqlite::Error| OpenError::Start { directory: directory.path().to_owned(), reason: e.to_string() };
    directory.sync()?;
    tables::make(client).await.map_err(failed)?;
    let recovered = tables::applied(client).await.map_err(failed)?;
    let mark = match mark {
        Some(mark) if recovered >= mark.count() => mark,
        Some(mark) if !options.accept_lost_commits => {
            let (directory, acknowledged) = (directory.path().to_owned(), mark.count());
            return Err(OpenError::LostCommits { directory, acknowledged, recovered });
        }
        lost => {
            let acknowledged = lost.map(|mark| mark.count());
            tracing::warn!(acknowledged, recovered, "opening metadata that lost commits, as told");
            let file = directory.path().join("high-water");
            Mark::create(&file, recovered).map_err(OpenError::io("write", &file))?
        }
    };
    Raiser::start(mark, directory.database())
}
