//! Windows of objects in memory: each is fetched once for all who read the object at the time.
//!
//! When an image is rolled out, many nodes pull the same layers at once. Whoever is behind takes from memory what the one
//! in front has fetched, and so catches up with it; the store is asked about once. As long as more than one reads an
//! object, its windows stay behind the reader who is done with them while nobody needs their memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::StreamExt;
use opendal::{Buffer, Metadata};
use roadstead_storage::{Error, ObjectKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::reading::Source;

/// Bytes of a window.
pub(super) const WINDOW: u64 = 8 << 20;
/// Bytes that all readers of a store have ahead at most. Where more of them read at a time, one connection each is enough
/// to keep machine and network busy.
const MOST: usize = 64 << 20;

/// Who reads what from a store at the time.
#[derive(Debug)]
pub(super) struct Readers {
    /// Windows that all of them may hold.
    memory: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<ObjectKey, Object>,
    /// Windows that a reader has taken and others of the same object may come to, the oldest first.
    kept: Vec<Arc<Window>>,
}

/// An object that is read.
#[derive(Debug, Default)]
struct Object {
    readers: usize,
    /// By where they begin, those that somebody holds.
    windows: HashMap<u64, Weak<Window>>,
}

impl Object {
    /// The window of this range, of the object of this tag.
    fn window(&mut self, range: &Range<u64>, etag: Option<&str>) -> Option<Arc<Window>> {
        self.windows.retain(|_, window| window.strong_count() > 0);
        let window = self.windows.get(&range.start)?.upgrade()?;
        // Whoever reads a part of the object may have a shorter one at its end.
        let wanted = window.asked.as_deref() == etag && window.range == *range;
        (wanted && !window.progress().failed).then_some(window)
    }
}

impl Readers {
    /// Beside the `bytes` that uploads may hold.
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        let memory = Arc::new(Semaphore::new((bytes / 4).min(MOST) / WINDOW as usize));
        Arc::new(Self { memory, state: Mutex::default() })
    }

    /// One more reads this object.
    pub(super) fn join(self: &Arc<Self>, key: &ObjectKey) -> Reader {
        self.state().objects.entry(key.clone()).or_default().readers += 1;
        Reader { all: self.clone(), key: key.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who reads an object.
#[derive(Debug)]
pub(super) struct Reader {
    all: Arc<Readers>,
    key: ObjectKey,
}

impl Reader {
    /// Whether somebody else reads the same object.
    pub(super) fn has_company(&self) -> bool {
        self.all.state().objects.get(&self.key).is_some_and(|object| object.readers > 1)
    }

    /// This window of the object of `source`, if somebody fetches or holds it.
    pub(super) fn held(&self, source: &Source, range: &Range<u64>) -> Option<Fetched> {
        let mut state = self.all.state();
        state.objects.get_mut(&self.key)?.window(range, source.tag()).map(Fetched::of)
    }

    /// The same, fetched if it is not there and there is memory for it.
    pub(super) fn fetched(&self, source: &Source, range: Range<u64>) -> Option<Fetched> {
        let mut state = self.all.state();
        let State { objects, kept } = &mut *state;
        let object = objects.get_mut(&self.key)?;
        if let Some(window) = object.window(&range, source.tag()) {
            return Some(Fetched::of(window));
        }
        let memory = loop {
            match self.all.memory.clone().try_acquire_owned() {
                Ok(memory) => break memory,
                // What was only kept gives way.
                Err(_) if kept.is_empty() => return None,
                Err(_) => drop(kept.remove(0)),
            }
        };
        let window = Window::fetch(source, range, memory);
        object.windows.insert(window.range.start, Arc::downgrade(&window));
        Some(Fetched::of(window))
    }

    /// Keeps a window that was taken for those who come behind.
    pub(super) fn keep(&self, taken: Fetched) {
        let mut state = self.all.state();
        let company = state.objects.get(&self.key).is_some_and(|object| object.readers > 1);
        if company && !state.kept.iter().any(|kept| Arc::ptr_eq(kept, &taken.window)) {
            state.kept.push(taken.window);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.all.state();
        let Some(object) = state.objects.get_mut(&self.key) else { return };
        object.readers -= 1;
        let left = object.readers;
        if left == 0 {
            state.objects.remove(&self.key);
        }
        // Nobody comes behind one who reads alone.
        let unkept: Vec<_> = match left {
            0 | 1 => state.kept.extract_if(.., |kept| kept.key == self.key).collect(),
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
    key: ObjectKey,
    range: Range<u64>,
    /// The tag that the object had to have.
    asked: Option<String>,
    progress: Mutex<Progress>,
    /// Changes whenever that does.
    changed: watch::Sender<()>,
    fetching: Mutex<Option<AbortOnDropHandle<()>>>,
    _memory: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Progress {
    pieces: Vec<Buffer>,
    /// What the store said of the object.
    found: Option<Metadata>,
    ended: bool,
    /// Before all of it was there.
    failed: bool,
}

/// What becomes of a window.
enum Change {
    Found(Metadata),
    Came(Buffer),
    Ended,
    Failed,
}

impl Window {
    fn fetch(source: &Source, range: Range<u64>, memory: OwnedSemaphorePermit) -> Arc<Self> {
        let window = Arc::new(Self {
            key: source.key().clone(),
            range,
            asked: source.tag().map(str::to_owned),
            progress: Mutex::default(),
            changed: watch::Sender::new(()),
            fetching: Mutex::new(None),
            _memory: memory,
        });
        let task = tokio::spawn(fill(Arc::downgrade(&window), source.clone(), window.range.clone()));
        *window.fetching.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(task));
        window
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) {
        let mut progress = self.progress();
        match change {
            Change::Found(found) => progress.found = Some(found),
            Change::Came(piece) => progress.pieces.push(piece),
            Change::Ended => progress.ended = true,
            Change::Failed => (progress.ended, progress.failed) = (true, true),
        }
        drop(progress);
        self.changed.send_replace(());
    }
}

/// Fetches a window. What fails ends it: each reader asks once more for what it lacks, when its turn comes.
async fn fill(window: Weak<Window>, source: Source, range: Range<u64>) {
    let change = match bring(&window, &source, range).await {
        Ok(()) => Change::Ended,
        Err(error) => {
            tracing::debug!(%error, "a window was not fetched");
            Change::Failed
        }
    };
    if let Some(window) = window.upgrade() {
        window.change(change);
    }
}

async fn bring(window: &Weak<Window>, source: &Source, range: Range<u64>) -> Result<(), Error> {
    let (mut stream, found) = source.request(Some(range.clone())).await?;
    let mut change = Change::Found(found);
    // No more than is counted, whatever comes.
    let mut left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
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

    /// What the store says of the object; nothing when it cannot be fetched.
    pub(super) async fn found(&mut self) -> Option<Metadata> {
        self.when(|progress| progress.found.clone()).await
    }

    /// The next piece; nothing when all there is was taken.
    pub(super) async fn next(&mut self) -> Option<Buffer> {
        let taken = self.taken;
        let piece = self.when(|progress| progress.pieces.get(taken).cloned()).await?;
        self.taken += 1;
        Some(piece)
    }

    /// What `ready` answers as soon as it does; nothing when the window has ended before.
    async fn when<T>(&mut self, ready: impl Fn(&Progress) -> Option<T>) -> Option<T> {
        loop {
            self.changed.mark_unchanged();
            {
                let progress = self.window.progress();
                match ready(&progress) {
                    Some(it) => return Some(it),
                    None if progress.ended => return None,
                    None => {}
                }
            }
            // Whoever fetches it may have been ended, with the store.
            self.changed.changed().await.ok()?;
        }
    }
}
