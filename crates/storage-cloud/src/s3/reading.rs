//! Reading by windows, some of them ahead, and going on where the server's stream broke.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use opendal::{Buffer, BufferStream, Metadata, Operator};
use roadstead_storage::{Body, Error, ErrorKind, ObjectKey, ObjectRead, ObjectStat};

use super::ahead::{self, Ahead, Pieces};
use super::errors::{self, Said};
use super::windows::WINDOW;
use super::{S3, stat_of};

/// How often one read may be taken up again without a byte of it having come.
const RESUMES: u32 = 12;
/// How often it may be opened before its first: a client that waits is better told soon that there is nothing to wait for.
const OPENINGS: u32 = 5;
/// The pause before the first of them; it doubles.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

impl S3 {
    /// [`Engine::read`](roadstead_storage::Engine::read): one request, whose answer tells size and version.
    pub(super) async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error> {
        // What no server need be asked, but whether the object is there.
        if range.as_ref().is_some_and(|range| range.start >= range.end || range.end > i64::MAX as u64) {
            return Err(self.not_within(key, range).await);
        }
        let (operator, place) = (self.client.plain.clone(), self.place.clone());
        let mut source = Source { operator, place, key: key.clone(), etag: None };
        let reader = if range.is_none() { self.readers.join(key) } else { self.readers.alone() };
        let mut pauses = Pauses::default();
        let shared = match ahead::first(&reader, &source).await {
            Ok(shared) => shared,
            // One who is alone would have asked by now, too.
            Err(error) => {
                pauses.pause(&source, error).await?;
                None
            }
        };
        let (pieces, found, first) = match shared {
            // Nothing would tell that the next window is of the same object as this one.
            Some((window, found)) if strong_tag(&found).is_some() => {
                (Pieces::Fetched(window), found, Some(first_window(None)))
            }
            _ => self.ask(&source, range.clone(), pauses).await?,
        };
        let stat = stat_of(&found);
        // A range that ends beyond the object is answered with what there is of it.
        let range = stat.resolve(key, range)?;
        source.etag = strong_tag(&found);
        let edge = first.map_or(range.end, |first| first.end.min(range.end));
        let body = Resuming {
            ahead: Ahead::new(reader, edge, range.end),
            source,
            pauses: Pauses::default(),
            pieces: Some(pieces),
            rest: Buffer::new(),
            at: range.start,
            edge,
            end: range.end,
        };
        Ok(ObjectRead { size: stat.size, range, version: stat.version, body: body.into_body() })
    }

