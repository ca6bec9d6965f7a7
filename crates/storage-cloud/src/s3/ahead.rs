//! Reading ahead: while a client takes one window of an object, the next ones come by connections of their own.
//!
//! One connection to a store brings what one connection does, and rests while its bytes are passed on. A large object is
//! therefore asked for in windows, and a client that keeps up has the next ones fetched while it takes one. All pulls
//! together hold so much as the engine was told, and nobody waits for it: who finds it used up, or is slow, reads what
//! follows from one stream, which holds nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use futures::StreamExt;
use opendal::{Buffer, BufferStream, Metadata};
use roadstead_storage::{Error, ErrorKind};
use tokio::time::Instant;

use super::reading::Source;
use super::windows::{Fetched, Reader, WINDOW};

/// Bytes of one that comes straight from the store, behind the first: few enough that a client which was slow, or found
/// no memory, is looked at again.
const ALONE: u64 = 64 << 20;
/// Windows that one client has ahead at most.
const AHEAD: usize = 2;
/// A client has shown how fast it is when it took so much of a window.
const SHOWN: u64 = 1 << 20;
/// It keeps up when it takes so many bytes in a second. A slower one needs no second connection.
const FAST: u64 = 8 << 20;

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
            Self::Fetched(window) => window.next().await.map(Ok),
        }
    }
}

/// The windows behind the one that a client takes.
pub(super) struct Ahead {
    reader: Reader,
    windows: VecDeque<Fetched>,
    /// Where the last of them ends, or the one that is taken.
    next: u64,
    end: u64,
    /// Taken of this window, and since when.
    taken: u64,
    since: Instant,
}

impl Ahead {
    /// Behind a window that ends at `next`, of an object of which `end` is wanted.
    pub(super) fn new(reader: Reader, next: u64, end: u64) -> Self {
        Self { reader, windows: VecDeque::new(), next, end, taken: 0, since: Instant::now() }
    }

    /// So many more bytes were taken. Fetches what comes next for one that keeps up.
    pub(super) fn fill(&mut self, source: &Source, bytes: u64) {
        self.taken += bytes;
        while self.windows.len() < AHEAD && self.next < self.end && self.keeps_up() {
            let Some(window) = self.reader.fetched(source, self.following()) else { return };
            self.next = window.end();
            self.windows.push_back(window);
        }
    }

    fn following(&self) -> Range<u64> {
        self.next..self.end.min(self.next + WINDOW)
    }

    fn keeps_up(&self) -> bool {
        self.taken >= SHOWN && self.since.elapsed() <= Duration::from_secs(1).mul_f64(self.taken as f64 / FAST as f64)
    }

    /// The window that follows `taken`, and where it ends; without pieces it is not fetched.
    pub(super) fn next(&mut self, source: &Source, taken: Option<Pieces>) -> (Option<Pieces>, u64) {
        if let Some(Pieces::Fetched(taken)) = taken {
            self.reader.keep(taken);
        }
        // One that is slow would hold what somebody else has fetched.
        let fast = self.keeps_up();
        (self.taken, self.since) = (0, Instant::now());
        let next = match self.windows.pop_front() {
            None if fast => self.reader.held(source, &self.following()),
            next => next,
        };
        match next {
            Some(window) => {
                let edge = window.end();
                self.next = self.next.max(edge);
                (Some(Pieces::Fetched(window)), edge)
            }
            None => {
                self.next = self.end.min(self.next + ALONE);
                (None, self.next)
            }
        }
    }
}

/// The first window of an object that somebody else reads, too, and what the store says of the object. Nothing when there is
/// no memory for it, or it cannot be had: then it is asked for by each alone, and hears why. An error when that may pass.
pub(super) async fn first(reader: &Reader, source: &Source) -> Result<Option<(Fetched, Metadata)>, Error> {
    if !reader.has_company() {
        return Ok(None);
    }
    let Some(mut window) = reader.fetched(source, 0..WINDOW) else { return Ok(None) };
    match window.found().await {
        Ok(found) => Ok(Some((window, found))),
        Err(ErrorKind::Unavailable) => Err(source.away()),
        Err(_) => Ok(None),
    }
}
