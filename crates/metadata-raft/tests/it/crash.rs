//! Killed processes: what was acknowledged is there.

use crate::child::kill_after;
use crate::support::{ids, open};

#[tokio::test(flavor = "multi_thread")]
async fn kill_after_kill_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        acknowledged.extend(kill_after(directory.path(), 20 + 37 * round));
        if round % 3 == 1 {
            // The next process starts from what the killed one left.
            continue;
        }
        let sql = open(directory.path()).await;
        let found = ids(&sql).await;
        // A killed process tears nothing: what it wrote, the kernel has.
        for aside in ["damaged-log", "damaged-logs"] {
            assert!(!directory.path().join(aside).exists(), "round {round}");
        }
        let missing: Vec<_> = acknowledged.iter().filter(|id| !found.contains(id)).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} of {} missing", acknowledged.len());
        sql.shutdown().await;
    }
}
