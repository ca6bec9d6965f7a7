//! The watchdog: what [`Sql::status`](roadstead_metadata::Sql::status) answers, and when the process has to end.
//!
//! hiqlite's own health check says 200 while its Raft core is dead. A core that stopped does not start again, so the
//! owner is told ([`Health::fatal`]) and ends the process with a clear code. A full disk is not fatal. Nor is a look that
//! panics: it is a fault like any other. Without the watchdog itself nobody would notice anything: its end is the engine's.
//!
//! A commit that waits for long waits for a disk that hangs, or for a snapshot: hiqlite's only writer makes it, which takes
//! a while for a database of some gigabytes. As long as the snapshot grows, the disk does not hang.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hiqlite::Client;
use roadstead_metadata::Status;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::disk::{self, Reserve};
use crate::footing::Footing;
use crate::node::{self, Role};
use crate::snapshots::Snapshots;

/// What is known about the engine's health, shared by all that ask and all that learn.
#[derive(Debug)]
pub(crate) struct Health {
    status: watch::Sender<Status>,
    fatal: watch::Sender<Option<String>>,
    /// The state machine could not carry out a log entry; it is behind its log until it is rebuilt.
    diverged: AtomicBool,
    /// Since when a commit has been under way.
    committing: Mutex<Option<Instant>>,
    /// This node is the only member, so that nobody commits but this process.
    alone: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            status: watch::Sender::new(Status::Writable),
            fatal: watch::Sender::new(None),
            diverged: AtomicBool::new(false),
            committing: Mutex::default(),
            alone: AtomicBool::new(false),
        }
    }
}

impl Health {
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.fatal.subscribe()
    }

    /// The engine cannot go on in this process. The first reason stays.
    pub(crate) fn fatal(&self, reason: &str) {
        let first = self.fatal.send_if_modified(|known| match known {
            Some(_) => false,
            None => {
                *known = Some(reason.to_owned());
                true
            }
        });
        if first {
            tracing::error!(reason, "metadata engine stopped");
            self.status.send_replace(Status::Down(reason.to_owned()));
        }
    }

    /// The state machine missed a log entry: nothing may be acknowledged on top of it.
    pub(crate) fn diverged(&self, reason: &str) {
        if !self.diverged.swap(true, Ordering::SeqCst) {
            tracing::error!(reason, "metadata: the database could not carry out what the log has");
        }
    }

    /// A commit is under way while the answer lives.
    pub(crate) fn committing(&self) -> UnderWay<'_> {
        self.lock_committing().replace(Instant::now());
        UnderWay(self)
    }

    /// How long the commit that is under way has been.
    fn waited(&self) -> Duration {
        self.lock_committing().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock_committing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_diverged(&self) -> bool {
        self.diverged.load(Ordering::SeqCst)
    }

    /// What the node is now, as far as it says who commits.
    pub(crate) fn note(&self, role: &Role) {
        self.alone.store(*role == Role::Alone, Ordering::SeqCst);
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::SeqCst)
    }

    pub(crate) fn is_fatal(&self) -> bool {
        self.fatal.borrow().is_some()
    }

    /// The owner ended it.
    pub(crate) fn stopped(&self) {
        self.status.send_replace(Status::Down("shut down".to_owned()));
    }

    pub(crate) fn set(&self, status: Status) {
        self.status.send_if_modified(|known| {
            let changed = *known != status;
            if changed {
                match &status {
                    Status::Writable => tracing::info!("metadata writable again"),
                    Status::ReadOnly(why) | Status::Down(why) => tracing::warn!(why, "metadata not writable"),
                }
                *known = status;
            }
            changed
        });
    }
}

/// A commit under way; ends when dropped.
pub(crate) struct UnderWay<'a>(&'a Health);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock_committing().take();
    }
}

/// What the watchdog looks after, besides the node.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) footing: Arc<Footing>,
    /// A commit that takes longer waits for a disk that hangs.
    pub(crate) patience: Duration,
    /// The directory of hiqlite's log files.
    pub(crate) logs: PathBuf,
    pub(crate) snapshots: Snapshots,
    /// Between two looks.
    pub(crate) every: Duration,
}

