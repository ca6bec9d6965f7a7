//! Writing: one request for a small object, parts for a large one.
//!
//! Bytes are collected until they are more than one request carries; then they become parts, and a part is sent while the
//! next is collected. Nothing stands under the key before the last request of `finish`. A request whose answer is lost is
//! repeated, and its repetition may be told that the object is there: each writer marks its object, so that it knows its
//! own.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use opendal::{Buffer, Metadata};
use roadstead_storage::{Error, ErrorKind, ObjectKey, ObjectStat, Writer};
use uuid::Uuid;

use super::memory::Share;
use super::{S3, stat_of};

/// The name of the mark among the metadata of an object.
pub(super) const MARK: &str = "roadstead-writer";
/// Parts that are sent at a time while there is memory for it.
const PARTS_AT_ONCE: usize = 2;
/// Parts in memory then: beside those that are sent one that waits for it, and one that is collected.
const PARTS_IN_MEMORY: usize = PARTS_AT_ONCE + 2;
/// So many parts are sent as one object in one request: in parts they would take five.
const PARTS_IN_ONE: usize = 2;
/// And so many bytes more: a step of an upload is two parts, and ends with the chunks that came together with its last byte.
const ALONG: usize = 2 << 20;
/// After so many parts the next ones are twice as large: an object may have 10,000.
const PARTS_OF_A_SIZE: usize = 1_000;
/// Larger than this no part grows, which is enough for objects of 1 TiB: parts stand in memory.
const LARGEST_PART: usize = 256 << 20;
/// The pauses between looks for an object whose parts are being put together, in milliseconds.
const JOINING: [u64; 5] = [100, 200, 400, 800, 1_600];

/// An object that is sent in parts. Dropped before it is done, what was sent is given up in the background.
pub(super) struct InParts {
    engine: S3,
    key: ObjectKey,
    writer: Option<opendal::Writer>,
    /// What it may hold.
    share: Option<Share>,
}

impl InParts {
    pub(super) async fn begin(
        engine: &S3,
        key: &ObjectKey,
        mark: &str,
        at_once: usize,
        share: Share,
    ) -> Result<Self, Error> {
        let writer = engine.client.sure.writer_with(key.as_str()).if_not_exists(true);
        let writer = writer.user_metadata([(MARK.to_owned(), mark.to_owned())]).concurrent(at_once).await;
        let writer = writer.map_err(|error| engine.failed("write", key, &error))?;
        Ok(Self { engine: engine.clone(), key: key.clone(), writer: Some(writer), share: Some(share) })
    }

    fn writer(&mut self) -> Result<&mut opendal::Writer, Error> {
        let gone = || Error::new(ErrorKind::Other, format!("the writer of {} has ended", self.key));
        self.writer.as_mut().ok_or_else(gone)
    }

    pub(super) async fn write(&mut self, bytes: Vec<Bytes>) -> Result<(), Error> {
        let sent = self.writer()?.write(Buffer::from(bytes)).await;
        sent.map_err(|error| self.engine.failed("write", &self.key, &error))
    }

    /// Adds bytes `from` to `to` of another object of the bucket, without reading them where the server can.
    pub(super) async fn copy(&mut self, part: &ObjectKey, from: u64, to: u64) -> Result<(), Error> {
        let copied = self.writer()?.copy_from(part.as_str(), from..to).await;
        copied.map_err(|error| self.engine.failed("copy", part, &error))
    }

    /// Puts the parts together. The object is whole then, or not there.
    pub(super) async fn finish(mut self, mark: &str) -> Result<Metadata, Error> {
        let done = match self.engine.vacant(&self.key).await {
            Ok(()) => match self.writer()?.close().await {
                Ok(done) => Ok(done),
                Err(error) => {
                    let error = self.engine.failed("write", &self.key, &error);
                    self.engine.ours_in_time(&self.key, mark, error).await
                }
            },
            Err(error) => Err(error),
        };
        match done {
            Ok(done) => {
                self.writer = None;
                Ok(done)
            }
            Err(error) => {
                self.abort()
                    .await
                    .unwrap_or_else(|left| tracing::debug!(error = %left, "parts of a failed upload stay"));
                Err(error)
            }
        }
    }

