//! Uploads that met trouble: each goes on where it was acknowledged, or can be cancelled, or has ended.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use roadstead_testkit::{Client, Refused, Seed, Upload, digest};

use super::clients::World;
use super::{CLIENTS, WELL_AGAIN};

/// An upload that has begun and, as far as its client knows, not ended.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) repository: String,
    pub(super) bytes: Vec<u8>,
    /// Where it stood when that was last acknowledged.
    pub(super) upload: Upload,
    /// Its end was sent.
    pub(super) finishing: bool,
    /// Its cancellation was sent.
    pub(super) cancelling: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Continued,
    Cancelled,
    Gone,
}

/// What became of all.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ends {
    pub(super) continued: u64,
    pub(super) cancelled: u64,
    pub(super) gone: u64,
}

impl Ends {
    pub(super) fn count(&mut self, end: End) {
        match end {
            End::Continued => self.continued += 1,
            End::Cancelled => self.cancelled += 1,
            End::Gone => self.gone += 1,
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uploads {} continued, {} cancelled, {} gone", self.continued, self.cancelled, self.gone)
    }
}

impl Open {
    /// Goes on with it, or cancels it, as the seed decides.
    pub(super) fn settle(&mut self, client: &Client, seed: Seed) -> Result<End, Refused> {
        let now = match client.status(&self.upload) {
            Err(Refused::Answer { response, .. }) if response.status == 404 => return self.ended(client),
            now => now?,
        };
        if now.offset < self.upload.offset {
            let text = format!("{} bytes of an upload are there, {} were acknowledged", now.offset, self.upload.offset);
            return Err(Refused::Content(text));
        }
        self.upload = now;
        if seed.below(3) == 0 {
            return self.cancel(client);
        }
        let left = self.bytes.len() as u64 - self.upload.offset;
        if left > 3 {
            let mut rest = &self.bytes[usize::try_from(self.upload.offset).unwrap()..];
            self.upload = client.append(&self.upload, &mut rest, left / 2)?;
        }
        let (rest, wanted) = (&self.bytes[usize::try_from(self.upload.offset).unwrap()..], digest(&self.bytes));
        self.finishing = true;
        client.finish(&self.upload, &wanted, rest)?;
        client.pull_blob(&self.repository, &wanted)?;
        Ok(End::Continued)
    }

    pub(super) fn cancel(&mut self, client: &Client) -> Result<End, Refused> {
        self.cancelling = true;
        let answer = client.call("DELETE", &self.upload.location)?;
        match answer.status {
            204 => match client.status(&self.upload) {
                Ok(_) => Err(Refused::Content("a cancelled upload is there".to_owned())),
                Err(_) => Ok(End::Cancelled),
            },
            404 => self.ended(client),
            _ => {
                let request = format!("DELETE {}", self.upload.location);
                Err(Refused::Answer { request, response: Box::new(answer) })
            }
        }
    }

    /// It is not known any more: because its end came through, and then its blob is there, or its cancellation.
    fn ended(&self, client: &Client) -> Result<End, Refused> {
        match (self.finishing, self.cancelling) {
            (false, false) => {
                let acknowledged = self.upload.offset;
                Err(Refused::Content(format!("an upload of {acknowledged} bytes is gone, and nobody ended it")))
            }
            (true, false) => client.pull_blob(&self.repository, &digest(&self.bytes)).map(|_| End::Gone),
            (_, true) => Ok(End::Gone),
        }
    }
}

/// Whether trying again may help: the registry is not well yet, or an attempt from before is still under way.
fn passes(error: &Refused) -> bool {
    match error {
        Refused::Unanswered(_) => true,
        Refused::Answer { response, .. } => matches!(response.status, 409 | 416 | 503),
        Refused::Content(_) => false,
    }
}

/// Brings all that is open to an end. One that can neither go on nor be cancelled is complained of.
pub(super) fn settle_all(world: &World, addrs: [SocketAddr; 2], seed: Seed) -> Ends {
    let before = *world.counts.ends.lock().unwrap();
    let all = std::mem::take(&mut *world.open.lock().unwrap());
    let next = Mutex::new(all.into_iter().zip(0..));
    scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let Some((open, number)) = next.lock().unwrap().next() else { return };
                    settle_one(world, open, addrs, seed.derive(number));
                }
            });
        }
    });
    let now = *world.counts.ends.lock().unwrap();
    Ends {
        continued: now.continued - before.continued,
        cancelled: now.cancelled - before.cancelled,
        gone: now.gone - before.gone,
    }
}

fn settle_one(world: &World, mut open: Open, addrs: [SocketAddr; 2], seed: Seed) {
    let (begin, first) = (Instant::now(), seed.below(2));
    for attempt in first.. {
        let client = Client::new(addrs[usize::try_from(attempt % 2).unwrap()]);
        match open.settle(&client, seed) {
            Ok(end) => return world.ended(&open, end),
            Err(error) if passes(&error) && begin.elapsed() < WELL_AGAIN => sleep(Duration::from_millis(100)),
            Err(error) => {
                let Open { repository, upload, finishing, cancelling, .. } = &open;
                let state = format!("at {}, finishing {finishing}, cancelling {cancelling}", upload.offset);
                return world.complain(format!("an upload to {repository} {state} is stuck: {error}"));
            }
        }
    }
}