/// Looks at the node and the disk, until the task is aborted or the engine stopped for good.
pub(crate) async fn watch(client: Client, health: Arc<Health>, watched: Watched) {
    let Watched { reserve, footing, patience, logs, snapshots, every } = watched;
    let mut looking: Option<Look> = None;
    let mut copying: Option<JoinHandle<()>> = None;
    let copies = Arc::new(Copies { snapshots, complaint: Mutex::default() });
    let mut growth = Growth::new(Instant::now());
    let _end = End(Arc::clone(&health));
    while !health.is_fatal() {
        let role = node::role(&client).await;
        health.note(&role);
        let waited = health.waited();
        let look = looking.take().unwrap_or_else(|| {
            let (logs, space, footing) = (logs.clone(), Arc::clone(&reserve), Arc::clone(&footing));
            let copies = Arc::clone(&copies);
            // Only what may not be written is tried: a registry at rest shall let its disk rest.
            let writable = health.status() == Status::Writable;
            tokio::task::spawn_blocking(move || {
                if writable {
                    footing.look()?
                } else {
                    footing.try_writing()?
                };
                disk::fill_holes(&logs);
                space.take();
                space.short().map_or(Ok(copies.snapshots.unfinished()), Err)
            })
        });
        let low = match look_within(look, patience).await {
            Looked::Now(Err(why)) => Some(why),
            Looked::Now(Ok(unfinished)) => {
                let waited = growth.standstill(waited, unfinished, Instant::now());
                let text = || format!("the disk of metadata hangs: a commit waits for {} s", waited.as_secs());
                (waited >= patience).then(text)
            }
            Looked::Later(look) => {
                looking = Some(look);
                Some("the disk of metadata hangs".to_owned())
            }
            Looked::Never => return,
        };
        // A large snapshot takes a while; the looks go on meanwhile.
        if low.is_none() && copying.as_ref().is_none_or(JoinHandle::is_finished) {
            let copies = Arc::clone(&copies);
            copying = Some(tokio::task::spawn_blocking(move || _ = copies.keep()));
        }
        assess(&health, role, low);
        tokio::time::sleep(every).await;
    }
}

/// Answers the bytes of the snapshot that is being made.
type Look = JoinHandle<Result<u64, String>>;

/// How a look at the disk went.
enum Looked {
    Now(Result<u64, String>),
    /// The disk does not answer; the look goes on.
    Later(Look),
    /// The process ends.
    Never,
}

async fn look_within(mut look: Look, patience: Duration) -> Looked {
    match tokio::time::timeout(patience, &mut look).await {
        Ok(Ok(looked)) => Looked::Now(looked),
        Ok(Err(e)) if e.is_panic() => Looked::Now(Err(format!("a look at the disk of metadata failed: {e}"))),
        Ok(Err(_)) => Looked::Never,
        Err(_) => Looked::Later(look),
    }
}

/// How the snapshot grows that is being made.
struct Growth {
    bytes: u64,
    moved: Instant,
}

/// Bytes in a second of a disk that is slow and does not hang.
const SLOWEST_SYNC: u64 = 50 << 20;

impl Growth {
    fn new(now: Instant) -> Self {
        Self { bytes: 0, moved: now }
    }

    /// For how long nothing has moved: neither the commit that waits, nor the snapshot, of which there are `bytes`.
    fn standstill(&mut self, waited: Duration, bytes: u64, now: Instant) -> Duration {
        if bytes != self.bytes {
            *self = Self { bytes, moved: now };
        }
        // A snapshot that is written is synced, and shows nothing of how far that came.
        let syncing = Duration::from_secs(bytes / SLOWEST_SYNC);
        waited.min(now.saturating_duration_since(self.moved).saturating_sub(syncing))
    }
}

/// Held by the watchdog: when it panics, nobody is left to say how the engine is.
struct End(Arc<Health>);

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fatal("the watchdog of metadata panicked; the log says where");
        }
    }
}

/// Keeps the newest snapshot copied, and complains once about each reason why it cannot.
struct Copies {
    snapshots: Snapshots,
    complaint: Mutex<Option<String>>,
}

impl Copies {
    /// Answers whether it said anything.
    fn keep(&self) -> bool {
        let fault = self.snapshots.keep().err().map(|e| e.to_string());
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if *complaint == fault {
            return false;
        }
        match &fault {
            Some(error) => tracing::warn!(error, "cannot copy the metadata snapshot"),
            None => tracing::info!("the metadata snapshot is copied again"),
        }
        *complaint = fault;
        true
    }
}

