//! Moves a request body through the hash into a writer, reading ahead while the store is writing.

use std::task::Poll;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use roadstead_oci::Hasher;
use roadstead_storage::Writer;
use tokio_util::sync::CancellationToken;

use crate::{BodyError, Error, Result};

/// A request body.
pub type ByteStream = BoxStream<'static, std::result::Result<Bytes, BodyError>>;

/// At most so many bytes wait for the store while it writes.
const AHEAD: usize = 1 << 20;

/// A body on its way: what has been taken from it, and how it ended.
pub(crate) struct Pump {
    body: ByteStream,
    stop: CancellationToken,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    ended: Option<std::result::Result<(), BodyError>>,
}

impl Pump {
    /// `stop` ends the body with [`BodyError::Superseded`]; a write under way is finished first, so that no byte
    /// reaches the store after the pump has returned.
    pub(crate) fn new(body: ByteStream, stop: CancellationToken) -> Self {
        Self { body, stop, waiting: Vec::new(), waiting_bytes: 0, ended: None }
    }

    /// Moves on until about `step` more bytes are written or the body ends. `Ok(false)` when it has ended; when it
    /// broke off, the error comes after all that arrived has been written.
    pub(crate) async fn advance(&mut self, hasher: &mut Hasher, writer: &mut dyn Writer, step: u64) -> Result<bool> {
        let stop = hasher.length().saturating_add(step);
        while hasher.length() < stop {
            if self.is_over().await? {
                return Ok(false);
            }
            let chunks = std::mem::take(&mut self.waiting);
            self.waiting_bytes = 0;
            let written = async {
                let write = writer.write(chunks.clone());
                tokio::pin!(write);
                // The first poll hands the bytes to the store, which writes them while we hash.
                let first = futures::poll!(&mut write);
                for chunk in &chunks {
                    hasher.update(chunk);
                }
                match first {
                    Poll::Ready(done) => done,
                    Poll::Pending => write.await,
                }
            };
            tokio::pin!(written);
            loop {
                let ahead = self.ended.is_none() && self.waiting_bytes < AHEAD;
                tokio::select! {
                    biased;
                    done = &mut written => break done?,
                    () = self.take_one(), if ahead => {}
                }
            }
        }
        Ok(true)
    }

    /// Whether the body has ended and all of it is written, as soon as that is known. Cancel-safe.
    pub(crate) async fn is_over(&mut self) -> Result<bool> {
        while self.waiting.is_empty() {
            match &self.ended {
                Some(Ok(())) => return Ok(true),
                Some(Err(error)) => return Err(Error::Body(error.clone())),
                None => self.take_one().await,
            }
        }
        Ok(false)
    }

    /// Takes one chunk from the body, or its end. Cancel-safe.
    async fn take_one(&mut self) {
        let next = tokio::select! {
            biased;
            () = self.stop.cancelled() => Some(Err(BodyError::Superseded)),
            next = self.body.next() => next,
        };
        match next {
            Some(Ok(chunk)) => {
                self.waiting_bytes += chunk.len();
                if !chunk.is_empty() {
                    self.waiting.push(chunk);
                }
            }
            Some(Err(error)) => self.ended = Some(Err(error)),
            None => self.ended = Some(Ok(())),
        }
    }
}
