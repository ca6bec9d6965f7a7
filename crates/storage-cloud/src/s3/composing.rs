//! Joining staged objects inside of the server.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use opendal::Buffer;
use roadstead_storage::{Error, ErrorKind, ObjectKey, Part};

use super::S3;
use super::writing::{InParts, new_mark};

/// Objects looked at, or copied, at a time.
const AT_ONCE: usize = 8;
/// Fewer bytes than this no server copies as a part.
const COPIED: u64 = 5 << 20;
/// Bytes of one copy at most: a server copies while we wait for its answer.
const LARGEST_COPY: u64 = 512 << 20;

impl S3 {
    /// [`Engine::compose`](roadstead_storage::Engine::compose). One whole object is copied as it is; others become the
    /// parts of a new one, of which those too small for a part are read and sent.
    pub(super) async fn join(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error> {
        // Their order is that of the parts, so the first that is wrong is told.
        let looks: Vec<_> = parts.iter().map(|part| self.size_of(part)).collect();
        let sizes: Vec<u64> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let counted: Vec<(&Part, u64)> = parts.iter().zip(sizes).filter(|(part, _)| part.length > 0).collect();
        match counted[..] {
            [] => self.put(key, Buffer::new(), &new_mark()).await.map(drop),
            [(part, size)] if part.length == size && size <= LARGEST_COPY => {
                self.vacant(key).await?;
                let copied = self.client.sure.copy(part.key.as_str(), key.as_str()).await;
                copied.map(drop).map_err(|error| self.failed("copy", &part.key, &error))
            }
            _ => {
                let mark = new_mark();
                // What is too small to be copied passes through here.
                let small: u64 = counted.iter().map(|(part, _)| part.length).filter(|length| *length < COPIED).sum();
                let small = usize::try_from(small.min(COPIED * 2 * AT_ONCE as u64)).unwrap_or(usize::MAX);
                let mut share = self.memory.share();
                share.hold(small).await?;
                let at_once = if share.is_place() { 1 } else { AT_ONCE };
                let mut whole = InParts::begin(self, key, &mark, at_once, share).await?;
                for (part, _) in counted {
                    let mut at = 0;
                    while at < part.length {
                        let end = part.length.min(at + LARGEST_COPY);
                        whole.copy(&part.key, at, end).await?;
                        at = end;
                    }
                }
                whole.finish(&mark).await.map(drop)
            }
        }
    }

    /// The size of a part's object, which must not be smaller than the part.
    async fn size_of(&self, part: &Part) -> Result<u64, Error> {
        let size = self.look(&part.key).await?.size;
        if size < part.length {
            let error = Error::too_short(&part.key, size, part.length);
            return Err(Error::new(ErrorKind::Corrupt, format!("{}: {error}", self.place)));
        }
        Ok(size)
    }
}