/// Puts together what the node says and what the disk says; `low` is why the disk allows no writing.
fn assess(health: &Health, role: Role, low: Option<String>) {
    match role {
        Role::Stopped(reason) => health.fatal(&reason),
        _ if health.has_diverged() && low.is_none() => health.fatal(
            "the database missed a log entry because the disk was full or failing; starting again replays the log",
        ),
        _ if health.has_diverged() => health.set(Status::ReadOnly("the disk was full or failing".to_owned())),
        Role::Leaderless => health.set(Status::ReadOnly("no leader".to_owned())),
        Role::Follower => health.set(Status::ReadOnly("another member leads".to_owned())),
        Role::Alone | Role::Leader => health.set(low.map_or(Status::Writable, Status::ReadOnly)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]

    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_look_that_panics_is_a_fault_and_not_the_last_look() {
        let look = tokio::task::spawn_blocking(|| -> Result<u64, String> { panic!("out of range") });
        match look_within(look, Duration::from_secs(10)).await {
            Looked::Now(Err(why)) => assert!(why.contains("out of range"), "{why}"),
            _ => panic!("the watchdog would look no more"),
        }
    }

    #[tokio::test]
    async fn without_the_watchdog_the_engine_ends() {
        let health = Arc::<Health>::default();
        let end = End(Arc::clone(&health));
        let watchdog = tokio::spawn(async move {
            let _end = end;
            panic!("out of range");
        });
        assert!(watchdog.await.is_err());
        assert!(health.is_fatal());
        assert!(matches!(health.status(), Status::Down(_)));
        drop(End(Arc::<Health>::default()));
    }

    #[test]
    fn a_snapshot_that_grows_is_no_disk_that_hangs() {
        let root = tempfile::tempdir().unwrap();
        let originals = root.path().join("raft/state_machine/snapshots");
        let snapshots = Snapshots::new(&root.path().join("raft"), root.path());
        assert_eq!(snapshots.unfinished(), 0);
        fs::create_dir_all(&originals).unwrap();
        fs::write(originals.join("00000000-0000-0000-0000-000000000001"), "whole").unwrap();
        fs::write(originals.join("00000000-0000-0000-0000-000000000002.tmp"), "half").unwrap();
        assert_eq!(snapshots.unfinished(), 4);

        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let mut growth = Growth::new(start);
        let mut look = |waited, bytes, at| growth.standstill(seconds(waited), bytes, start + seconds(at)).as_secs();
        assert_eq!(look(10, 0, 100), 10, "there is none, and a commit waits");
        assert_eq!(look(12, 1 << 20, 102), 0);
        assert_eq!(look(20, 2 << 20, 110), 0);
        assert_eq!(look(30, 2 << 20, 120), 10, "it grows no more");
        assert_eq!(look(31, 0, 121), 0, "it is done");
        assert_eq!(look(32, 1 << 30, 122), 0);
        assert_eq!(look(52, 1 << 30, 142), 0, "a GiB takes its time to be synced");
        assert_eq!(look(62, 1 << 30, 152), 10, "but not for ever");
        assert_eq!(look(63, 0, 153), 0);
        assert_eq!(look(1, 0, 170), 1);
    }

    #[test]
    fn a_snapshot_that_cannot_be_copied_is_complained_about_once() {
        let root = tempfile::tempdir().unwrap();
        let originals = root.path().join("raft/state_machine/snapshots");
        fs::create_dir_all(&originals).unwrap();
        fs::write(originals.join("00000000-0000-0000-0000-000000000001"), "snapshot").unwrap();
        // Where the copies belong stands a file.
        fs::write(root.path().join("snapshots"), "").unwrap();
        let snapshots = Snapshots::new(&root.path().join("raft"), root.path());
        let copies = Copies { snapshots, complaint: Mutex::default() };
        assert_eq!([copies.keep(), copies.keep(), copies.keep()], [true, false, false]);
        fs::remove_file(root.path().join("snapshots")).unwrap();
        assert_eq!([copies.keep(), copies.keep()], [true, false]);
    }
}
