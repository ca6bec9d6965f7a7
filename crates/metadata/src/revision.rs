//! How an engine tells that its answers may have changed, so that answers can be kept until then.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts what may have changed the answers of an engine, all of whose commits pass through one process.
///
/// The number changes when a commit begins, since from then on its effect may show, and when it ends, before it is
/// acknowledged. So an answer that was asked for and used under one number is as new as one asked for now.
#[derive(Debug, Default)]
pub struct Revision {
    number: AtomicU64,
    doubtful: AtomicBool,
}

/// A commit under way; its end changes the revision, however it ends.
#[derive(Debug)]
pub struct Changing<'a>(&'a Revision);

impl Revision {
    /// A commit begins. It ends when the answer is dropped, which must be after its effect shows and before anybody is
    /// told of it.
    pub fn changing(&self) -> Changing<'_> {
        self.number.fetch_add(1, Ordering::SeqCst);
        Changing(self)
    }

    /// A commit may take effect at any later time, unseen: from now on there is no revision.
    pub fn doubt(&self) {
        self.doubtful.store(true, Ordering::SeqCst);
    }

    /// The number now; `None` once there was a [`Revision::doubt`].
    pub fn get(&self) -> Option<u64> {
        let number = self.number.load(Ordering::SeqCst);
        (!self.doubtful.load(Ordering::SeqCst)).then_some(number)
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.number.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_changes_when_a_commit_begins_and_when_it_ends() {
        let revision = Revision::default();
        let before = revision.get().unwrap();
        let changing = revision.changing();
        let during = revision.get().unwrap();
        drop(changing);
        let after = revision.get().unwrap();
        assert!(before < during && during < after);
        revision.doubt();
        assert_eq!(revision.get(), None);
    }
}
