//! Deleting: repeatable, and never the cause of wrong bytes.

use futures::StreamExt;
use futures::future::join_all;

use super::Subject;
use super::objects::{content, key, kind, names, read, write};
use crate::ErrorKind;

pub(super) async fn a_delete_may_be_repeated(subject: &dyn Subject) {
    let (engine, other) = (subject.open().await, subject.open().await);
    write(engine.as_ref(), "d/e/f", &content(1, 10)).await.unwrap();
    write(engine.as_ref(), "d/g", &content(2, 10)).await.unwrap();
    for engine in [&engine, &other, &engine] {
        engine.delete(&key("d/e/f")).await.unwrap();
        assert_eq!(kind(engine.stat(&key("d/e/f")).await), ErrorKind::NotFound);
    }
    let prefixes: &[&str] = if subject.prefixes_are_in_the_way() { &[] } else { &["d"] };
    for never in ["never", "d/g/below", "no/such/directory"].iter().chain(prefixes) {
        engine.delete(&key(never)).await.unwrap();
    }
    assert_eq!(names(engine.as_ref(), "").await, ["d/g"]);
}

pub(super) async fn a_reader_never_sees_wrong_bytes_of_a_deleted_object(subject: &dyn Subject) {
    let engine = subject.open().await;
    let bytes = content(1, 4_000_000);
    write(engine.as_ref(), "doomed", &bytes).await.unwrap();
    let mut body = engine.read(&key("doomed"), None).await.unwrap().body;
    let mut seen = body.next().await.unwrap().unwrap().to_vec();
    engine.delete(&key("doomed")).await.unwrap();
    write(engine.as_ref(), "doomed", &content(2, 4_000_000)).await.unwrap();
    // It may go on to the end or fail; what it yields is of the object that was opened.
    let mut failed = false;
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => seen.extend_from_slice(&chunk),
            Err(_) => failed = true,
        }
    }
    assert!(seen == bytes[..seen.len()], "wrong bytes");
    assert!(failed || seen.len() == bytes.len(), "ended early without an error");
}

/// Deleting the last object of a directory may remove the directory under a writer's feet.
pub(super) async fn writers_survive_deletes_around_them(subject: &dyn Subject) {
    let engines = [subject.open().await, subject.open().await];
    let tasks = (0..8).map(|number| {
        let engine = engines[number % 2].clone();
        tokio::spawn(async move {
            let name = format!("busy/place/{number}");
            for round in 0..25 {
                write(engine.as_ref(), &name, &content(round, 100)).await.unwrap();
                assert_eq!(read(engine.as_ref(), &name).await.unwrap(), content(round, 100));
                engine.delete(&key(&name)).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(names(engines[0].as_ref(), "").await, [""; 0]);
}