    pub(super) async fn abort(mut self) -> Result<(), Error> {
        match self.writer.take() {
            Some(mut writer) => writer.abort().await.map_err(|error| self.engine.failed("give up", &self.key, &error)),
            None => Ok(()),
        }
    }
}

impl Drop for InParts {
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            let (key, share) = (self.key.clone(), self.share.take());
            self.engine.in_background(async move {
                if let Err(error) = writer.abort().await {
                    tracing::debug!(%error, %key, "parts of an upload that was given up stay until they are swept");
                }
                // Until now it held its parts.
                drop(share);
            });
        }
    }
}

/// A new object.
pub(super) struct NewObject {
    engine: S3,
    key: ObjectKey,
    mark: String,
    /// What makes no part yet.
    held: Vec<Bytes>,
    held_bytes: usize,
    /// What it may hold as long as it has no parts.
    share: Option<Share>,
    /// What has become parts.
    parts: Option<InParts>,
    sent_parts: usize,
    sent_bytes: u64,
}

impl NewObject {
    pub(super) fn new(engine: &S3, key: &ObjectKey) -> Self {
        Self {
            engine: engine.clone(),
            key: key.clone(),
            mark: new_mark(),
            held: Vec::new(),
            held_bytes: 0,
            share: Some(engine.memory.share()),
            parts: None,
            sent_parts: 0,
            sent_bytes: 0,
        }
    }

    /// Whether what is held makes a part.
    fn has_part(&self) -> bool {
        match self.parts {
            Some(_) => self.held_bytes >= self.part_size(),
            None => self.held_bytes > in_one(self.engine.part_size),
        }
    }

    /// Bytes of the next part. Parts of one size are all that some servers take, so they grow late.
    fn part_size(&self) -> usize {
        part_size(self.engine.part_size, self.sent_parts)
    }

    async fn send(&mut self, bytes: Vec<Bytes>, length: usize) -> Result<(), Error> {
        if self.parts.is_none() {
            let mut share = self.share.take().unwrap_or_else(|| self.engine.memory.share());
            let part = self.engine.part_size;
            let at_once = if !share.is_place() && share.grow(part.saturating_mul(PARTS_IN_MEMORY)) {
                PARTS_AT_ONCE
            } else {
                share.hold(in_one(part)).await?;
                1
            };
            self.parts = Some(InParts::begin(&self.engine, &self.key, &self.mark, at_once, share).await?);
        }
        if let Some(parts) = &mut self.parts {
            // Parts that have grown are few, and not waited for: who waits for more might hold what others wait for.
            if length > self.engine.part_size
                && let Some(share) = parts.share.as_mut().filter(|share| !share.is_place())
            {
                share.grow(length.saturating_mul(PARTS_IN_MEMORY));
            }
            parts.write(bytes).await?;
        }
        self.sent_parts += 1;
        self.sent_bytes += length as u64;
        Ok(())
    }

    /// The first `length` of the bytes held.
    fn cut(&mut self, length: usize) -> Vec<Bytes> {
        let mut cut = std::mem::take(&mut self.held);
        let mut over = self.held_bytes - length;
        while over > 0
            && let Some(mut last) = cut.pop()
        {
            let keep = last.len().saturating_sub(over);
            let tail = last.split_off(keep);
            over -= tail.len();
            self.held.insert(0, tail);
            if !last.is_empty() {
                cut.push(last);
            }
        }
        self.held_bytes -= length;
        cut
    }
}

