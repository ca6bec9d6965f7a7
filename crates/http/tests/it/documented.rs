//! `docs/http.md` names what there is, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use roadstead_http::Metrics;
use roadstead_metadata as metadata;
use roadstead_metadata::records::damage::Kind;
use roadstead_registry::SystemClock;
use roadstead_storage::Operation;
use roadstead_workers::{DamageCount, Progress, StepError, Supervisor, Worker};

use crate::wire::Running;

const DOCUMENT: &str = include_str!("../../../../docs/http.md");

/// The names between backticks that begin as a metric does.
fn documented() -> BTreeSet<String> {
    let quoted = DOCUMENT.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.starts_with("roadstead_") || name.starts_with("process_")).map(str::to_owned).collect()
}

/// The names of a text's metrics, as one would ask for them.
fn exported(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| match line.split_once(' ').unwrap() {
            (name, "counter") => format!("{name}_total"),
            (name, "info") => format!("{name}_info"),
            (name, _) => name.to_owned(),
        })
        .collect()
}

/// Does two things in one step and leaves three.
#[derive(Debug)]
struct Busy;

#[async_trait]
impl Worker for Busy {
    fn name(&self) -> &'static str {
        "busy"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn step(&self) -> Result<Progress, StepError> {
        Ok(Progress { done: 2, more: false, backlog: Some(3), bytes: 5, oldest: Some(7_000) })
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric() {
    let server = Running::start(Router::new(), |_| {}).await;
    // Of a family without a member nothing is shown: serve a request and give up a connection.
    let mut idle = server.connect().await;
    assert!(idle.is_closed().await);
    server.get("/_ping").await;
    let of_the_server = server.get("/metrics").await;

    let metrics = Metrics::new("1.2.3");
    metrics.storage_recorder("eu").record(Operation::Body, Ok(()), 1, Duration::ZERO);
    metrics.metadata_recorder().record(metadata::Operation::Commit, metadata::Outcome::Ok, Duration::ZERO);
    let workers = Arc::new(Supervisor::new(Arc::new(SystemClock::new())));
    metrics.show_workers(workers.clone());
    workers.spawn(Arc::new(Busy));
    while workers.statuses()[0].last_run.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(metrics.text().contains("roadstead_worker_backlog{worker=\"busy\"} 3.0\n"), "{}", metrics.text());
    assert!(metrics.text().contains("roadstead_worker_done_total{worker=\"busy\"} 2\n"), "{}", metrics.text());
    assert!(metrics.text().contains("roadstead_worker_oldest_seconds{worker=\"busy\"} 7.0\n"), "{}", metrics.text());
    metrics.show_password_hashes(|| 7);
    metrics.show_lost_log_lines(|| 7);
    assert!(metrics.text().contains("roadstead_log_lines_lost_total 7\n"), "{}", metrics.text());
    metrics.show_damage(|| vec![DamageCount { location: "eu".into(), kind: Kind::WrongHash, objects: 4 }]);
    let line = "roadstead_damaged_objects{location=\"eu\",kind=\"wrong_hash\"} 4.0\n";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    metrics.show_sources(|| vec![("htpasswd".into(), false)]);
    let line = "roadstead_identity_source_current{source=\"htpasswd\"} 0\n";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    let all = &exported(of_the_server.text()) | &exported(&metrics.text());
    let all = &all | &exported(&crate::tls::metrics().await);
    assert_eq!(all, documented());
}

#[tokio::test]
async fn every_state_of_health_and_every_path() {
    for state in ["healthy", "read-only", "degraded", "starting", "unhealthy", "draining"] {
        assert!(DOCUMENT.contains(&format!("| `{state}` | ")), "{state}");
    }
    let server = Running::start(Router::new(), |_| {}).await;
    for path in ["/load_balancer_status", "/_ping", "/health", "/health/instance", "/metrics"] {
        assert!(DOCUMENT.contains(path), "{path}");
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[test]
fn every_key_it_names_is_a_key() {
    let keys = include_str!("../../../../docs/configuration.md");
    let named: Vec<_> = DOCUMENT.split('`').skip(1).step_by(2).filter(|name| name.starts_with("http.")).collect();
    assert!(!named.is_empty());
    for key in named {
        assert!(keys.contains(&format!("### `{key}`")), "{key}");
    }
}
