//! Looks every second whether the files have changed, or a made certificate is due, and takes over what fits together.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::authority::{LEAF_LIFE, RENEWED};
use super::{Source, Tls, build, names};

/// How often to look.
const LOOK: Duration = Duration::from_secs(1);
/// After so many looks also whether the machine has other addresses.
const ADDRESSES: u32 = 60;

/// A clock that was set back by more than this, seconds, leaves a certificate from times to come.
const SET_BACK: i64 = 60;

/// What tells one version of a file from another; `None` when it cannot be looked at.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// What was seen last.
#[derive(Debug, Default)]
struct Seen {
    stamps: Vec<Stamp>,
    /// Why what was seen then was not taken over.
    refused: Option<String>,
    looks: u32,
}

impl Tls {
    /// Keeps the certificate current while the answer lives.
    pub fn watch(&self) -> AbortOnDropHandle<()> {
        let tls = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            // What changed since it was opened is noticed: the first look takes over what there is.
            let mut seen = Seen::default();
            loop {
                tls.look(&mut seen).await;
                sleep(LOOK).await;
            }
        }))
    }

    async fn look(&self, seen: &mut Seen) {
        let stamps = self.stamps().await;
        seen.looks = seen.looks.wrapping_add(1);
        // What was refused is tried again at each look: it may have been read between two writes that no time tells apart.
        if stamps == seen.stamps && seen.refused.is_none() && !self.is_due(seen.looks) {
            return;
        }
        let first = seen.stamps.is_empty();
        match build(&self.0.options, self.0.clock.now()).await {
            Ok((current, warnings)) => {
                let not_after = current.not_after;
                *self.0.current.write() = current;
                (seen.stamps, seen.refused) = (stamps, None);
                if !first || self.authority().is_some() {
                    tracing::info!(not_after, "new connections get the certificate as it is now");
                    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                }
            }
            Err(error) => {
                let why = error.to_string();
                if seen.refused.as_ref() != Some(&why) {
                    tracing::error!(why, "the certificate changed and cannot be used: the one before stays");
                }
                (seen.stamps, seen.refused) = (stamps, Some(why));
            }
        }
    }

    /// Whether a made certificate is to be made anew.
    fn is_due(&self, looks: u32) -> bool {
        let Source::Made { authority, names: given } = &self.0.options.source else { return false };
        let current = self.0.current.read();
        let left = current.not_after - self.0.clock.now() / 1000;
        // One that ends with its authority cannot be made to last longer.
        if left < RENEWED && current.not_after < authority.not_after() {
            return true;
        }
        // It was made when the clock was ahead: to clients it is not valid yet.
        if left > LEAF_LIFE + SET_BACK {
            return true;
        }
        looks.is_multiple_of(ADDRESSES) && current.names != names::all(given)
    }

    async fn stamps(&self) -> Vec<Stamp> {
        let options = &self.0.options;
        let own: Vec<&Path> = match &options.source {
            Source::Files { certificate, key } => vec![certificate, key],
            Source::Made { .. } => Vec::new(),
        };
        let mut stamps = Vec::new();
        for path in own.into_iter().chain(options.clients.authorities.iter().map(|path| path.as_path())) {
            let found = tokio::fs::metadata(path).await.ok();
            stamps.push(found.map(|m| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec())));
        }
        stamps
    }
}
