//! What one connection is doing, and until when it may go on doing that.
//!
//! hyper counts the wait for a next request as part of reading its head, so one number would have to serve both a
//! kept-alive client that may rest for two minutes and one that dribbles its head for as long. Hence our own watch:
//! idle, reading a head, busy; and beside it a write that makes no progress.
//!
//! A connection that is idle for a second rests: its protocol's buffers are given up until its client says something
//! again, so that ten thousand clients who only keep a connection open cost little.
//!
//! On HTTP/2 the bytes that arrive while nothing is in flight are mostly pings and settings, so there only the idle
//! time counts. A client that stops taking one HTTP/2 stream is noticed by the stream's task ([`crate::streams`]).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

/// How long each phase may last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

/// How long a connection is idle before it rests.
const REST: Duration = Duration::from_secs(1);

/// What has become due on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// To rest, if it can.
    Rest,
    /// To be given up.
    End(Expired),
}

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// No request for too long.
    Idle,
    /// A request's head did not arrive in time.
    SlowHead,
    /// The client does not take the response.
    SlowReader,
    /// It rested longer than any other when somebody else needed the place.
    GaveWay,
}

impl Expired {
    /// The reason as log and metrics name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Expired::Idle => "idle",
            Expired::SlowHead => "slow_head",
            Expired::SlowReader => "slow_reader",
            Expired::GaveWay => "gave_way",
        }
    }
}

#[derive(Debug)]
enum Phase {
    Idle(Instant),
    Head(Instant),
    /// So many requests in flight; more than one only on HTTP/2.
    Busy(u32),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    http2: bool,
    write_blocked: Option<Instant>,
    unread: bool,
    /// Somebody else needs the place. Taken back when a request begins.
    give_way: bool,
}

impl State {
    /// Since when there is neither a request nor the beginning of one.
    fn resting_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle(since) if self.write_blocked.is_none() => Some(since),
            _ => None,
        }
    }
}

/// The shared watch of one connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    patience: Patience,
    state: Mutex<State>,
    /// Wakes the connection's task when it is to give way.
    waker: AtomicWaker,
}

impl Pulse {
    pub(crate) fn new(patience: Patience) -> Arc<Self> {
        let phase = Phase::Idle(Instant::now());
        Arc::new(Self {
            patience,
            state: Mutex::new(State { phase, http2: false, write_blocked: None, unread: false, give_way: false }),
            waker: AtomicWaker::new(),
        })
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    /// Bytes came in from the client.
    pub(crate) fn received(&self) {
        let mut state = self.state.lock();
        if !state.http2 && matches!(state.phase, Phase::Idle(_)) {
            state.phase = Phase::Head(Instant::now());
        }
    }

    /// What comes before HTTP is through; none of it was the head of a request.
    pub(crate) fn opened(&self) {
        self.state.lock().phase = Phase::Idle(Instant::now());
    }

    /// The client turned out to speak HTTP/2; its preface is no head of a request.
    pub(crate) fn speaks_http2(&self) {
        let mut state = self.state.lock();
        state.http2 = true;
        state.phase = Phase::Idle(Instant::now());
    }

    /// A write to the client was taken (at least in part), or could not be.
    pub(crate) fn wrote(&self, blocked: bool) {
        let mut state = self.state.lock();
        match blocked {
            false => state.write_blocked = None,
            true => {
                state.write_blocked.get_or_insert_with(Instant::now);
            }
        }
    }

    /// A request was answered though its body was not read to the end.
    pub(crate) fn left_unread(&self) {
        self.state.lock().unread = true;
    }

    /// Whether a client may still be sending what nobody will read.
    pub(crate) fn has_unread(&self) -> bool {
        self.state.lock().unread
    }

    /// Since when the connection rests, unless it does something or was asked to give way.
    pub(crate) fn resting_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.resting_since().filter(|_| !state.give_way)
    }

    /// Asks the connection to end for somebody else, if it still rests as it did `since` then.
    pub(crate) fn give_way(&self, since: Instant) -> bool {
        let mut state = self.state.lock();
        if state.give_way || state.resting_since() != Some(since) {
            return false;
        }
        state.give_way = true;
        drop(state);
        self.waker.wake();
        true
    }

