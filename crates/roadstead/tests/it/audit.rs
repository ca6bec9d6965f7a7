//! `roadstead audit`, and what of it a process leaves behind.

use std::path::Path;

use roadstead_testkit::{Image, Launch, Seed};
use serde_json::Value;

use crate::gc::roadstead;

/// An instance that stores nothing of the audit by itself while a test runs.
fn launch() -> Launch {
    crate::scale::launch().set("ROADSTEAD_AUDIT__INTERVAL", "1h")
}

/// What is told of pulls and pushes, newest first: `push team/app:v1`.
fn told(directory: &Path, words: &[&str]) -> Vec<String> {
    let output = roadstead(directory, &[&["audit", "--json"][..], words].concat());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let tell = |event: Value| {
        assert!(event["digest"].is_string() && event["request_id"].is_string(), "{event}");
        assert_eq!((&event["remote"], &event["actor_kind"]), (&"127.0.0.1".into(), &"anonymous".into()), "{event}");
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}:{}", text("action"), text("outcome"), text("repository"), text("tag"))
    };
    events.map(tell).collect()
}

/// Files below a directory, of whatever is there.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found
}

#[test]
fn what_was_done_is_told_and_outlives_kills_and_stops() {
    let server = launch().start();
    let client = server.client();
    let image = Image::generate(Seed(1), &[1_000]);
    client.push_image("team/app", "v1", &image).unwrap();
    client.manifest("team/app", "v1").unwrap();
    let done = ["pull ok team/app:v1", "push ok team/app:v1", "push ok team/app:", "push ok team/app:"];
    // The command itself takes to the spool what was noted until then: from here on a kill loses none of it.
    assert_eq!(told(server.directory(), &["--repository", "team/app"]), done);
    let stored = server.directory().join("blobs/audit");
    assert_eq!(files(&stored), [""; 0]);

    // Killed: what was in the spool goes to the store at the next start.
    let server = server.restart();
    while files(&stored).is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(told(server.directory(), &[]), done);
    assert_eq!(told(server.directory(), &["-n", "1"]), done[..1]);
    assert_eq!(told(server.directory(), &["--action", "push", "--since", "1h"]), done[1..]);
    assert_eq!(told(server.directory(), &["--until", "1h"]), [""; 0]);
    let plain = roadstead(server.directory(), &["audit", "-n", "1"]);
    let line = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(line.contains(&format!("Z anonymous 127.0.0.1 pull ok team/app:v1@{}", image.digest())), "{line}");
    let wrong = roadstead(server.directory(), &["audit", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");

    // Stopped: all that was noted is in the store, to the last event.
    server.client().manifest("team/app", "v1").unwrap();
    let (status, directory) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert_eq!(files(&stored).len(), 2);
    let spool = files(&directory.path().join("metadata/audit"));
    assert!(spool.iter().all(|file| file.ends_with("/lock")), "{spool:?}");
    let server = launch().start_on(directory);
    assert_eq!(told(server.directory(), &["--action", "pull"]), ["pull ok team/app:v1"; 2]);
    let metrics = server.client().call("GET", "/metrics").unwrap();
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("roadstead_audit_dropped_total 0"), "{metrics}");
}

#[test]
fn what_is_noted_is_in_the_spool_within_a_second_without_being_asked_for() {
    let server = launch().start();
    server.client().push_image("team/app", "v1", &Image::generate(Seed(1), &[1_000])).unwrap();
    let spool = server.directory().join("metadata/audit/audit");
    while files(&spool).iter().all(|file| std::fs::read_to_string(file).unwrap().lines().count() < 3) {
        std::thread::yield_now();
    }
    let server = server.restart();
    assert_eq!(told(server.directory(), &[]).len(), 3);
}

#[test]
fn nothing_is_kept_when_it_is_switched_off() {
    let server = launch().set("ROADSTEAD_AUDIT__ENABLED", "false").start();
    server.client().push_image("team/app", "v1", &Image::generate(Seed(1), &[1_000])).unwrap();
    let refused = roadstead(server.directory(), &["audit"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!server.directory().join("metadata/audit").exists());
    let (_, directory) = server.terminate();
    assert!(!directory.path().join("blobs/audit").exists());
}

#[test]
fn logins_and_changes_are_told_over_the_network_to_system_admins_only() {
    let launch = launch().set("ROADSTEAD_AUTH__ENABLED", "true");
    let server = launch.set("ROADSTEAD_ADMIN_PASSWORD", "correct horse").start();
    let (nobody, admin) = (server.client(), server.client().user("admin", "correct horse"));
    assert_eq!(server.client().user("admin", "wrong horse").call("GET", "/v2/").unwrap().status, 401);
    let image = Image::generate(Seed(1), &[1_000]);
    admin.push_image("admin/app", "v1", &image).unwrap();
    assert!(nobody.pull_image("admin/app", "v1").is_err());
    assert_eq!(nobody.call("GET", "/api/v1/audit").unwrap().status, 401);
    let answer = admin.call("GET", "/api/v1/audit?since=2020-01-01").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let page: Value = serde_json::from_slice(&answer.body).unwrap();
    let events: Vec<String> = page["events"].as_array().unwrap().iter().map(line).collect();
    let pushed = format!("user admin push ok admin/app:v1@{}", image.digest());
    for expected in ["system - user.add ok admin", "claimed admin login denied", "user admin login ok", &pushed] {
        assert!(events.iter().any(|event| event == expected), "{expected} is not in {events:#?}");
    }
    assert!(!answer.body.windows(13).any(|text| text == b"correct horse"));
}

fn line(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let actor = if text("actor").is_empty() { "-".to_owned() } else { text("actor") };
    let sign =
        |sign: &str, name: &str| if text(name).is_empty() { String::new() } else { format!("{sign}{}", text(name)) };
    let what = format!("{}{}{}{}", text("repository"), sign(":", "tag"), sign("@", "digest"), text("object"));
    format!("{} {actor} {} {} {what}", text("actor_kind"), text("action"), text("outcome")).trim_end().to_owned()
}
