//! Who in this process writes to which session.
//!
//! A newcomer takes a session over: the attempt before it, most often one whose connection died unnoticed, is told to
//! stop and awaited, so that two attempts never write to one staged object.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The sessions that have an attempt under way here, and the key their tokens are signed with.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(super) key: Vec<u8>,
    active: Arc<Mutex<HashMap<Uuid, Active>>>,
}

#[derive(Debug, Default)]
struct Active {
    lock: Arc<tokio::sync::Mutex<()>>,
    stop: CancellationToken,
    attempts: usize,
}

/// The right to write to a session, until dropped or told to stop.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Cancelled when a newer attempt wants the session.
    pub stop: CancellationToken,
    id: Uuid,
    active: Arc<Mutex<HashMap<Uuid, Active>>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Sessions {
    pub(crate) fn new(key: Vec<u8>) -> Self {
        Self { key, active: Arc::default() }
    }

    /// Whether an attempt holds the session or waits for it.
    pub(crate) fn is_active(&self, id: Uuid) -> bool {
        self.active.lock().contains_key(&id)
    }

    /// Stops the attempt that holds the session, if any, and waits for its end.
    pub(super) async fn enter(&self, id: Uuid) -> Turn {
        let (mut turn, lock) = {
            let mut active = self.active.lock();
            let entry = active.entry(id).or_default();
            entry.stop.cancel();
            entry.stop = CancellationToken::new();
            entry.attempts += 1;
            let turn = Turn { stop: entry.stop.clone(), id, active: self.active.clone(), held: None };
            (turn, entry.lock.clone())
        };
        turn.held = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        let mut active = self.active.lock();
        if let Some(entry) = active.get_mut(&self.id) {
            entry.attempts -= 1;
            if entry.attempts == 0 {
                active.remove(&self.id);
            }
        }
    }
}
