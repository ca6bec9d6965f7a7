//! What the engine does with the files in its root: names it keeps to itself, leftovers, foreign and damaged files.

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use uuid::Uuid;

use super::*;
use crate::{Identity, Part, Sweep, Swept};

#[tokio::test]
async fn a_directory_is_claimed_only_when_nothing_at_all_is_in_it() {
    let want = Identity::new(Uuid::from_u128(1), Uuid::from_u128(2));
    let scratch = Scratch::new();
    // Not a key, and so nothing that a listing of objects would show.
    fs::create_dir(scratch.path("state machine")).unwrap();
    let error = Identity::claim_directory(&scratch.open(), &want).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Foreign);
    fs::rename(scratch.path("state machine"), scratch.path("lost+found")).unwrap();
    assert_eq!(Identity::claim_directory(&scratch.open(), &want).await.unwrap(), want);
    fs::write(scratch.path("hiqlite.lock"), "").unwrap();
    assert_eq!(Identity::claim_directory(&scratch.open(), &want).await.unwrap(), want);
    assert_eq!(Identity::verify_directory(&scratch.open(), &want).await.unwrap(), want);
    assert!(!scratch.path(temporary::DIRECTORY).exists(), "only roadstead.json was added");
}

#[tokio::test]
async fn an_object_is_its_file_byte_for_byte() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    write(&engine, "blobs/sha256/ab/x", "bytes").await.unwrap();
    assert_eq!(fs::read(scratch.path("blobs/sha256/ab/x")).unwrap(), b"bytes");
    fs::write(scratch.path("blobs/by-hand"), "more").unwrap();
    assert_eq!(read(&engine, "blobs/by-hand").await.unwrap(), b"more");
    engine.delete(&key("blobs/sha256/ab/x")).await.unwrap();
    assert!(scratch.path("blobs").exists() && !scratch.path("blobs/sha256").exists(), "empty directories go");
}

#[tokio::test]
async fn names_of_the_engine_and_of_nfs_are_no_keys() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    write(&engine, "a/b", "b").await.unwrap();
    fs::write(scratch.path("a/.nfs0000000000000001"), "deleted while open").unwrap();
    fs::write(scratch.path("a/no key: spaces"), "notes").unwrap();
    fs::write(scratch.path("tmp/unfinished"), "half").unwrap();
    let listed = engine.list("", None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(), ["a/b"]);
    for prefix in ["tmp", "tmp/", "tmp/u", "a/.nfs"] {
        assert_eq!(engine.list(prefix, None, 10).await.unwrap(), [], "{prefix}");
    }
    for reserved in ["tmp", "tmp/unfinished", "a/.nfs0000000000000001", ".nfs1/x"] {
        let key = key(reserved);
        let parts = [Part { key: key.clone(), length: 1, sealed: true }];
        let errors = [
            engine.stat(&key).await.unwrap_err(),
            engine.read(&key, None).await.err().unwrap(),
            engine.writer(&key).await.err().unwrap(),
            engine.append(&key, 0).await.err().unwrap(),
            engine.compose(&parts, &super::key("c")).await.unwrap_err(),
            engine.compose(&[], &key).await.unwrap_err(),
            engine.delete(&key).await.unwrap_err(),
            engine.put_small(&key, Bytes::new(), false).await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains(reserved) && error.to_string().contains("reserved"), "{error}");
        }
    }
    fs::remove_file(scratch.path("tmp/unfinished")).unwrap();
}

#[tokio::test]
async fn the_sweep_takes_what_is_stale_and_nothing_else() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    assert_eq!(engine.remove_stale(Duration::ZERO).await.unwrap(), Swept::default());
    let mut writer = engine.writer(&key("a")).await.unwrap();
    writer.write(vec![Bytes::from_static(b"in use")]).await.unwrap();
    writer.sync().await.unwrap();
    write(&engine, "old/object", "kept").await.unwrap();
    let day = Duration::from_secs(86_400);
    let age = |path: PathBuf, by: Duration| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - by).unwrap();
    };
    for (name, by) in [("stale", day * 2), ("young", day / 2)] {
        fs::write(scratch.path("tmp").join(name), "1234567").unwrap();
        age(scratch.path("tmp").join(name), by);
    }
    age(scratch.path("old/object"), day * 9);
    // A clock that ran ahead once.
    fs::write(scratch.path("tmp/future"), "").unwrap();
    fs::File::options()
        .write(true)
        .open(scratch.path("tmp/future"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH + day * 99_999)
        .unwrap();
    assert_eq!(engine.remove_stale(day).await.unwrap(), Swept { files: 1, bytes: 7 });
    assert!(!scratch.path("tmp/stale").exists() && scratch.path("tmp/young").exists());
    writer.finish().await.unwrap();
    assert_eq!(read(&engine, "a").await.unwrap(), b"in use");
    assert_eq!(read(&engine, "old/object").await.unwrap(), b"kept");
    for name in ["young", "future"] {
        fs::remove_file(scratch.path("tmp").join(name)).unwrap();
    }
    assert_nothing_temporary(scratch.directory.path());
}