#[async_trait]
impl Writer for NewObject {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        // What is more becomes parts at once, which are counted as such.
        let most = in_one(self.engine.part_size);
        for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()) {
            if let Some(share) = &mut self.share {
                share.hold((self.held_bytes + chunk.len()).min(most)).await?;
            }
            self.held_bytes += chunk.len();
            self.held.push(chunk);
            while self.has_part() {
                let length = self.part_size();
                let part = self.cut(length);
                self.send(part, length).await?;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        // Parts are sent as they fill up, and count only when all are put together.
        std::future::ready(Ok(())).boxed()
    }

    async fn finish(mut self: Box<Self>) -> Result<ObjectStat, Error> {
        let size = self.sent_bytes + self.held_bytes as u64;
        let held = std::mem::take(&mut self.held);
        let done = match self.parts.take() {
            None => self.engine.put(&self.key, Buffer::from(held), &self.mark).await?,
            Some(mut parts) => {
                if !held.is_empty() {
                    parts.write(held).await?;
                }
                parts.finish(&self.mark).await?
            }
        };
        Ok(ObjectStat { size, ..stat_of(&done) })
    }

    async fn abort(mut self: Box<Self>) -> Result<(), Error> {
        match self.parts.take() {
            Some(parts) => parts.abort().await,
            None => Ok(()),
        }
    }
}

pub(super) fn new_mark() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Bytes up to which an object is sent in one request. One upload may hold them in any case, which is also enough to send
/// one part and collect the next.
pub(super) fn in_one(part_size: usize) -> usize {
    part_size.saturating_mul(PARTS_IN_ONE).saturating_add(ALONG)
}

fn part_size(first: usize, sent: usize) -> usize {
    let doublings = u32::try_from(sent / PARTS_OF_A_SIZE).unwrap_or(u32::MAX).min(16);
    first.saturating_mul(1 << doublings).min(LARGEST_PART.max(first))
}

impl S3 {
    /// Publishes an object in one request.
    pub(super) async fn put(&self, key: &ObjectKey, bytes: Buffer, mark: &str) -> Result<Metadata, Error> {
        let put = self.client.sure.write_with(key.as_str(), bytes).if_not_exists(true);
        match put.user_metadata([(MARK.to_owned(), mark.to_owned())]).await {
            Ok(done) => Ok(done),
            Err(error) => self.ours(key, mark, self.failed("write", key, &error)).await,
        }
    }

    /// The object under `key` if it is the one that `mark` stands for, written by a request whose answer was lost; else
    /// `error`.
    pub(super) async fn ours(&self, key: &ObjectKey, mark: &str, error: Error) -> Result<Metadata, Error> {
        match self.client.sure.stat(key.as_str()).await {
            Ok(found) if found.user_metadata().is_some_and(|all| all.get(MARK).is_some_and(|its| its == mark)) => {
                Ok(found)
            }
            Ok(_) if error.kind() == ErrorKind::AlreadyExists => Err(self.occupied(key)),
            _ => Err(error),
        }
    }

    /// The same of parts that are put together. When the answer to that was lost, its repetition hears that there is no
    /// such upload, perhaps before the object is there.
    async fn ours_in_time(&self, key: &ObjectKey, mark: &str, error: Error) -> Result<Metadata, Error> {
        // Servers that do not tell what is not there deny it.
        let gone = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied);
        let mut found = self.ours(key, mark, error).await;
        for pause in JOINING.iter().filter(|_| gone) {
            match found {
                Ok(done) => return Ok(done),
                Err(error) => {
                    tokio::time::sleep(Duration::from_millis(*pause)).await;
                    found = self.ours(key, mark, error).await;
                }
            }
        }
        found
    }

    fn occupied(&self, key: &ObjectKey) -> Error {
        Error::new(ErrorKind::AlreadyExists, format!("{}: an object {key} exists already", self.place))
    }

    /// `AlreadyExists` when something stands under `key`. Not every server looks by itself when parts are put together.
    pub(super) async fn vacant(&self, key: &ObjectKey) -> Result<(), Error> {
        match self.client.sure.stat(key.as_str()).await {
            Ok(_) => Err(self.occupied(key)),
            Err(error) if error.kind() == opendal::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.failed("look at", key, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_a_tebibyte_has_fewer_than_ten_thousand_parts() {
        let (mut bytes, mut parts) = (0_u64, 0_usize);
        while bytes < 1 << 40 {
            bytes += part_size(5 << 20, parts) as u64;
            parts += 1;
        }
        assert!(parts < 10_000, "{parts} parts");
        assert_eq!(part_size(8 << 20, 999), 8 << 20);
        assert_eq!(part_size(8 << 20, 1_000), 16 << 20);
        assert_eq!(part_size(1 << 30, 9_000), 1 << 30);
    }
}
