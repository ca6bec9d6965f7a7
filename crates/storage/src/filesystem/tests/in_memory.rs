//! Reading what the kernel has in memory, all or some of it.

use futures::FutureExt;
use rustix::fs::{Advice, fadvise};

use super::*;

#[tokio::test]
async fn an_object_that_is_only_partly_in_memory_is_read_to_its_end() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    write(&engine, "a/other", "makes the directory").await.unwrap();
    // The hole after the bytes was never read, so the kernel has nothing of it.
    fs::write(scratch.path("a/partly"), vec![7; 600_000]).unwrap();
    fs::File::options().write(true).open(scratch.path("a/partly")).unwrap().set_len(3 << 20).unwrap();
    let bytes = read(&engine, "a/partly").await.unwrap();
    assert!(
        bytes.len() == 3 << 20 && bytes[..600_000].iter().all(|b| *b == 7) && bytes[600_000..].iter().all(|b| *b == 0)
    );
}

#[tokio::test]
async fn a_read_that_needs_no_disk_takes_no_other_thread() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    let bytes = vec![7; 3 << 20];
    write(&engine, "warm", bytes.clone()).await.unwrap();
    let opened = engine.store.open_cached(&key("warm"), None);
    // A filesystem that cannot say what it has in memory takes the long way, which the suite tests.
    let Some(opened) = opened else { return };
    assert_eq!(engine.stat(&key("warm")).now_or_never().unwrap().unwrap().size, 3 << 20);
    let body = opened.into_read().body.try_collect::<Vec<Bytes>>().now_or_never();
    assert!(body.expect("nothing was waited for").unwrap().concat() == bytes);
}

#[tokio::test]
async fn one_page_that_is_missing_does_not_send_the_rest_to_another_thread() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    let bytes = (0..3_u32 << 20).map(|at| (at / 4096) as u8).collect::<Vec<_>>();
    write(&engine, "partly", bytes.clone()).await.unwrap();
    let (missing, path) = (1 << 20..(1 << 20) + 4096, scratch.path("partly"));
    forget_but(&path, &[0..missing.start, missing.end..3 << 20]);
    let opened = engine.store.open_cached(&key("partly"), None);
    // A filesystem that cannot say what it has in memory takes the long way; and one that forgets nothing, none.
    let Some(opened) = opened else { return };
    let (first, mut rest) = opened.split();
    let (mut read, mut elsewhere) = (first.to_vec(), 0);
    while let Some((chunk, left)) = rest.next().await {
        read.extend_from_slice(&chunk.unwrap());
        rest = left.unwrap();
        elsewhere += usize::from(rest.is_coming());
    }
    assert!(read == bytes);
    assert_eq!(elsewhere, 0, "chunks read ahead by another thread");
}

/// Makes the kernel forget a file but for some ranges of it.
fn forget_but(path: &Path, ranges: &[Range<u64>]) {
    let file = fs::File::open(path).unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    // Nothing is read that was not asked for.
    fadvise(&file, 0, None, Advice::Random).unwrap();
    for range in ranges {
        let mut buffer = vec![0; (range.end - range.start) as usize];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut buffer, range.start).unwrap();
    }
}
