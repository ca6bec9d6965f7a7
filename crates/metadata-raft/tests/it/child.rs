//! Processes that end badly: one commits until it is killed, one opens what may be damaged.
//!
//! Both are this test binary again, with a test of its own that is otherwise ignored.

use std::io::{BufRead, BufReader, Read as _, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use roadstead_metadata::{Freshness, Sql, Statement};
use roadstead_metadata_raft::{Options, RaftSql, Timings};

use crate::support::{commit, insert, insert_text, make_table, options};

const DIRECTORY: &str = "RAFT_TEST_DIRECTORY";

/// Options of the children: snapshots come often, and a start that hangs gives up soon.
pub(crate) fn child_options(directory: &Path) -> Options {
    let timings = Timings { open: Duration::from_secs(15), watch: Duration::from_millis(20), ..Timings::default() };
    Options { entries_per_snapshot: 60, timings, ..options(directory) }
}

fn given_directory() -> String {
    std::env::var(DIRECTORY).unwrap()
}

/// Commits ids from the lowest free one on, and prints each once it is acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in the child processes of the crash tests"]
async fn writer() {
    let sql = Arc::new(RaftSql::open(child_options(Path::new(&given_directory()))).await.unwrap());
    make_table(&sql).await;
    let first = crate::support::ids(&sql).await.last().map_or(0, |last| last + 1);
    let next = Arc::new(AtomicI64::new(first));
    let committers = (0..4).map(|_| {
        let (sql, next) = (sql.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let id = next.fetch_add(1, Ordering::SeqCst);
                commit(&sql, vec![insert(id)]).await.unwrap();
                writeln!(std::io::stdout(), "acknowledged {id}").unwrap();
            }
        })
    });
    futures::future::join_all(committers).await;
}

/// Opens the directory and prints the ids found whose text is right, or why it was refused.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in the child processes of the damage tests"]
async fn reader() {
    let mut output = std::io::stdout();
    let sql = match RaftSql::open(child_options(Path::new(&given_directory()))).await {
        Ok(sql) => sql,
        Err(e) => {
            writeln!(output, "refused {e}").unwrap();
            // Threads of a node that did not start may never end.
            std::process::exit(0);
        }
    };
    // Through the text as well as the key: damage may be to either.
    let all = Statement::new("SELECT id, body FROM note ORDER BY id", vec![]);
    let rows = sql.query(Freshness::Latest, all).await.unwrap();
    for row in rows.iter().filter(|row| row.text(1).unwrap() == insert_text(row.integer(0).unwrap())) {
        writeln!(output, "found {}", row.integer(0).unwrap()).unwrap();
    }
    // A start must also be able to go on.
    let unused = i64::MAX;
    commit(&sql, vec![insert(unused)]).await.unwrap();
    writeln!(output, "opened {}", rows.len()).unwrap();
    std::process::exit(0);
}

fn run(program: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("child::{program}"), "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What an ended child complained of.
fn complaint(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Runs a writer on `directory`, kills it once it acknowledged `wanted` commits, and returns all it acknowledged.
pub(crate) fn kill_after(directory: &Path, wanted: usize) -> Vec<i64> {
    let mut child = run("writer", directory);
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
    child.wait().unwrap();
    assert!(acknowledged.len() >= wanted, "the child ended by itself: {}", complaint(&mut child));
    acknowledged
}

/// What a reader said.
#[derive(Debug)]
pub(crate) enum Read {
    Refused(String),
    Found(Vec<i64>),
    /// It died. The text is all it printed.
    Died(String),
}

/// Runs a reader on `directory`.
pub(crate) fn read(directory: &Path) -> Read {
    let output = run("reader", directory).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some((_, reason)) = text.split_once("refused ") {
        return Read::Refused(reason.to_owned());
    }
    if !text.contains("opened ") {
        return Read::Died(text + &String::from_utf8_lossy(&output.stderr));
    }
    let found = text.lines().filter_map(|line| line.split_once("found ")?.1.parse().ok());
    Read::Found(found.collect())
}
