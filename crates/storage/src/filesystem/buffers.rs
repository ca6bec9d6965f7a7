//! Buffers for the chunks of large bodies, used again: a new one for each chunk would cost more than reading into it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Size of a buffer in bytes.
pub(super) const BUFFER: usize = 256 * 1024;
/// Buffers kept while nobody uses them.
const KEPT: usize = 16;

/// The buffers that nobody uses now.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer of [`BUFFER`] bytes with whatever the last user left in it.
    pub(super) fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().pop();
        kept.unwrap_or_else(|| vec![0; BUFFER])
    }

    /// Takes a buffer back.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        let mut kept = self.0.lock();
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }

    /// The first `length` bytes of a buffer of ours; it comes back once nobody holds them any more.
    pub(super) fn lend(self: &Arc<Self>, buffer: Vec<u8>, length: usize) -> Bytes {
        Bytes::from_owner(Lent { buffer, length, home: Arc::clone(self) })
    }
}

struct Lent {
    buffer: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_holder_lets_go() {
        let buffers = Arc::new(Buffers::default());
        let bytes = buffers.lend(buffers.take(), 3);
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_eq!((slice.len(), buffers.0.lock().len()), (2, 0));
        drop(slice);
        assert_eq!(buffers.0.lock().len(), 1);
        let many: Vec<_> = (0..2 * KEPT).map(|_| buffers.lend(buffers.take(), 1)).collect();
        drop(many);
        assert_eq!(buffers.0.lock().len(), KEPT);
    }
}
