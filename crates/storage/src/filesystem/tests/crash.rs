//! Processes that are killed while they write, one and two at a time, on one directory.
//!
//! A killed process does not lose what the kernel holds, so this shows that nothing half is ever visible and that
//! nothing acknowledged is taken back. That it survives a crash of the machine rests on [`super::durability`].

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::{Part, Sweep};

/// Set for the child: the root to write to.
const ROOT: &str = "ROADSTEAD_TEST_CRASH_ROOT";

#[test]
fn killed_writers_leave_nothing_half() {
    if let Some(root) = std::env::var_os(ROOT) {
        write_until_killed(Path::new(&root));
    }
    let scratch = Scratch::new();
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let mut children = [spawn(scratch.directory.path()), spawn(scratch.directory.path())];
        let [one, two] = &mut children;
        // Killed at moments of no regularity: after some acknowledgements of the one, the other wherever it is.
        acknowledged.extend(answers(one).take(5 + round * 13 % 29));
        one.kill().unwrap();
        two.kill().unwrap();
        for child in &mut children {
            // What it still said before it died counts.
            acknowledged.extend(answers(child));
            child.wait().unwrap();
        }
        check(scratch.directory.path(), &acknowledged);
    }
    assert!(acknowledged.len() > 50, "the children did write: {}", acknowledged.len());
}

fn spawn(root: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "filesystem::tests::crash::killed_writers_leave_nothing_half", "--nocapture"]);
    command.env(ROOT, root).stdout(Stdio::piped()).spawn().unwrap()
}

/// Keys that the child said are published.
fn answers(child: &mut Child) -> impl Iterator<Item = String> {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("published ").map(str::to_owned))
}

fn check(root: &Path, acknowledged: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Filesystem::open(root).unwrap();
        for listed in engine.list("o/", None, usize::MAX).await.unwrap() {
            let bytes = read(&engine, listed.key.as_str()).await.unwrap();
            assert!(bytes == content(listed.key.as_str()), "{} is not whole", listed.key);
        }
        for name in acknowledged {
            engine.stat(&key(name)).await.unwrap();
        }
        engine.remove_stale(Duration::ZERO).await.unwrap();
    });
    drop(runtime);
    assert_nothing_temporary(root);
}

/// What an object holds follows from its key: up to some 300 KiB, in pages that differ from each other and from those
/// of other objects.
fn content(name: &str) -> Vec<u8> {
    let seed = name.bytes().fold(7_usize, |seed, byte| (seed * 31 + usize::from(byte)) % 1_000_003);
    let mut bytes = Vec::new();
    for page in 0..1 + seed * 7 % 80 {
        bytes.extend_from_slice(format!("{seed} {page} ").as_bytes());
        bytes.resize((page + 1) * 4096 - 5, page as u8);
    }
    bytes
}

#[allow(clippy::print_stdout, reason = "the parent reads it")]
fn write_until_killed(root: &Path) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Filesystem::open(root).unwrap();
        let tasks = (0..4).map(|task| {
            let engine = engine.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    // The same keys as the other process: of each, one publishes.
                    let name = format!("o/{task}/{}/{number}", number % 3);
                    let staged = format!("u/{task}-{}", std::process::id());
                    let done = if number % 2 == 0 {
                        write_in_steps(&engine, &name).await
                    } else {
                        stage_and_compose(&engine, &staged, &name).await
                    };
                    match done {
                        Ok(()) => println!("published {name}"),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
                    }
                }
            })
        });
        futures::future::join_all(tasks).await
    });
    unreachable!("the writers write until they are killed")
}

async fn write_in_steps(engine: &Filesystem, name: &str) -> Result<(), Error> {
    let mut writer = engine.writer(&key(name)).await?;
    for chunk in content(name).chunks(100_000) {
        writer.write(vec![Bytes::copy_from_slice(chunk)]).await?;
    }
    writer.sync().await?;
    writer.finish().await.map(drop)
}

async fn stage_and_compose(engine: &Filesystem, staged: &str, name: &str) -> Result<(), Error> {
    let bytes = Bytes::from(content(name));
    let mut writer = engine.append(&key(staged), 0).await?;
    writer.write(vec![bytes.clone(), Bytes::from_static(b"never committed")]).await?;
    writer.sync().await?;
    drop(writer);
    engine.compose(&[Part { key: key(staged), length: bytes.len() as u64, sealed: true }], &key(name)).await?;
    engine.delete(&key(staged)).await
}
