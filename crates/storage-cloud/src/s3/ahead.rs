//! Reading ahead: while a client takes one window of an object, the next ones come by connections of their own.
//!
//! One connection to a store brings what one connection does, and rests while its bytes are passed on. A large object is
//! therefore asked for in windows, and a client that keeps up has the next ones fetched while it takes one. All pulls
//! together hold so much as the engine was told, and nobody waits for it: who finds it used up, or is slow, reads what
//! follows from one stream, which holds nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use opendal::{Buffer, BufferStream};
use roadstead_storage::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::reading::Source;

/// Bytes of a window.
pub(super) const WINDOW: u64 = 8 << 20;
/// Bytes of one that comes straight from the store, behind the first: few enough that a client which was slow, or found
/// no memory, is looked at again.
const ALONE: u64 = 64 << 20;
/// Windows that one client has ahead at most.
const AHEAD: usize = 2;
/// A client has shown how fast it is when it took so much of a window.
const SHOWN: u64 = 1 << 20;
/// It keeps up when it takes so many bytes in a second. A slower one needs no second connection.
const FAST: u64 = 8 << 20;

/// Bytes that all readers of a store have ahead at most. Where more of them read at a time, one connection each is enough
/// to keep machine and network busy.
const MOST: usize = 64 << 20;

/// Windows that all readers of a store may hold, beside the `bytes` that uploads may.
pub(super) fn windows(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((bytes / 4).min(MOST) / WINDOW as usize))
}

/// Pieces of one window.
pub(super) enum Pieces {
    /// As the server sends them.
    Direct(BufferStream),
    /// As they were fetched.
    Fetched(Fetched),
}

impl Pieces {
    pub(super) async fn next(&mut self, source: &Source) -> Option<Result<Buffer, Error>> {
        match self {
            Self::Direct(stream) => stream.next().await.map(|piece| piece.map_err(|error| source.broke(&error))),
            Self::Fetched(fetched) => fetched.pieces.recv().await,
        }
    }
}

/// A window on its way into memory, or there.
pub(super) struct Fetched {
    range: Range<u64>,
    pieces: mpsc::UnboundedReceiver<Result<Buffer, Error>>,
    _task: AbortOnDropHandle<()>,
    _held: OwnedSemaphorePermit,
}

impl Fetched {
    fn begin(source: &Source, range: Range<u64>, held: OwnedSemaphorePermit) -> Self {
        let (send, pieces) = mpsc::unbounded_channel();
        let (source, wanted) = (source.clone(), range.clone());
        // No more than is counted, whatever comes.
        let mut left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let task = tokio::spawn(async move {
            let mut stream = match source.request(Some(wanted)).await {
                Ok((stream, _)) => stream,
                Err(error) => return drop(send.send(Err(error))),
            };
            // What fails ends it: the reader asks once more, when its turn comes.
            while left > 0
                && let Some(piece) = stream.next().await
            {
                let piece = piece.map(|piece| piece.slice(..piece.len().min(left)));
                left -= piece.as_ref().map_or(left, Buffer::len);
                if send.send(piece.map_err(|error| source.broke(&error))).is_err() {
                    return;
                }
            }
        });
        Self { range, pieces, _task: AbortOnDropHandle::new(task), _held: held }
    }
}

/// The windows behind the one that a client takes.
pub(super) struct Ahead {
    windows: VecDeque<Fetched>,
    memory: Arc<Semaphore>,
    /// Where the last of them ends, or the one that is taken.
    next: u64,
    end: u64,
    /// Taken of this window, and since when.
    taken: u64,
    since: Instant,
}

impl Ahead {
    /// Behind a window that ends at `next`, of an object of which `end` is wanted.
    pub(super) fn new(memory: &Arc<Semaphore>, next: u64, end: u64) -> Self {
        Self { windows: VecDeque::new(), memory: memory.clone(), next, end, taken: 0, since: Instant::now() }
    }

    /// So many more bytes were taken. Fetches what comes next for one that keeps up.
    pub(super) fn fill(&mut self, source: &Source, bytes: u64) {
        self.taken += bytes;
        while self.windows.len() < AHEAD && self.next < self.end && self.keeps_up() {
            let Ok(held) = self.memory.clone().try_acquire_owned() else { return };
            let range = self.next..self.end.min(self.next + WINDOW);
            self.next = range.end;
            self.windows.push_back(Fetched::begin(source, range, held));
        }
    }

    fn keeps_up(&self) -> bool {
        self.taken >= SHOWN && self.since.elapsed() <= Duration::from_secs(1).mul_f64(self.taken as f64 / FAST as f64)
    }

    /// The next window, and where it ends; without pieces it is not fetched.
    pub(super) fn next(&mut self) -> (Option<Pieces>, u64) {
        (self.taken, self.since) = (0, Instant::now());
        match self.windows.pop_front() {
            Some(fetched) => {
                let edge = fetched.range.end;
                (Some(Pieces::Fetched(fetched)), edge)
            }
            None => {
                self.next = self.end.min(self.next + ALONE);
                (None, self.next)
            }
        }
    }
}
