//! Starting and stopping the hiqlite node, and what is asked of a running one.
//!
//! hiqlite panics on some faults of its directory and waits for ever on others, so it starts in a task of its own
//! and against a clock; either becomes an [`OpenError`].

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use hiqlite::{Client, LogSync, Node, NodeConfig, SnapshotPolicy};

use crate::directory::{Directory, Secrets};
use crate::durable::make_directory;
use crate::peers::{FIRST, Listen, Peers};
use crate::{OpenError, Options};

/// The name of the SQLite file in hiqlite's directory.
pub(crate) const DATABASE: &str = "metadata.db";

/// One WAL file. A log entry must fit into one; a batch has at most 1 MiB, and this is also what is preallocated.
const WAL_BYTES: u32 = 16 << 20;

/// Connections that read. They hold no more than what a statement takes.
const READERS: usize = 4;

/// Of the database, for each log entry between two snapshots.
const BYTES_PER_ENTRY: u64 = 64 << 10;
/// Between two snapshots of a database however large.
const MOST_ENTRIES: u64 = 20_000;
/// Of what the log may have until there is a snapshot, for each entry: what a few pushes write together.
const LOG_BYTES_PER_ENTRY: u64 = 12 << 10;
/// However little that is.
const LEAST_ENTRIES: u64 = 20;

/// Setting this makes hiqlite delete its log and snapshots when it starts.
const RESET: &str = "HQL_DANGER_RAFT_STATE_RESET";

/// How often a node that is starting is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What this node knows about itself and its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Leader, and the only one who votes.
    Alone,
    /// Leader of several.
    Leader,
    /// Somebody else leads.
    Follower,
    /// No leader is known.
    Leaderless,
    /// The Raft core stopped, for the reason given; it does not start again by itself.
    Stopped(String),
}

/// Starts the node and waits until everything in its log is applied.
pub(crate) async fn start(
    directory: &Directory,
    options: &Options,
    peers: &Peers,
    secrets: Secrets,
    entries: u64,
) -> Result<Client, OpenError> {
    if std::env::var_os(RESET).is_some() {
        return Err(OpenError::Environment(RESET));
    }
    let listen = peers.listen().map_err(OpenError::io("find loopback ports for", directory.path()))?;
    let config = config(directory, options, peers, &listen, secrets, entries)?;
    make_directory(&directory.raft()).map_err(OpenError::io("make directory", &directory.raft()))?;

    let failed = |reason: String| match tells_of_damage(&reason) {
        true => OpenError::Damaged { file: directory.raft(), reason },
        false => OpenError::Start { directory: directory.path().to_owned(), reason },
    };
    let starting = tokio::spawn(hiqlite::start_node(config));
    let client = match tokio::time::timeout(options.timings.open, starting).await {
        Ok(Ok(started)) => started.map_err(|e| failed(e.to_string()))?,
        Ok(Err(panic)) => return Err(failed(panic.to_string())),
        Err(_) => return Err(not_ready(directory, options, "no leader was elected".to_owned())),
    };
    let database = directory.database();
    match catch_up(|| state(&client, &database), options.timings.open).await {
        CatchUp::Done => Ok(client),
        CatchUp::Stopped(reason) => Err(failed(reason)),
        CatchUp::Late(progress) => Err(not_ready(directory, options, progress)),
    }
}

/// Whether hiqlite did not start because of what it found on the disk: its log's record of itself, for example, which
/// nothing here checks before.
fn tells_of_damage(reason: &str) -> bool {
    ["CRC", "CHKSUM", "ntegrity", "orrupt", "malformed", "not a database", "Missing wal file", "Missing logs"]
        .iter()
        .any(|word| reason.contains(word))
}

fn not_ready(directory: &Directory, options: &Options, progress: String) -> OpenError {
    OpenError::NotReady { directory: directory.path().to_owned(), within: options.timings.open, progress }
}

/// How far a node that is starting came.
#[derive(Debug, Clone, Copy)]
struct State {
    led: bool,
    applied: Option<u64>,
    /// The last log entry.
    last: Option<u64>,
    /// Bytes of the database and of its journal: one entry alone, a migration, may take minutes.
    written: u64,
}

async fn state(client: &Client, database: &Path) -> Result<State, String> {
    let metrics = client.metrics_db().await.map_err(|e| e.to_string())?;
    metrics.running_state.as_ref().map_err(|fatal| fatal.to_string())?;
    Ok(State {
        led: metrics.current_leader.is_some(),
        applied: metrics.last_applied.map(|id| id.index),
        last: metrics.last_log_index,
        written: written(database),
    })
}

#[allow(clippy::disallowed_methods, reason = "the metadata directory is a store of its own; no blob engine reaches it")]
fn written(database: &Path) -> u64 {
    let journal = database.with_extension("db-wal");
    [database, &journal].into_iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum()
}

#[derive(Debug, PartialEq, Eq)]
enum CatchUp {
    Done,
    Stopped(String),
    Late(String),
}