    /// A request begins; it ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        let mut state = self.state.lock();
        state.give_way = false;
        state.phase = match state.phase {
            Phase::Busy(n) => Phase::Busy(n + 1),
            Phase::Idle(_) | Phase::Head(_) => Phase::Busy(1),
        };
        Busy(Arc::clone(self))
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.phase = match state.phase {
            Phase::Busy(n) if n > 1 => Phase::Busy(n - 1),
            _ => Phase::Idle(Instant::now()),
        };
    }

    fn next(&self, may_rest: bool) -> Option<(Instant, Due)> {
        let state = self.state.lock();
        if let (true, Some(since)) = (state.give_way, state.resting_since()) {
            return Some((since, Due::End(Expired::GaveWay)));
        }
        // What is left of an unread body must not be taken for a new request.
        let may_rest = may_rest && !state.unread && state.write_blocked.is_none();
        let phase = match state.phase {
            Phase::Idle(since) if may_rest => Some((since + REST, Due::Rest)),
            Phase::Idle(since) => Some((since + self.patience.idle, Due::End(Expired::Idle))),
            Phase::Head(since) => Some((since + self.patience.head, Due::End(Expired::SlowHead))),
            Phase::Busy(_) => None,
        };
        let write = state.write_blocked.map(|since| (since + self.patience.write, Due::End(Expired::SlowReader)));
        [phase, write].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Answers when something is due. To be polled after the connection in the same task, which is how a phase that
    /// began during that poll is noticed; `sleep` is moved only when it would be too late, so a busy connection does
    /// not touch the timer for each request.
    pub(crate) async fn due(&self, mut sleep: Pin<&mut Sleep>, may_rest: bool) -> Due {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            loop {
                let now = Instant::now();
                // Nothing to wait for now: look again later, since a request of HTTP/2 ends in another task.
                let later = (now + self.patience.idle, Due::End(Expired::Idle));
                let (at, due) = self.next(may_rest).unwrap_or(later);
                if at <= now {
                    return Poll::Ready(due);
                }
                if at < sleep.deadline() || sleep.is_elapsed() {
                    sleep.as_mut().reset(at);
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Pulse>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::pin::pin;

    use tokio::time::{Instant, advance, sleep_until, timeout};

    use super::*;

    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(15), idle: Duration::from_secs(120), write: Duration::from_secs(60) };

    /// Seconds until the connection is given up, and why.
    async fn outlives(pulse: &Pulse) -> Option<(u64, Expired)> {
        match due(pulse, false).await? {
            (seconds, Due::End(cause)) => Some((seconds, cause)),
            (_, Due::Rest) => panic!("it may not rest"),
        }
    }

    async fn due(pulse: &Pulse, may_rest: bool) -> Option<(u64, Due)> {
        let begun = Instant::now();
        let sleep = pin!(sleep_until(begun + PATIENCE.idle));
        let due = timeout(Duration::from_secs(3600), pulse.due(sleep, may_rest)).await.ok()?;
        Some((begun.elapsed().as_secs(), due))
    }

    #[tokio::test(start_paused = true)]
    async fn it_rests_when_idle_but_not_in_the_middle_of_anything() {
        let pulse = Pulse::new(PATIENCE);
        assert_eq!(due(&pulse, true).await, Some((1, Due::Rest)));
        pulse.received();
        assert_eq!(due(&pulse, true).await, Some((15, Due::End(Expired::SlowHead))), "a head has begun");
        drop(pulse.begin());
        pulse.wrote(true);
        assert_eq!(
            due(&pulse, true).await,
            Some((60, Due::End(Expired::SlowReader))),
            "an answer is still to be taken"
        );
        drop(pulse.begin());
        pulse.wrote(false);
        assert_eq!(due(&pulse, true).await, Some((1, Due::Rest)));
        pulse.left_unread();
        assert_eq!(due(&pulse, true).await, Some((119, Due::End(Expired::Idle))), "a body is still coming");
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_way_only_while_it_rests() {
        let pulse = Pulse::new(PATIENCE);
        let since = pulse.resting_since().unwrap();
        let (outcome, asked) = tokio::join!(outlives(&pulse), async { pulse.give_way(since) });
        assert_eq!((outcome, asked), (Some((0, Expired::GaveWay)), true));
        assert!(!pulse.give_way(since) && pulse.resting_since().is_none(), "it was asked already");

        let pulse = Pulse::new(PATIENCE);
        assert!(pulse.give_way(pulse.resting_since().unwrap()));
        let busy = pulse.begin();
        assert_eq!(outlives(&pulse).await, None, "a request came first");
        assert!(!pulse.give_way(since));
        drop(busy);
        assert_eq!(outlives(&pulse).await, Some((120, Expired::Idle)));
        pulse.received();
        assert_eq!(pulse.resting_since(), None, "a head has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_idle_time() {
        assert_eq!(outlives(&Pulse::new(PATIENCE)).await, Some((120, Expired::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_began_must_end_soon_however_many_bytes_follow() {
        let pulse = Pulse::new(PATIENCE);
        pulse.received();
        advance(Duration::from_secs(10)).await;
        pulse.received();
        assert_eq!(outlives(&pulse).await, Some((5, Expired::SlowHead)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_may_take_as_long_as_it_likes() {
        let pulse = Pulse::new(PATIENCE);
        pulse.received();
        let busy = pulse.begin();
        assert_eq!(outlives(&pulse).await, None);
        drop(busy);
        assert_eq!(outlives(&pulse).await, Some((120, Expired::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_neither_prolong_nor_shorten_an_http2_connection() {
        let pulse = Pulse::new(PATIENCE);
        pulse.received();
        pulse.speaks_http2();
        advance(Duration::from_secs(100)).await;
        pulse.received();
        assert_eq!(outlives(&pulse).await, Some((20, Expired::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_though_its_request_runs() {
        let pulse = Pulse::new(PATIENCE);
        let _busy = pulse.begin();
        pulse.wrote(true);
        advance(Duration::from_secs(50)).await;
        pulse.wrote(true);
        assert_eq!(outlives(&pulse).await, Some((10, Expired::SlowReader)));
        pulse.wrote(false);
        assert_eq!(outlives(&pulse).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_several_streams_makes_it_idle() {
        let pulse = Pulse::new(PATIENCE);
        let (first, second) = (pulse.begin(), pulse.begin());
        drop(first);
        assert_eq!(outlives(&pulse).await, None);
        drop(second);
        assert_eq!(outlives(&pulse).await, Some((120, Expired::Idle)));
    }
}
