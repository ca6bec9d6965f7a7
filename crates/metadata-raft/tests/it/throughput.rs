//! How many commits a second, for `docs/adr/0004-group-commit.md`.
//!
//! `TMPDIR=/a/real/disk cargo test -p roadstead-metadata-raft --test it throughput -- --ignored --nocapture`

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use crate::support::{commit, insert, open};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn commits_per_second() {
    for (committers, each) in [(1, 1000), (4, 500), (16, 250)] {
        let directory = tempfile::tempdir().unwrap();
        let sql = Arc::new(open(directory.path()).await);
        let begun = Instant::now();
        let tasks = (0..committers).map(|committer| {
            let sql = Arc::clone(&sql);
            tokio::spawn(async move {
                for id in 0..each {
                    commit(&sql, vec![insert(committer * each + id)]).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let rate = (committers * each) as f64 / begun.elapsed().as_secs_f64();
        writeln!(std::io::stdout(), "{committers} committers: {rate:.0} commits/s").unwrap();
        sql.shutdown().await;
    }
}
