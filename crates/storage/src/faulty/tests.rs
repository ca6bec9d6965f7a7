//! Each kind of fault, and that without faults the engine is as good as the one inside.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;

use super::*;
use crate::Memory;
use crate::suite::Subject;

struct Store(Memory);

#[async_trait]
impl Subject for Store {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(Faulty::new(self.0.clone(), Faults::new()))
    }
}

crate::conformance!(Store(Memory::new()));

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

fn store() -> (Faulty<Memory>, Faults) {
    let faults = Faults::new();
    (Faulty::new(Memory::new(), faults.clone()), faults)
}

async fn write(engine: &dyn Engine, to: &str) -> Result<ObjectStat, Error> {
    let mut writer = engine.writer(&key(to)).await?;
    writer.write(vec![Bytes::from_static(b"1234"), Bytes::from_static(b"5678")]).await?;
    writer.finish().await
}

#[tokio::test]
async fn the_nth_call_is_refused_and_no_other() {
    let (engine, faults) = store();
    faults.refuse(Operation::Stat, 2, ErrorKind::Unavailable);
    write(&engine, "a").await.unwrap();
    engine.stat(&key("a")).await.unwrap();
    assert_eq!(engine.stat(&key("a")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    engine.stat(&key("a")).await.unwrap();
    assert_eq!(faults.pending(), 0);
    faults.refuse(Operation::Finish, 1, ErrorKind::Full);
    assert_eq!(write(&engine, "b").await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(engine.stat(&key("b")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_forgotten_call_took_effect() {
    let (engine, faults) = store();
    faults.forget(Operation::Finish, 1, ErrorKind::Unavailable);
    assert_eq!(write(&engine, "a").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(engine.stat(&key("a")).await.unwrap().size, 8);
}

#[tokio::test]
async fn a_body_is_cut_after_so_many_bytes() {
    let (engine, faults) = store();
    write(&engine, "a").await.unwrap();
    faults.cut_body(1, 6, ErrorKind::Corrupt);
    let mut body = engine.read(&key("a"), None).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "1234");
    assert_eq!(body.next().await.unwrap().unwrap(), "56");
    assert_eq!(body.next().await.unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(body.next().await.is_none());
    let whole: Vec<Bytes> = engine.read(&key("a"), None).await.unwrap().body.try_collect().await.unwrap();
    assert_eq!(whole.concat(), b"12345678");
}

#[tokio::test]
async fn a_write_is_cut_short() {
    let (engine, faults) = store();
    faults.cut_write(1, 5, ErrorKind::Full);
    let mut writer = engine.extend().unwrap().append(&key("a"), 0).await.unwrap();
    let error = writer.write(vec![Bytes::from_static(b"1234"), Bytes::from_static(b"5678")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(engine.stat(&key("a")).await.unwrap().size, 5);
}

#[tokio::test]
async fn a_held_call_waits_for_its_release() {
    let (engine, faults) = store();
    let engine = Arc::new(engine);
    let held = faults.hold(Operation::Finish, 1);
    let writing = tokio::spawn({
        let engine = engine.clone();
        async move { write(engine.as_ref(), "a").await }
    });
    held.arrived().await;
    assert_eq!(engine.stat(&key("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
    held.release();
    writing.await.unwrap().unwrap();
    assert_eq!(engine.stat(&key("a")).await.unwrap().size, 8);
}