/// Waits until all that stands in the log is applied, for as long as it goes on. hiqlite's own wait returns at once on a
/// single node, and a node that was killed replays its log after it elected itself: until then it would answer from the
/// past.
async fn catch_up<F, S>(state: S, standstill: Duration) -> CatchUp
where
    S: Fn() -> F,
    F: Future<Output = Result<State, String>>,
{
    let mut reached = (false, None, 0);
    let mut since = Instant::now();
    loop {
        let State { led, applied, last, written } = match state().await {
            Ok(state) => state,
            Err(reason) => return CatchUp::Stopped(reason),
        };
        if led && applied.is_some() && applied >= last {
            return CatchUp::Done;
        }
        if (led, applied, written) != reached {
            reached = (led, applied, written);
            since = Instant::now();
        }
        if since.elapsed() >= standstill {
            let (applied, last) = (applied.unwrap_or(0), last.unwrap_or(0));
            return CatchUp::Late(format!("{applied} of {last} log entries applied"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Stops the node, and answers whether it did; if not, the lock stays for as long as the process lives. Boxed as
/// [`opening::open`](crate::opening::open) is.
pub(crate) fn stop<'a>(client: &'a Client, directory: &'a mut Directory) -> BoxFuture<'a, bool> {
    // A panic inside, where hiqlite expects one of its dead threads to answer, must not reach the caller.
    let client = client.clone();
    Box::pin(async move {
        let stopped = tokio::spawn(async move { client.shutdown().await }).await;
        let reason = match stopped {
            Ok(Ok(())) => return true,
            Ok(Err(e)) => e.to_string(),
            Err(e) => e.to_string(),
        };
        tracing::error!(reason, "metadata did not stop cleanly; the next start replays the log");
        directory.keep_locked();
        false
    })
}

/// What the node is now. From memory.
pub(crate) async fn role(client: &Client) -> Role {
    let metrics = match client.metrics_db().await {
        Ok(metrics) => metrics,
        Err(e) => return Role::Stopped(e.to_string()),
    };
    if let Err(fatal) = &metrics.running_state {
        return Role::Stopped(fatal.to_string());
    }
    match metrics.current_leader {
        None => Role::Leaderless,
        Some(leader) if leader != metrics.id => Role::Follower,
        Some(_) if metrics.membership_config.voter_ids().eq([metrics.id]) => Role::Alone,
        Some(_) => Role::Leader,
    }
}

fn config(
    directory: &Directory,
    options: &Options,
    peers: &Peers,
    listen: &Listen,
    secrets: Secrets,
    entries: u64,
) -> Result<NodeConfig, OpenError> {
    let raft = directory.raft();
    let data_dir = raft.to_str().ok_or_else(|| OpenError::Start {
        directory: directory.path().to_owned(),
        reason: "its path is not UTF-8".to_owned(),
    })?;
    let timings = &options.timings;
    let mut raft_config = NodeConfig::default_raft_config(entries);
    raft_config.heartbeat_interval = millis(timings.heartbeat);
    raft_config.election_timeout_min = millis(timings.election);
    raft_config.election_timeout_max = 2 * millis(timings.election);
    raft_config.snapshot_policy = SnapshotPolicy::LogsSinceLast(entries);
    let name = Node {
        id: FIRST,
        // hiqlite listens on the port of this entry and on the host of `listen_addr_*`. It stores the entry in the
        // log at the very first start only, and reads the stored one from then on.
        addr_raft: format!("{}:{}", peers.raft(FIRST).ip(), listen.raft_port),
        addr_api: format!("{}:{}", peers.api(FIRST).ip(), listen.api_port),
    };
    Ok(NodeConfig {
        node_id: FIRST,
        nodes: vec![name],
        listen_addr_raft: listen.host.to_string().into(),
        listen_addr_api: listen.host.to_string().into(),
        data_dir: data_dir.to_owned().into(),
        filename_db: DATABASE.into(),
        read_pool_size: READERS,
        // An answer means that the entry is on the disk. The default syncs five times a second.
        wal_sync: LogSync::Immediate,
        wal_size: WAL_BYTES,
        raft_config,
        secret_raft: secrets.raft,
        secret_api: secrets.api,
        health_check_delay: Duration::ZERO,
        ..NodeConfig::default()
    })
}

/// How many log entries lie between two snapshots. hiqlite's only writer makes a snapshot (`VACUUM INTO`), and commits
/// wait for it, for a time in proportion to the database. So that one of some GB does not spend most of its time so,
/// snapshots of it are rarer, up to a bound. The longer log to be replayed after a crash grows with what putting such a
/// snapshot back takes anyway. With little memory, where the log may have no more than `bytes`, there are as many as a
/// [nudge](crate::nudge) is worth.
#[allow(clippy::disallowed_methods, reason = "the metadata directory is a store of its own; no blob engine reaches it")]
pub(crate) fn entries_per_snapshot(options: &Options, database: &Path, bytes: u64) -> u64 {
    let size = std::fs::metadata(database).map_or(0, |file| file.len());
    options
        .entries_per_snapshot
        .max((size / BYTES_PER_ENTRY).min(MOST_ENTRIES))
        .min((bytes / LOG_BYTES_PER_ENTRY).max(LEAST_ENTRIES))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
