//! A process that commits until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{commit, insert, open};

const DIRECTORY: &str = "RAFT_TEST_DIRECTORY";

/// The child's own program. It commits ids from the lowest free one on, and prints each once it is acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in the child processes of the crash tests"]
async fn writer() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let sql = std::sync::Arc::new(open(Path::new(&directory)).await);
    let first = crate::support::ids(&sql).await.last().map_or(0, |last| last + 1);
    let next = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(first));
    let committers = (0..4).map(|_| {
        let (sql, next) = (sql.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let id = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                commit(&sql, vec![insert(id)]).await.unwrap();
                writeln!(std::io::stdout(), "acknowledged {id}").unwrap();
            }
        })
    });
    futures::future::join_all(committers).await;
}

/// Runs a writer on `directory`, kills it once it acknowledged `wanted` commits, and returns all it acknowledged.
pub(crate) fn kill_after(directory: &Path, wanted: usize) -> Vec<i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::writer", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let acknowledged = read_acknowledged(&mut child, wanted);
    child.wait().unwrap();
    acknowledged
}

fn read_acknowledged(child: &mut Child, wanted: usize) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    let output = BufReader::new(child.stdout.take().unwrap());
    for line in output.lines() {
        // What the child printed before it died still counts.
        if let Some((_, id)) = line.unwrap().split_once("acknowledged ") {
            acknowledged.push(id.parse().unwrap());
            if acknowledged.len() == wanted {
                // SIGKILL.
                child.kill().unwrap();
            }
        }
    }
    assert!(acknowledged.len() >= wanted, "the child ended by itself");
    acknowledged
}