    /// Asks for what is wanted, or the first window of it: its pieces, what the store says of the object, and which range
    /// was asked for.
    async fn ask(
        &self,
        source: &Source,
        range: Option<Range<u64>>,
        mut pauses: Pauses,
    ) -> Result<(Pieces, Metadata, Option<Range<u64>>), Error> {
        let mut first = Some(first_window(range.as_ref()));
        loop {
            match source.request(first.clone()).await {
                // Nothing would tell that the next window is of the same object: all of it at once.
                Ok((_, found)) if first.is_some() && strong_tag(&found).is_none() && first != range => {
                    first = range.clone()
                }
                Ok((stream, found)) => return Ok((Pieces::Direct(stream), found, first)),
                // An empty object has no first byte, and not every server knows parts of one.
                Err(error)
                    if matches!(error.kind(), ErrorKind::InvalidRange | ErrorKind::Other)
                        && range.is_none()
                        && first.is_some() =>
                {
                    first = None
                }
                Err(error) if error.kind() == ErrorKind::InvalidRange => {
                    return Err(self.not_within(&source.key, range).await);
                }
                Err(error) if error.retryable() && pauses.count + 1 < OPENINGS => pauses.pause(source, error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Why a range cannot be read.
    async fn not_within(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Error {
        match self.look(key).await.and_then(|stat: ObjectStat| stat.resolve(key, range)) {
            Err(error) => error,
            // It has grown since, which objects do not.
            Ok(_) => Error::new(ErrorKind::Unavailable, format!("{}: {key} changed while it was read", self.place)),
        }
    }
}

/// What is asked for first: the rest may come by other requests.
fn first_window(range: Option<&Range<u64>>) -> Range<u64> {
    let (start, end) = range.map_or((0, u64::MAX), |range| (range.start, range.end));
    start..end.min(start.saturating_add(WINDOW))
}

/// The tag that names these very bytes.
fn strong_tag(found: &Metadata) -> Option<String> {
    found.etag().filter(|etag| !etag.starts_with("W/")).map(str::to_owned)
}

/// Where the bytes come from.
#[derive(Clone)]
pub(super) struct Source {
    operator: Operator,
    place: String,
    key: ObjectKey,
    /// Of the object that was opened: no byte of another may follow its first.
    etag: Option<String>,
}

impl Source {
    /// Its bytes of `range`, all without one, as a stream of pieces.
    pub(super) async fn request(&self, range: Option<Range<u64>>) -> Result<(BufferStream, Metadata), Error> {
        let opened = async {
            let mut reader = self.operator.reader_with(self.key.as_str());
            if let Some(etag) = &self.etag {
                reader = reader.if_match(etag);
            }
            let reader = reader.await?;
            let mut stream = match range {
                Some(range) => reader.into_stream(range).await?,
                None => reader.into_stream(..).await?,
            };
            let found = stream.metadata().await?;
            // Not every server looks at what it was asked to match.
            if self.etag.is_some() && strong_tag(&found).is_some_and(|its| Some(its) != self.etag) {
                return Err(opendal::Error::new(opendal::ErrorKind::ConditionNotMatch, "another object"));
            }
            Ok((stream, found))
        };
        opened.await.map_err(|error: opendal::Error| match error.kind() {
            opendal::ErrorKind::ConditionNotMatch => {
                let text = format!("{}: {} is not the object any more that it was", self.place, self.key);
                Error::new(ErrorKind::Corrupt, text)
            }
            opendal::ErrorKind::NotFound => {
                let text = format!("{}: no object {}", self.place, self.key);
                Error::new(ErrorKind::NotFound, text).with_source(Said::of(&error))
            }
            _ => errors::error(&self.place, "read", self.key.as_str(), &error),
        })
    }

    /// The tag that the object has to have.
    pub(super) fn tag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// What broke a stream.
    pub(super) fn broke(&self, error: &opendal::Error) -> Error {
        errors::error(&self.place, "read on", self.key.as_str(), error)
    }

    /// What did not come when all asked for it.
    pub(super) fn away(&self) -> Error {
        Error::new(ErrorKind::Unavailable, format!("{}: cannot read {} now", self.place, self.key))
    }

    fn ended(&self, left: u64) -> Error {
        Error::new(ErrorKind::Unavailable, format!("{}: {} ended {left} bytes too early", self.place, self.key))
    }
}

/// Pauses in a row.
#[derive(Default)]
struct Pauses {
    count: u32,
}

impl Pauses {
    /// Waits a little longer each time; `error` when it has been often enough.
    async fn pause(&mut self, source: &Source, error: Error) -> Result<(), Error> {
        self.count += 1;
        if self.count >= RESUMES {
            return Err(error);
        }
        tracing::debug!(key = %source.key, %error, "read is taken up again");
        let pause = PAUSE.saturating_mul(1 << self.count.min(10)).min(LONGEST);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// A body on its way, taken up again where it breaks.
struct Resuming {
    source: Source,
    pauses: Pauses,
    /// Those that follow this window.
    ahead: Ahead,
    /// Of this window, from `at` behind `rest`.
    pieces: Option<Pieces>,
    /// Of the piece that came last.
    rest: Buffer,
    at: u64,
    /// Where the window ends.
    edge: u64,
    end: u64,
}

impl Resuming {
    fn into_body(self) -> Body {
        stream::try_unfold(self, |mut body| async move { Ok(body.next().await?.map(|chunk| (chunk, body))) }).boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.at < self.end {
            if let Some(chunk) = self.chunk() {
                return Ok(Some(chunk));
            }
            if self.at == self.edge {
                let taken = self.pieces.take();
                (self.pieces, self.edge) = self.ahead.next(&self.source, taken);
            }
            let broken = match &mut self.pieces {
                // However it broke, it is asked for once more.
                Some(pieces) => match pieces.next(&self.source).await {
                    Some(Ok(piece)) => {
                        // A slow read of a large object meets many cuts, and comes to its end.
                        if !piece.is_empty() {
                            self.pauses.count = 0;
                        }
                        self.rest = piece;
                        continue;
                    }
                    Some(Err(error)) => error,
                    None => self.source.ended(self.edge - self.at),
                },
                None => match self.source.request(Some(self.at..self.edge)).await {
                    Ok((stream, _)) => {
                        self.pieces = Some(Pieces::Direct(stream));
                        continue;
                    }
                    Err(error) if error.retryable() => error,
                    Err(error) => return Err(error),
                },
            };
            self.pieces = None;
            // Nothing tells that what follows would be of the same object.
            if self.source.etag.is_none() {
                return Err(broken);
            }
            self.pauses.pause(&self.source, broken).await?;
        }
        Ok(None)
    }

    /// Of what has come already.
    fn chunk(&mut self) -> Option<Bytes> {
        loop {
            let chunk = Iterator::next(&mut self.rest)?;
            let left = usize::try_from(self.edge - self.at).unwrap_or(usize::MAX);
            let chunk = chunk.slice(..chunk.len().min(left));
            self.at += chunk.len() as u64;
            if !chunk.is_empty() {
                self.ahead.fill(&self.source, chunk.len() as u64);
                return Some(chunk);
            }
        }
    }
}
