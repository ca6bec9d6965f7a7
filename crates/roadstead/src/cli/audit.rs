//! `roadstead audit`: who did what, newest first.

use std::fmt::Write as _;

use hyper::Method;
use roadstead_registry::audit::{to_text, to_time};
use roadstead_registry::{Clock as _, SystemClock};
use serde::Deserialize;
use serde_json::Value;

use super::admin::{Instance, Refused, block_on, exit};
use super::{Exit, print};
use crate::config::units::Span;

/// Events asked for at once.
const PAGE: usize = 500;

/// What the command line asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    instance: Instance,
    /// From then on: a time (2025-06-15, 2025-06-15T10:30:00Z) or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Before then, likewise
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// Of this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Of this user or robot; or of anonymous, operator or system
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// login, pull, push, mount, delete, list, dropped, or a change: user.add, or user for all changes of users
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// ok, denied, failed or unknown
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// So many events at most; 0 for all
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
    /// Print JSON, one event a line
    #[arg(long)]
    json: bool,
}

/// A page: see the admin API's `GET /api/v1/audit`.
#[derive(Debug, Deserialize)]
struct Page {
    events: Vec<Value>,
    next: Option<String>,
}

/// Tells what was done.
pub(super) fn run(arguments: &Arguments) -> Exit {
    exit(block_on(show(arguments)), arguments.json)
}

async fn show(arguments: &Arguments) -> Result<Exit, Refused> {
    let mut left = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let mut last = None;
    loop {
        let path = arguments.path(left.min(PAGE), last.as_deref());
        let page: Page = arguments.instance.ask(Method::GET, &path, None).await?.whole().await?;
        left = left.saturating_sub(page.events.len());
        let line = |event: &Value| if arguments.json { format!("{event}\n") } else { told(event) };
        let printed = print(&page.events.iter().map(line).collect::<String>());
        last = page.next;
        if last.is_none() || left == 0 || printed != Exit::Done {
            return Ok(printed);
        }
    }
}

impl Arguments {
    fn path(&self, number: usize, last: Option<&str>) -> String {
        let mut path = format!("/api/v1/audit?n={number}");
        let time = |at: Option<i64>| at.map(|at| at.to_string());
        let (since, until) = (time(self.since), time(self.until));
        for (name, value) in [
            ("since", since.as_deref()),
            ("until", until.as_deref()),
            ("repository", self.repository.as_deref()),
            ("actor", self.actor.as_deref()),
            ("action", self.action.as_deref()),
            ("outcome", self.outcome.as_deref()),
            ("last", last),
        ] {
            if let Some(value) = value {
                let _ = write!(path, "&{name}=");
                encode(value, &mut path);
            }
        }
        path
    }
}

/// A time, or how long ago.
fn moment(text: &str) -> Result<i64, String> {
    if let Ok(ago) = text.parse::<Span>() {
        let ago = i64::try_from(ago.get().as_millis()).unwrap_or(i64::MAX);
        return Ok(SystemClock::new().now().saturating_sub(ago).max(0));
    }
    to_time(text).map_err(|error| format!("{error}, or how long ago: 2h, 7d"))
}

/// Percent-encodes all that means something in a query.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => into.push(byte.into()),
            _ => {
                let _ = write!(into, "%{byte:02X}");
            }
        }
    }
}

/// An event in a line for a person. What others chose has no control characters here.
fn told(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let at = event.get("at").and_then(Value::as_i64).unwrap_or_default();
    let mut what = text("repository").to_owned();
    for (sign, name) in [(":", "tag"), ("@", "digest")] {
        if !text(name).is_empty() {
            let _ = write!(what, "{sign}{}", text(name));
        }
    }
    for name in ["object", "detail"] {
        if !text(name).is_empty() {
            let _ = write!(what, " {}", text(name));
        }
    }
    if let Some(count) = event.get("count").and_then(Value::as_u64) {
        let _ = write!(what, " ({count} times)");
    }
    let actor = if text("actor").is_empty() { text("actor_kind") } else { text("actor") };
    let remote = if text("remote").is_empty() { "-" } else { text("remote") };
    let (action, outcome) = (text("action"), text("outcome"));
    let line = format!("{} {actor} {remote} {action} {outcome} {}", to_text(at), what.trim());
    let line: String = line.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let pull = json!({
            "at": 1_750_000_000_123_i64, "action": "pull", "outcome": "ok", "actor_kind": "user", "actor": "alice",
            "remote": "10.0.0.1", "repository": "team/app", "tag": "v1", "digest": "sha256:ab", "count": 7,
        });
        assert_eq!(told(&pull), "2025-06-15T15:06:40.123Z alice 10.0.0.1 pull ok team/app:v1@sha256:ab (7 times)\n");
        let forged = json!({
            "at": 0, "action": "login", "outcome": "denied", "actor_kind": "claimed", "actor": "a\nb\u{1b}[2J",
        });
        assert_eq!(told(&forged), "1970-01-01T00:00:00.000Z a?b?[2J - login denied\n");
    }

    #[test]
    fn what_is_asked_for_is_encoded() {
        let mut path = String::new();
        encode("acme+ci &x=1/ü", &mut path);
        assert_eq!(path, "acme%2Bci%20%26x%3D1/%C3%BC");
    }
}
