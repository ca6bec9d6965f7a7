//! Users of a htpasswd file.
//!
//! The file is looked at every second, and taken over whole when it changed, two looks found it the same since, as nobody
//! writes it any more, and every line of it can be used; otherwise what was read before goes on. A user whose line went, or has another hash, is refused as soon as the file was read:
//! what was given for the password that is gone, a token of the token endpoint included, does not hold any more.

mod entries;

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use roadstead_registry::identities::{Outcome, Passwords, Source, Verdict};
use rustix::fs::OFlags;
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use entries::{Entries, is_right};

/// How often to look.
const LOOK: Duration = Duration::from_secs(1);
/// After so many looks it is read whatever it looks like: there are file systems that tell changes late or not at all.
const AGAIN: u32 = 60;
/// Ten thousand users.
const LARGEST: u64 = 1 << 20;
/// So much of a password counts: the rest is not part of the hash.
const COUNTS: usize = 72;

/// Why a file cannot be used. No text has anything of a line but the user's name.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    /// It cannot be read.
    #[error("cannot read {}: {error}; auth.htpasswd.path must name a file that the server may read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A line of it is of no use.
    #[error("{}:{line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and the way out.
        why: String,
    },
}

/// What tells one version of the file from another; `None` when it cannot be looked at.
type Stamp = Option<[i128; 7]>;

/// What was found so far.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// By the look before this one.
    last: Option<Stamp>,
    /// When the file was read.
    read: Option<Stamp>,
    /// Looks since.
    looks: u32,
}

/// A htpasswd file.
pub struct Htpasswd {
    path: PathBuf,
    /// How names begin that are another source's.
    foreign: Option<String>,
    /// As it was found when it was opened.
    opened: Stamp,
    entries: RwLock<Arc<Entries>>,
    /// Why the file as it is now is not what is answered by.
    refused: RwLock<Option<String>>,
}

impl Htpasswd {
    /// Reads the file, in which no name may begin with `foreign`: those are another source's.
    pub async fn open(path: &Path, foreign: Option<&str>) -> Result<Arc<Self>, HtpasswdError> {
        // Before it is read: what changes meanwhile is noticed.
        let opened = stamp(path).await;
        let entries = RwLock::new(Arc::new(read(path, foreign).await?));
        let foreign = foreign.map(str::to_owned);
        Ok(Arc::new(Self { path: path.to_owned(), foreign, opened, entries, refused: RwLock::default() }))
    }

    /// Keeps it current while the answer lives.
    pub fn watch(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let file = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut seen = Seen { read: Some(file.opened), ..Seen::default() };
            loop {
                seen = file.look(seen).await;
                sleep(LOOK).await;
            }
        }))
    }

    /// Whether what is answered by is the file as it is.
    pub fn is_current(&self) -> bool {
        self.refused.read().is_none()
    }

    /// Takes over what changed since `seen`, and answers what there is now.
    async fn look(&self, seen: Seen) -> Seen {
        let stamp = Some(stamp(&self.path).await);
        let looks = seen.looks.saturating_add(1);
        // What was refused is tried again: it may have been read between two writes that no time tells apart.
        let due = seen.read != stamp || !self.is_current() || looks >= AGAIN;
        // Half of a file is a file, too: whoever writes it in place is waited for.
        if !due || seen.last != stamp {
            return Seen { last: stamp, looks, ..seen };
        }
        match read(&self.path, self.foreign.as_deref()).await {
            Ok(entries) => {
                let users = entries.len();
                *self.entries.write() = Arc::new(entries);
                *self.refused.write() = None;
                if users == 0 && seen.read != stamp {
                    tracing::warn!(path = %self.path.display(), "the htpasswd file has no user: nobody comes in by it");
                }
                if seen.read.is_some() && seen.read != stamp {
                    tracing::info!(path = %self.path.display(), users, "users come in as the file has them now");
                }
            }
            Err(error) => {
                let why = error.to_string();
                let before = self.refused.write().replace(why.clone());
                if before.as_ref() != Some(&why) {
                    tracing::error!(why, "the htpasswd file changed and cannot be used: what was read before goes on");
                }
            }
        }
        Seen { last: stamp, read: stamp, looks: 0 }
    }
}

