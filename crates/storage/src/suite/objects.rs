//! The words in which clauses speak: keys, contents, writing and reading whole objects.

use bytes::Bytes;
use futures::TryStreamExt;

use crate::{Engine, Error, ErrorKind, ObjectKey, ObjectRead, Part};

pub(super) fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

/// `length` bytes that differ from each other's neighbours and between seeds.
pub(super) fn content(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

pub(super) async fn write(engine: &dyn Engine, to: &str, bytes: &Bytes) -> Result<u64, Error> {
    let mut writer = engine.writer(&key(to)).await?;
    writer.write(vec![bytes.clone()]).await?;
    Ok(writer.finish().await?.size)
}

/// Writes a staged object: in place where the engine can, else as a plain object.
pub(super) async fn stage(engine: &dyn Engine, to: &str, bytes: &Bytes) {
    match engine.extend() {
        Some(extend) => {
            let mut writer = extend.append(&key(to), 0).await.unwrap();
            writer.write(vec![bytes.clone()]).await.unwrap();
            writer.finish().await.unwrap();
        }
        None => drop(write(engine, to, bytes).await.unwrap()),
    }
}

pub(super) fn part(of: &str, length: usize, sealed: bool) -> Part {
    Part { key: key(of), length: length as u64, sealed }
}

pub(super) async fn collect(read: ObjectRead) -> Result<Vec<u8>, Error> {
    let expected = read.range.end - read.range.start;
    let bytes = read.body.try_fold(Vec::new(), |mut all, chunk| async move {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    let bytes = bytes.await?;
    assert_eq!(bytes.len() as u64, expected, "a body that ends well has all of its range");
    Ok(bytes)
}

pub(super) async fn read(engine: &dyn Engine, from: &str) -> Result<Vec<u8>, Error> {
    collect(engine.read(&key(from), None).await?).await
}

pub(super) async fn names(engine: &dyn Engine, prefix: &str) -> Vec<String> {
    let listed = engine.list(prefix, None, 10_000).await.unwrap();
    listed.into_iter().map(|listed| listed.key.to_string()).collect()
}

/// The kind of failure of what should fail.
pub(super) fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    match result {
        Ok(_) => panic!("succeeded where it should fail"),
        Err(error) => error.kind(),
    }
}
