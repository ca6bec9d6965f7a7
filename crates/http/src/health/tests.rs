#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::advance;

use super::*;

fn failed() -> Finding {
    Finding::Failed("connection refused".into())
}

#[test]
fn unhealthy_after_three_failures_in_a_row_and_healthy_after_one_success() {
    let mut tracker = Tracker::new();
    assert_eq!(tracker.observe(&Finding::Well), Some(Condition::Healthy));
    assert_eq!(tracker.observe(&failed()), None);
    assert_eq!(tracker.observe(&failed()), None);
    assert_eq!(tracker.observe(&Finding::Well), None, "a success forgives the strikes");
    assert_eq!(tracker.observe(&failed()), None);
    assert_eq!(tracker.observe(&failed()), None);
    assert_eq!(tracker.observe(&failed()), Some(Condition::Unhealthy));
    assert_eq!(tracker.observe(&failed()), None);
    assert_eq!(tracker.observe(&Finding::Well), Some(Condition::Healthy));
}

#[test]
fn what_never_worked_is_starting_then_unhealthy() {
    let mut tracker = Tracker::new();
    assert_eq!(tracker.observe(&failed()), None);
    assert_eq!(tracker.condition, Condition::Starting);
    assert_eq!(tracker.observe(&failed()), None);
    assert_eq!(tracker.observe(&failed()), Some(Condition::Unhealthy));
}

fn verdict(metadata: Condition, other_location: Condition, draining: bool) -> (bool, &'static str, String) {
    let components = vec![("metadata".to_owned(), metadata, true), ("storage far".to_owned(), other_location, false)];
    let v = Verdict::of(components, draining);
    (v.serving, v.state, v.error)
}

#[test]
fn health_never_empties_the_pool() {
    use Condition::{Healthy, ReadOnly, Starting, Unhealthy};
    assert_eq!(verdict(Healthy, Healthy, false), (true, "healthy", String::new()));
    let (serving, state, error) = verdict(ReadOnly, Healthy, false);
    assert!(serving && state == "read-only" && error.contains("metadata"), "{error}");
    let (serving, state, error) = verdict(Healthy, Unhealthy, false);
    assert!(serving && state == "degraded" && error.contains("storage far"), "{error}");
    let (serving, state, error) = verdict(Unhealthy, Healthy, false);
    assert!(!serving && state == "unhealthy" && error.contains("metadata"), "{error}");
    assert!(!verdict(Starting, Healthy, false).0);
    assert!(verdict(Healthy, Starting, false).0);
}

#[test]
fn draining_skips_the_strikes() {
    let health = Health::new(Vec::new());
    assert!(health.verdict().serving);
    health.drain();
    assert_eq!((health.verdict().serving, health.verdict().state), (false, "draining"));
    assert_eq!(verdict(Condition::Healthy, Condition::Healthy, true).1, "draining");
}

/// Gives the prepared findings in order, then hangs.
struct Script(Mutex<VecDeque<Finding>>);

#[async_trait]
impl Probe for Script {
    async fn probe(&self) -> Finding {
        let next = self.0.lock().pop_front();
        match next {
            Some(finding) => finding,
            None => std::future::pending().await,
        }
    }
}

/// Lets the probing tasks run, without time passing.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn probes_run_each_second_and_a_hanging_one_counts_as_failed() {
    let script = Script(Mutex::new([failed(), Finding::Well].into()));
    let component = Component { name: "metadata".into(), needed_to_pull: true, probe: Arc::new(script) };
    let health = Health::new(vec![component]);
    assert_eq!(health.verdict().state, "starting");
    let _prober = health.probe_every_second();
    settle().await;
    assert_eq!(health.verdict().state, "starting", "the first probe runs at once, and failed");
    advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(health.verdict().state, "healthy");
    // The probe of the next second hangs, and so do those that follow it: two seconds each.
    let mut seconds = 0;
    while health.verdict().state == "healthy" {
        advance(Duration::from_secs(1)).await;
        settle().await;
        seconds += 1;
    }
    assert_eq!((health.verdict().state, seconds), ("unhealthy", 1 + 3 * 2));
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_delays_no_other() {
    let script = |findings: &[Finding]| Arc::new(Script(Mutex::new(findings.to_vec().into())));
    let component = |name: &str, probe| Component { name: name.into(), needed_to_pull: true, probe };
    let health = Health::new(vec![component("hangs", script(&[])), component("well", script(&[Finding::Well]))]);
    let _prober = health.probe_every_second();
    settle().await;
    let conditions: Vec<_> = health.verdict().components.iter().map(|(_, c, _)| *c).collect();
    assert_eq!(conditions, [Condition::Starting, Condition::Healthy]);
}
