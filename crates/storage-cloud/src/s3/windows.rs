//! Windows of objects in memory: each is fetched once for all who read the object at the time.
//!
//! When an image is rolled out, many nodes pull the same layers at once. Whoever is behind takes from memory what the one
//! in front has fetched, and so catches up with it; the store is asked about once. As long as more than one reads an
//! object, its windows stay behind the reader who is done with them while nobody needs their memory. Who does not get on
//! with one gives it up to who needs its memory, and asks for the rest once more.
//!
//! Memory is no cache: what a window brings the store had a minute ago at most, and this process has not deleted or
//! replaced since. Who reads a part of an object reads it from the store: so scrub looks at what is stored.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use opendal::{Buffer, Metadata};
use roadstead_storage::{Error, ErrorKind, ObjectKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::reading::Source;

/// Bytes of a window.
pub(super) const WINDOW: u64 = 8 << 20;
/// Bytes that all readers of a store have ahead at most. Where more of them read at a time, one connection each is enough
/// to keep machine and network busy.
const MOST: usize = 64 << 20;
/// So long after it was asked for a window is given to who comes to it. Without that one that came damaged would stay as
/// long as clients repeat their pulls of it.
const GOOD: Duration = Duration::from_secs(60);
/// Who takes nothing from a window for so long is slow, or hangs.
const REST: Duration = Duration::from_secs(5);

/// Who reads what from a store at the time.
#[derive(Debug)]
pub(super) struct Readers {
    /// Windows that all of them may hold.
    memory: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many read each object.
    objects: HashMap<ObjectKey, usize>,
    /// Those that somebody holds, as few as there is memory for.
    windows: Vec<Weak<Window>>,
    /// Windows that a reader has taken and others of the same object may come to, the oldest first.
    kept: Vec<Arc<Window>>,
}

impl State {
    fn has_company(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|readers| *readers > 1)
    }

    fn held(&self) -> impl Iterator<Item = Arc<Window>> {
        self.windows.iter().filter_map(Weak::upgrade)
    }

    /// The window of this range, of the object of this tag.
    fn window(&self, key: &ObjectKey, range: &Range<u64>, etag: Option<&str>) -> Option<Arc<Window>> {
        // Whoever reads an object that was another before has one of another tag.
        let wanted = |window: &Window| window.asked.as_deref() == etag && window.range == *range;
        self.held().find(|window| window.shared.as_ref() == Some(key) && wanted(window) && window.is_good())
    }

    /// Has a window give way to one that is needed more. `false` when none can.
    fn give_way(&mut self) -> bool {
        if !self.kept.is_empty() {
            drop(self.kept.remove(0));
            return true;
        }
        let gives_way = |window: &Weak<Window>| window.upgrade().is_some_and(|window| window.give_way());
        let Some(at) = self.windows.iter().position(gives_way) else { return false };
        self.windows.remove(at);
        true
    }
}

