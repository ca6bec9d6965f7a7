//! Sending clients to the store for the bytes of blobs.
//!
//! Only GET, only to a location that works, and not twice: a client that asks again for the same blob within a minute
//! evidently could not read it there (the store has a name that it cannot resolve, a network it cannot reach), and gets the
//! bytes from here. What is remembered for that is bounded; when it is full, blobs are served from here.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use roadstead_oci::Digest;
use roadstead_registry::OpenBlob;
use tokio::time::Instant;

/// How long a URL is good: for the beginning of a download, which may then take as long as it takes.
const VALID_FOR: Duration = Duration::from_secs(300);
/// How long a client that was sent away is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many of them at most, some 10 MiB.
const MOST: usize = 1 << 16;

/// Which blob requests are redirected. Clones share what is remembered.
#[derive(Clone)]
pub struct Redirects(Arc<Inner>);

struct Inner {
    works: Box<dyn Fn(&str) -> bool + Send + Sync>,
    sent: Mutex<Sent>,
}

/// Who was sent, and when it was last looked who can be forgotten.
#[derive(Default)]
struct Sent {
    errands: HashMap<Errand, Instant>,
    looked: Option<Instant>,
}

/// Who was sent for what. Clients behind one proxy are told apart as far as it tells them apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Errand {
    remote: IpAddr,
    forwarded: u64,
    digest: Digest,
}

impl fmt::Debug for Redirects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirects").field("sent", &self.0.sent.lock().errands.len()).finish()
    }
}

impl Redirects {
    /// Redirects to locations that work, of which `works` knows by their name.
    pub fn new(works: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { works: Box::new(works), sent: Mutex::default() }))
    }

    /// Where a client reads this blob by itself; `None` when it gets it from here.
    pub(crate) async fn url(&self, blob: &OpenBlob, remote: IpAddr, forwarded: Option<&HeaderValue>) -> Option<String> {
        // Nothing to read.
        if blob.size == 0 {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        forwarded.map(HeaderValue::as_bytes).hash(&mut hasher);
        let errand = Errand { remote, forwarded: hasher.finish(), digest: blob.digest };
        // Who has just been sent is served even when nobody would be sent any more.
        if self.was_sent(&errand) {
            return None;
        }
        let url = blob.url(&*self.0.works, VALID_FOR).await?;
        self.send(errand).then_some(url)
    }

    fn was_sent(&self, errand: &Errand) -> bool {
        self.0.sent.lock().errands.get(errand).is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    /// Remembers a client that is sent now; `false` when it was before, or too many were.
    fn send(&self, errand: Errand) -> bool {
        let now = Instant::now();
        let mut sent = self.0.sent.lock();
        let Sent { errands, looked } = &mut *sent;
        if errands.len() >= MOST && looked.is_none_or(|at| now.duration_since(at) >= Duration::from_secs(1)) {
            errands.retain(|_, at| now.duration_since(*at) < REMEMBERED);
            *looked = Some(now);
        }
        let full = errands.len() >= MOST;
        match errands.entry(errand) {
            Entry::Occupied(known) if now.duration_since(*known.get()) < REMEMBERED => false,
            Entry::Occupied(mut known) => {
                known.insert(now);
                true
            }
            Entry::Vacant(_) if full => false,
            Entry::Vacant(unknown) => {
                unknown.insert(now);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use roadstead_oci::Algorithm;
    use tokio::time::advance;

    use super::*;

    fn errand(client: u32, content: &[u8]) -> Errand {
        let remote = IpAddr::V4(client.into());
        Errand { remote, forwarded: 0, digest: Digest::of(Algorithm::Sha256, content) }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_sent_twice_within_a_minute() {
        let redirects = Redirects::new(|_| true);
        assert!(redirects.send(errand(1, b"a")));
        advance(REMEMBERED - Duration::from_secs(1)).await;
        assert!(redirects.was_sent(&errand(1, b"a")) && !redirects.send(errand(1, b"a")));
        for other in [errand(2, b"a"), errand(1, b"b"), Errand { forwarded: 1, ..errand(1, b"a") }] {
            assert!(!redirects.was_sent(&other) && redirects.send(other));
        }
        advance(Duration::from_secs(1)).await;
        assert!(!redirects.was_sent(&errand(1, b"a")) && redirects.send(errand(1, b"a")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let redirects = Redirects::new(|_| true);
        assert!((0..MOST as u32).all(|client| redirects.send(errand(client, b"a"))));
        assert!(!redirects.send(errand(u32::MAX, b"a")), "served from here");
        advance(REMEMBERED).await;
        assert!(redirects.send(errand(u32::MAX, b"a")));
        assert_eq!(redirects.0.sent.lock().errands.len(), 1);
    }
}