#[tokio::test]
async fn a_file_that_shrinks_under_its_reader_is_corrupt() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    write(&engine, "whole", vec![7; 4_000_000]).await.unwrap();
    let read = engine.read(&key("whole"), None).await.unwrap();
    assert_eq!(read.size, 4_000_000);
    fs::File::options().write(true).open(scratch.path("whole")).unwrap().set_len(3_000_001).unwrap();
    let chunks: Vec<_> = read.body.collect().await;
    let (last, before) = chunks.split_last().unwrap();
    let error = last.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("whole") && error.to_string().contains("3000001"), "{error}");
    assert!(before.iter().all(Result::is_ok), "the error is the end");
}

#[tokio::test]
async fn small_bodies_come_as_one_chunk_of_their_size() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    for size in [1, 1024, 64 * 1024] {
        let name = format!("small/{size}");
        write(&engine, &name, vec![1; size]).await.unwrap();
        let chunks: Vec<Bytes> = engine.read(&key(&name), None).await.unwrap().body.try_collect().await.unwrap();
        assert_eq!(chunks.len(), 1);
        let chunk = chunks.into_iter().next().unwrap().try_into_mut().unwrap();
        assert!(chunk.capacity() < size + 64, "a buffer of {} for {size} bytes", chunk.capacity());
    }
}

#[tokio::test]
async fn a_sealed_part_is_published_without_a_copy() {
    use std::os::unix::fs::MetadataExt;

    let scratch = Scratch::new();
    let engine = scratch.open();
    let inode = |path: &str| fs::metadata(scratch.path(path)).unwrap().ino();
    let mut writer = engine.append(&key("u/0"), 0).await.unwrap();
    writer.write(vec![Bytes::from_static(b"0123456789")]).await.unwrap();
    writer.finish().await.unwrap();
    for (sealed, to) in [(false, "copied"), (true, "linked")] {
        engine.compose(&[Part { key: key("u/0"), length: 9, sealed }], &key(to)).await.unwrap();
        assert_eq!(inode(to) == inode("u/0"), sealed, "{to}");
        assert_eq!(read(&engine, to).await.unwrap(), b"012345678");
    }
}

/// A file server linked the file, its answer was lost, and the kernel asked again: `EEXIST`, by our own hand.
#[tokio::test]
async fn a_repeated_link_is_no_other_writers() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    let (temporary, _file) = engine.store.temporary().unwrap();
    fs::hard_link(temporary.path(), scratch.path("a")).unwrap();
    engine.store.publish(temporary, &key("a"), &scratch.path("a")).unwrap();
    assert_nothing_temporary(scratch.directory.path());
}

/// The way of filesystems without hard links.
#[tokio::test]
async fn a_rename_publishes_exclusively_too() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    let store = &engine.store;
    let publish = |bytes: &str| {
        let (temporary, _file) = store.temporary().unwrap();
        fs::write(temporary.path(), bytes).unwrap();
        store.rename(temporary.path(), &key("d/e"), &scratch.path("d/e")).map(|()| temporary.moved())
    };
    publish("first").unwrap();
    assert_eq!(publish("second").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(read(&engine, "d/e").await.unwrap(), b"first");
    assert_nothing_temporary(scratch.directory.path());
}

#[tokio::test]
async fn directories_larger_than_a_window_are_listed_in_order() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    fs::create_dir_all(scratch.path("many/sub")).unwrap();
    let mut names: Vec<String> = (0..2_500).map(|number| format!("many/{}", number * 7_919 % 2_500)).collect();
    names.push("many/sub/one".to_owned());
    for name in &names {
        fs::write(scratch.path(name), "").unwrap();
    }
    names.sort();
    let listed = engine.list("", None, 5_000).await.unwrap();
    assert_eq!(listed.iter().map(|l| l.key.as_str()).collect::<Vec<_>>(), names);
    let page = engine.list("many/", Some(&key(&names[1_234])), 1_200).await.unwrap();
    assert_eq!(page.iter().map(|l| l.key.as_str()).collect::<Vec<_>>(), names[1_235..2_435]);
}

/// Bytes of two ages are those of no blob; a name that goes meanwhile changes no byte.
#[tokio::test]
async fn an_object_written_to_while_it_is_read_ends_in_an_error() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    for (written_to, key_text) in [(true, "a/written"), (false, "a/deleted")] {
        write(&engine, key_text, vec![7; 3 << 20]).await.unwrap();
        let mut body = engine.read(&key(key_text), None).await.unwrap().body;
        body.next().await.unwrap().unwrap();
        let path = scratch.path(key_text);
        if written_to {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::now() + Duration::from_secs(1)).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let rest: Result<Vec<Bytes>, Error> = body.try_collect().await;
        match rest {
            Err(error) => assert!(written_to && error.kind() == ErrorKind::Corrupt, "{error}"),
            Ok(rest) => assert!(!written_to && rest.concat().len() > 2 << 20),
        }
    }
}