impl Readers {
    /// Beside the `bytes` that uploads may hold.
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        let memory = Arc::new(Semaphore::new((bytes / 4).min(MOST) / WINDOW as usize));
        Arc::new(Self { memory, state: Mutex::default() })
    }

    /// One more reads this object, as all do who read all of it.
    pub(super) fn join(self: &Arc<Self>, key: &ObjectKey) -> Reader {
        *self.state().objects.entry(key.clone()).or_default() += 1;
        Reader { all: self.clone(), shared: Some(key.clone()) }
    }

    /// One reads something that is nobody else's.
    pub(super) fn alone(self: &Arc<Self>) -> Reader {
        Reader { all: self.clone(), shared: None }
    }

    /// Nobody who comes from now on is given what the store had under this key.
    pub(super) fn forget(&self, key: &ObjectKey) {
        let mut state = self.state();
        let of = |window: &Arc<Window>| window.shared.as_ref() == Some(key);
        state.held().filter(of).for_each(|window| window.progress().old = true);
        let unkept: Vec<_> = state.kept.extract_if(.., |window| of(window)).collect();
        drop(state);
        drop(unkept);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who reads an object.
#[derive(Debug)]
pub(super) struct Reader {
    all: Arc<Readers>,
    /// The object, where others may read the same.
    shared: Option<ObjectKey>,
}

impl Reader {
    /// Whether somebody else reads the same object.
    pub(super) fn has_company(&self) -> bool {
        self.shared.as_ref().is_some_and(|key| self.all.state().has_company(key))
    }

    /// This window of the object of `source`, if somebody fetches or holds it.
    pub(super) fn held(&self, source: &Source, range: &Range<u64>) -> Option<Fetched> {
        let window = self.all.state().window(self.shared.as_ref()?, range, source.tag());
        window.map(Fetched::of)
    }

    /// The same, fetched if it is not there and there is memory for it.
    pub(super) fn fetched(&self, source: &Source, range: Range<u64>) -> Option<Fetched> {
        let mut state = self.all.state();
        let held = self.shared.as_ref().and_then(|key| state.window(key, &range, source.tag()));
        if let Some(window) = held {
            return Some(Fetched::of(window));
        }
        let memory = loop {
            match self.all.memory.clone().try_acquire_owned() {
                Ok(memory) => break memory,
                Err(_) if state.give_way() => {}
                Err(_) => return None,
            }
        };
        let window = Window::fetch(source, self.shared.clone(), range, memory);
        state.windows.retain(|window| window.strong_count() > 0);
        state.windows.push(Arc::downgrade(&window));
        Some(Fetched::of(window))
    }

    /// Keeps a window that was taken for those who come behind.
    pub(super) fn keep(&self, taken: Fetched) {
        let Some(key) = &self.shared else { return };
        let mut state = self.all.state();
        if state.has_company(key)
            && taken.window.is_good()
            && !state.kept.iter().any(|kept| Arc::ptr_eq(kept, &taken.window))
        {
            state.kept.push(taken.window);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(key) = &self.shared else { return };
        let mut state = self.all.state();
        let Some(readers) = state.objects.get_mut(key) else { return };
        *readers -= 1;
        let left = *readers;
        if left == 0 {
            state.objects.remove(key);
        }
        // Nobody comes behind one who reads alone.
        let unkept: Vec<_> = match left {
            0 | 1 => state.kept.extract_if(.., |kept| kept.shared.as_ref() == Some(key)).collect(),
            _ => Vec::new(),
        };
        drop(state);
        // Others need not wait while that much memory is given back.
        drop(unkept);
    }
}

/// A window on its way into memory, or there. Nobody fetches it any more once nobody holds it.
#[derive(Debug)]
struct Window {
    /// The object, where all who read it may have this.
    shared: Option<ObjectKey>,
    range: Range<u64>,
    /// The tag that the object had to have.
    asked: Option<String>,
    progress: Mutex<Progress>,
    /// Changes whenever that does.
    changed: watch::Sender<()>,
    fetching: Mutex<Option<AbortOnDropHandle<()>>>,
    /// When it was asked for.
    since: Instant,
}

#[derive(Debug)]
struct Progress {
    pieces: Vec<Buffer>,
    /// Until it has given way.
    memory: Option<OwnedSemaphorePermit>,
    /// When a piece came or was taken last.
    used: Instant,
    /// What the store said of the object.
    found: Option<Metadata>,
    ended: bool,
    /// Before all of it was there, or it is there no more.
    failed: Option<ErrorKind>,
    /// The object may be another, or gone.
    old: bool,
}

/// What becomes of a window.
enum Change {
    Found(Metadata),
    Came(Buffer),
    Ended,
    Failed(ErrorKind),
}

impl Window {
    fn fetch(source: &Source, shared: Option<ObjectKey>, range: Range<u64>, memory: OwnedSemaphorePermit) -> Arc<Self> {
        let (since, memory) = (Instant::now(), Some(memory));
        let progress =
            Progress { pieces: Vec::new(), memory, used: since, found: None, ended: false, failed: None, old: false };
        let window = Arc::new(Self {
            shared,
            range,
            asked: source.tag().map(str::to_owned),
            progress: Mutex::new(progress),
            changed: watch::Sender::new(()),
            fetching: Mutex::new(None),
            since,
        });
        let task = tokio::spawn(fill(Filling(Arc::downgrade(&window)), source.clone(), window.range.clone()));
        *window.fetching.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(task));
        window
    }

    /// Whether who comes to it now may have it.
    fn is_good(&self) -> bool {
        let progress = self.progress();
        progress.failed.is_none() && !progress.old && self.since.elapsed() < GOOD
    }

    /// Gives up its memory if it is there and nobody gets on with it.
    fn give_way(&self) -> bool {
        let mut progress = self.progress();
        let in_use = progress.used.elapsed() < REST && self.since.elapsed() < GOOD;
        if !progress.ended || in_use || progress.memory.take().is_none() {
            return false;
        }
        progress.pieces = Vec::new();
        progress.failed = Some(ErrorKind::Unavailable);
        drop(progress);
        self.changed.send_replace(());
        true
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) {
        let mut progress = self.progress();
        if progress.ended {
            return;
        }
        progress.used = Instant::now();
        match change {
            Change::Found(found) => progress.found = Some(found),
            Change::Came(piece) => progress.pieces.push(piece),
            Change::Ended => progress.ended = true,
            Change::Failed(kind) => (progress.ended, progress.failed) = (true, Some(kind)),
        }
        drop(progress);
        self.changed.send_replace(());
    }
}

/// The window that a task fetches. It has ended when the task has, however that did: those who read it would wait.
struct Filling(Weak<Window>);

impl Filling {
    fn change(&self, change: Change) {
        if let Some(window) = self.0.upgrade() {
            window.change(change);
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.change(Change::Failed(ErrorKind::Unavailable));
    }
}

/// Fetches a window. What fails ends it: each reader asks once more for what it lacks, when its turn comes.
async fn fill(window: Filling, source: Source, range: Range<u64>) {
    window.change(match bring(&window.0, &source, range).await {
        Ok(()) => Change::Ended,
        Err(error) => {
            tracing::debug!(%error, "a window was not fetched");
            Change::Failed(error.kind())
        }
    });
}

async fn bring(window: &Weak<Window>, source: &Source, range: Range<u64>) -> Result<(), Error> {
    let (mut stream, found) = source.request(Some(range.clone())).await?;
    // No more than is counted, whatever comes, and no more than there is: a range that ends behind its object ends in an
    // error.
    let end = range.end.min(found.content_length());
    let mut left = usize::try_from(end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    let mut change = Change::Found(found);
    loop {
        // As long as anybody wants it.
        let Some(window) = window.upgrade() else { return Ok(()) };
        window.change(change);
        drop(window);
        let piece = if left > 0 { stream.next().await } else { None };
        let Some(piece) = piece else { return Ok(()) };
        let piece = piece.map_err(|error| source.broke(&error))?;
        let piece = piece.slice(..piece.len().min(left));
        left -= piece.len();
        change = Change::Came(piece);
    }
}

/// A window as one reader takes it.
#[derive(Debug)]
pub(super) struct Fetched {
    window: Arc<Window>,
    changed: watch::Receiver<()>,
    taken: usize,
}

impl Fetched {
    fn of(window: Arc<Window>) -> Self {
        Self { changed: window.changed.subscribe(), window, taken: 0 }
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.window.range.end
    }

    /// What the store says of the object; why not when it cannot be fetched.
    pub(super) async fn found(&mut self) -> Result<Metadata, ErrorKind> {
        let found = self.when(|progress| progress.found.clone()).await;
        found.ok_or_else(|| self.window.progress().failed.unwrap_or(ErrorKind::Unavailable))
    }

    /// The next piece; nothing when all there is was taken.
    pub(super) async fn next(&mut self) -> Option<Buffer> {
        let taken = self.taken;
        let piece = self.when(|progress| {
            let piece = progress.pieces.get(taken).cloned()?;
            progress.used = Instant::now();
            Some(piece)
        });
        let piece = piece.await?;
        self.taken += 1;
        Some(piece)
    }

    /// What `ready` answers as soon as it does; nothing when the window has ended before.
    async fn when<T>(&mut self, ready: impl Fn(&mut Progress) -> Option<T>) -> Option<T> {
        loop {
            self.changed.mark_unchanged();
            {
                let mut progress = self.window.progress();
                match ready(&mut progress) {
                    Some(it) => return Some(it),
                    None if progress.ended => return None,
                    None => {}
                }
            }
            // Always: this holds the window, which holds the sender.
            self.changed.changed().await.ok()?;
        }
    }
}