#[async_trait]
impl Source for Htpasswd {
    fn name(&self) -> &str {
        "htpasswd"
    }

    fn recognizes(&self, _secret: &str) -> bool {
        false
    }

    async fn judge(&self, name: Option<&str>, secret: &str, passwords: &Passwords) -> Outcome<Verdict> {
        let entries = self.entries.read().clone();
        let entry = name.and_then(|name| entries.get(name)).cloned();
        let secret: Vec<u8> = secret.bytes().take(COUNTS).collect();
        let (known, most) = (entry.clone(), entries.most());
        let right = passwords.slowly(move || is_right(known.as_deref(), &secret, most)).await?;
        Ok(match entry {
            None => Verdict::Nobody,
            Some(entry) if right => Verdict::Right { mark: entry.mark, until: None },
            Some(_) => Verdict::Wrong,
        })
    }

    fn knows(&self, name: &str) -> bool {
        self.entries.read().get(name).is_some()
    }

    fn holds(&self, name: &str, mark: u64) -> bool {
        self.entries.read().get(name).is_some_and(|entry| entry.mark == mark)
    }
}

/// Without the hashes.
impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd").field("path", &self.path).finish_non_exhaustive()
    }
}

async fn read(path: &Path, foreign: Option<&str>) -> Result<Entries, HtpasswdError> {
    let text = text(path).await.map_err(|error| HtpasswdError::Read { path: path.to_owned(), error })?;
    Entries::read(path, &text, foreign)
}

/// What is in the file. It is opened once, without waiting for who writes to a pipe, and looked at as it was opened: what has
/// its name a moment later is another one.
async fn text(path: &Path) -> std::io::Result<String> {
    let nonblock = OFlags::NONBLOCK.bits() as i32;
    let file = tokio::fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path).await?;
    let unfit = || std::io::Error::other("not a file of at most 1 MiB");
    // Not a device that never ends, and not the log that was named by mistake.
    if !file.metadata().await?.is_file() {
        return Err(unfit());
    }
    let mut text = String::new();
    // It may grow meanwhile.
    let length = file.take(LARGEST + 1).read_to_string(&mut text).await?;
    if length as u64 > LARGEST { Err(unfit()) } else { Ok(text) }
}

