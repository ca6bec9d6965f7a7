#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

const ENTRIES: u64 = 100;

/// A log that makes its snapshot as hiqlite does, a few looks after it is due.
struct Fake {
    place: Mutex<Place>,
    looks: AtomicU64,
    under_way: AtomicU64,
    most: AtomicU64,
    ready: AtomicBool,
    fails_at: AtomicU64,
}

impl Fake {
    fn new(snapshot: u64, end: u64) -> Arc<Self> {
        Arc::new(Self {
            place: Mutex::new(Place { snapshot, end }),
            looks: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            most: AtomicU64::new(0),
            ready: AtomicBool::new(true),
            fails_at: AtomicU64::new(u64::MAX),
        })
    }

    fn now(&self) -> Place {
        *self.place.lock().unwrap()
    }
}

#[async_trait]
impl Log for Fake {
    async fn place(&self) -> Result<Place, String> {
        let mut place = self.place.lock().unwrap();
        if place.missing(ENTRIES) == 0 && self.looks.fetch_add(1, Ordering::SeqCst) == 3 {
            place.snapshot = place.end;
        }
        Ok(*place)
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.load(Ordering::SeqCst).then_some(()).ok_or_else(|| "read-only".to_owned())
    }

    async fn append_nothing(&self) -> Result<(), String> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(LOOK).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let mut place = self.place.lock().unwrap();
        place.end += 1;
        if place.end == self.fails_at.load(Ordering::SeqCst) { Err("no leader".to_owned()) } else { Ok(()) }
    }
}

fn past(snapshot: u64) -> Arc<Growth> {
    Arc::new(Growth::new(10, snapshot, 20))
}

#[tokio::test(start_paused = true)]
async fn a_nudge_appends_what_is_missing_and_no_more() {
    let (log, growth) = (Fake::new(40, 75), past(40));
    assert_eq!(nudge(&log, &growth, ENTRIES).await, Ok(65));
    assert_eq!(log.now(), Place { snapshot: 140, end: 140 });
    assert_eq!(log.most.load(Ordering::SeqCst), AT_ONCE);
    assert!(!growth.is_past());
}

#[tokio::test(start_paused = true)]
async fn no_snapshot_is_asked_for_where_none_should_be() {
    let (log, growth) = (Fake::new(0, 1), past(0));
    log.ready.store(false, Ordering::SeqCst);
    assert_eq!(nudge(&log, &growth, ENTRIES).await, Err("read-only".to_owned()));
    assert_eq!(log.now().end, 1);
}

#[tokio::test(start_paused = true)]
async fn a_nudge_that_fails_is_tried_again_later() {
    let (log, growth) = (Fake::new(0, 1), past(0));
    log.fails_at.store(10, Ordering::SeqCst);
    let running = tokio::spawn(run(Arc::clone(&log), Arc::clone(&growth), ENTRIES));
    let begun = Instant::now();
    while growth.is_past() {
        tokio::time::sleep(LOOK).await;
    }
    assert!((LATER..2 * LATER).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(log.now().snapshot, ENTRIES);
    assert!(!running.is_finished());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_come_is_not_waited_for_for_ever() {
    let (log, growth) = (Fake::new(0, 1), past(0));
    log.looks.store(4, Ordering::SeqCst);
    assert!(nudge(&log, &growth, ENTRIES).await.is_err());
    assert_eq!(log.now().end, ENTRIES);
}
