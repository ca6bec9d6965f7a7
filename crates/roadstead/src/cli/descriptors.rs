//! How many connections and blobs the system's limit of open files has room for.
//!
//! A connection has a descriptor, a blob that is pushed or pulled over it a second one; over HTTP/2 many blobs may
//! share a connection. So half of what there is goes to either, and neither can starve the other, nor the metadata.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors for everything else: metadata, the log, directories while they are synced. Of a low limit, a quarter, but
/// not less than those that an idle server has open, twice.
const OTHERS: u64 = 1_024;
const OTHERS_AT_LEAST: u64 = 64;
/// Blob bodies at once, at most: each may hold about a megabyte, whatever the limit of open files is.
const MOST_BLOBS: u64 = 4_096;

/// What may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections.
    pub(crate) connections: usize,
    /// Blob bodies on their way in or out.
    pub(crate) blobs: usize,
}

impl Descriptors {
    /// Raises the soft limit of open files to the hard one, which every system that needs a low one sets low, and
    /// shares out what is granted; `wanted` is how many connections are configured.
    pub(super) fn share(wanted: usize) -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
        let granted = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let shared = Self::of(granted, wanted);
        if shared.connections < wanted {
            tracing::warn!(
                limit = granted,
                configured = wanted,
                connections = shared.connections,
                "fewer connections than http.max_connections: the limit of open files is low; raise it (LimitNOFILE=, \
                 ulimit -n) to twice the key and 1024, or lower the key"
            );
        }
        shared
    }

    fn of(granted: u64, wanted: usize) -> Self {
        let others = OTHERS.min(granted / 4).max(OTHERS_AT_LEAST).min(granted / 4 * 3);
        let half = (granted - others) / 2;
        let blobs = usize::try_from(half.min(MOST_BLOBS)).unwrap_or(usize::MAX);
        Self { connections: wanted.min(usize::try_from(half).unwrap_or(usize::MAX)), blobs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_their_blobs_fit_into_what_is_granted() {
        for (granted, wanted, connections, blobs) in [
            (u64::MAX, 16_384, 16_384, 4_096),
            (1_048_576, 16_384, 16_384, 4_096),
            (20_000, 16_384, 9_488, 4_096),
            (4_096, 16_384, 1_536, 1_536),
            (500, 16_384, 187, 187),
            (500, 100, 100, 187),
            (128, 16_384, 32, 32),
            (64, 16_384, 8, 8),
        ] {
            let shared = Descriptors::of(granted, wanted);
            assert_eq!(shared, Descriptors { connections, blobs }, "of {granted}");
        }
    }
}