/// With the time of the last change of whatever kind, which nobody can set back.
async fn stamp(path: &Path) -> Stamp {
    let found = tokio::fs::metadata(path).await.ok()?;
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()].map(i128::from);
    let [m, mn, c, cn] = times;
    Some([found.dev().into(), found.ino().into(), found.len().into(), m, mn, c, cn])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]

    use super::*;

    fn line(name: &str, password: &str) -> String {
        format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
    }

    /// A directory with such a file, and where that is.
    fn written(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    /// Looks until what was found is the same twice.
    async fn settled(file: &Htpasswd, seen: Seen) -> Seen {
        let seen = file.look(seen).await;
        file.look(seen).await
    }

    async fn verdict(file: &Htpasswd, name: &str, secret: &str) -> Verdict {
        file.judge(Some(name), secret, &Passwords::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_changed_file_is_taken_over_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let absent = Htpasswd::open(&path, None).await.unwrap_err().to_string();
        assert!(absent.contains("auth.htpasswd.path"), "{absent}");
        std::fs::write(&path, line("alice", "first one")).unwrap();
        let file = Htpasswd::open(&path, None).await.unwrap();
        let Verdict::Right { mark, until: None } = verdict(&file, "alice", "first one").await else { panic!() };
        assert_eq!(verdict(&file, "alice", "second one").await, Verdict::Wrong);
        assert_eq!(verdict(&file, "bob", "first one").await, Verdict::Nobody);
        assert_eq!(file.judge(None, "first one", &Passwords::default()).await.unwrap(), Verdict::Nobody);
        let seen = settled(&file, Seen::default()).await;
        assert!(file.holds("alice", mark) && !file.holds("bob", mark) && !file.holds("alice", mark ^ 1));

        // Broken, absent: what was read goes on.
        std::fs::write(&path, line("alice", "second one") + "bob:plain\n").unwrap();
        let seen = settled(&file, seen).await;
        assert!(!file.is_current() && file.holds("alice", mark));
        std::fs::remove_file(&path).unwrap();
        let seen = settled(&file, seen).await;
        assert!(!file.is_current() && verdict(&file, "alice", "first one").await != Verdict::Wrong);

        std::fs::write(&path, line("alice", "second one") + &line("bob", "other")).unwrap();
        let seen = settled(&file, seen).await;
        assert!(file.is_current() && !file.holds("alice", mark));
        assert_eq!(verdict(&file, "alice", "first one").await, Verdict::Wrong);
        assert!(matches!(verdict(&file, "bob", "other").await, Verdict::Right { .. }));
        // Nothing changed: nothing is read.
        assert_eq!(file.look(seen).await.looks, 1);
    }

    #[tokio::test]
    async fn a_file_that_is_being_written_is_waited_for() {
        let text = line("alice", "first one") + &line("bob", "other");
        let (_directory, path) = written(&text);
        let file = Htpasswd::open(&path, None).await.unwrap();
        let seen = settled(&file, Seen::default()).await;
        for half in [0, text.len() / 2, text.len()] {
            std::fs::write(&path, &text[..half]).unwrap();
            let _ = file.look(seen).await;
            assert!(file.knows("bob") && file.knows("alice"), "{half}");
        }
        // One that stays empty is meant.
        std::fs::write(&path, "").unwrap();
        settled(&file, seen).await;
        assert!(file.is_current() && !file.knows("alice"));
    }

    #[tokio::test]
    async fn a_change_is_noticed_though_the_time_was_set_back() {
        let (_directory, path) = written(line("alice", "first one"));
        let file = Htpasswd::open(&path, None).await.unwrap();
        let seen = settled(&file, Seen::default()).await;
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, line("carol", "first one")).unwrap();
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        settled(&file, seen).await;
        assert!(file.knows("carol") && !file.knows("alice"));
    }

    #[tokio::test]
    async fn it_is_read_each_minute_whatever_it_looks_like() {
        let (_directory, path) = written(line("alice", "first one"));
        let file = Htpasswd::open(&path, None).await.unwrap();
        let mut seen = settled(&file, Seen::default()).await;
        *file.entries.write() = Arc::default();
        for _ in 1..AGAIN {
            seen = file.look(seen).await;
            assert!(!file.knows("alice"));
        }
        file.look(seen).await;
        assert!(file.knows("alice"));
    }

    #[tokio::test]
    async fn a_pipe_and_what_is_too_large_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (pipe, large) = (directory.path().join("pipe"), directory.path().join("large"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        std::fs::write(&large, vec![b'\n'; LARGEST as usize + 1]).unwrap();
        for path in [&pipe, &large] {
            let refused = Htpasswd::open(path, None).await.unwrap_err().to_string();
            assert!(refused.contains("not a file of at most 1 MiB"), "{refused}");
        }
        std::fs::write(&large, vec![b'\n'; LARGEST as usize]).unwrap();
        Htpasswd::open(&large, None).await.unwrap();
    }

    #[tokio::test]
    async fn hashes_wait_in_a_queue_that_users_of_the_registry_do_not_wait_in() {
        let (_directory, path) = written(line("alice", "first one"));
        let (file, passwords) = (Htpasswd::open(&path, None).await.unwrap(), Passwords::default());
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        // Two run and 64 wait: that is all there is room for.
        let mut begun: Vec<_> = (0..66)
            .map(|_| {
                let wait = wait.clone();
                Box::pin(passwords.slowly(move || wait.lock().unwrap().recv().is_err()))
            })
            .collect();
        for one in &mut begun {
            assert!(futures::poll!(one).is_pending());
        }
        for name in [Some("alice"), Some("eve"), None] {
            let refused = file.judge(name, "first one", &passwords).await.unwrap_err().to_string();
            assert!(refused.contains("too many others"), "{refused}");
        }
        let own = passwords.hash("correct horse").await.unwrap();
        assert!(passwords.verify("correct horse", Some(&own)).await.unwrap());
        drop(release);
        for one in begun {
            one.await.unwrap();
        }
        assert!(matches!(file.judge(Some("alice"), "first one", &passwords).await, Ok(Verdict::Right { .. })));
    }
}
