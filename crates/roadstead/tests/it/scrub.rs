//! `roadstead scrub` against a running server whose store was damaged, as an operator types it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::time::{Duration, Instant};

use roadstead_testkit::{Image, Seed, Server, digest};
use serde_json::Value;

use crate::corruption::{file_of, flip_at};
use crate::gc::roadstead;

fn scrub(server: &Server, words: &[&str]) -> Output {
    roadstead(server.directory(), &[&["scrub", "--rate", "1GiB"], words].concat())
}

/// Kind and digest of what it names, and the last line.
fn told(output: &Output) -> (Vec<(String, String)>, Value) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let damaged = lines.iter().filter(|line| line["event"] == "damaged");
    let mut named: Vec<(String, String)> = damaged
        .map(|line| {
            assert_eq!(line["repositories"], serde_json::json!(["team/app"]));
            (line["kind"].as_str().unwrap().to_owned(), line["digest"].as_str().unwrap().to_owned())
        })
        .collect();
    named.sort();
    let end = lines.last().unwrap_or_else(|| panic!("{output:?}")).clone();
    assert_eq!(end["event"], "end");
    (named, end)
}

fn status_of(server: &Server, method: &str, blob: &str) -> u16 {
    server.client().call(method, &format!("/v2/team/app/blobs/{blob}")).unwrap().status
}

fn damaged_metric(server: &Server) -> f64 {
    let metrics = server.client().call("GET", "/metrics").unwrap();
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    let lines = text.lines().filter(|line| line.starts_with("roadstead_damaged_objects{"));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[test]
fn what_is_damaged_is_named_refused_and_healed() {
    let server = crate::scale::launch().start();
    let client = server.client();
    let image = Image::generate(Seed(1), &[200_000, 3_000, 50_000]);
    client.push_image("team/app", "v1", &image).unwrap();
    let clean = scrub(&server, &["--deep"]);
    assert_eq!(clean.status.code(), Some(0), "{clean:?}");
    assert!(String::from_utf8_lossy(&clean.stdout).contains("4 objects looked at"), "{clean:?}");

    let (flipped, lost) = (digest(&image.blobs[0]), digest(&image.blobs[1]));
    let bytes = fs::read(file_of(&server, &lost)).unwrap();
    flip_at(&file_of(&server, &flipped), image.blobs[0].len() as u64 / 2);
    let lost_at = file_of(&server, &lost);
    fs::remove_file(&lost_at).unwrap();
    let (named, _) = told(&scrub(&server, &["--json"]));
    assert_eq!(named, [("missing".to_owned(), lost.clone())], "without reading");
    let found = scrub(&server, &["--deep", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let (named, end) = told(&found);
    assert_eq!(named, [("missing".to_owned(), lost.clone()), ("wrong_hash".to_owned(), flipped.clone())]);
    assert_eq!(end["damaged"], 2);
    for blob in [&flipped, &lost] {
        assert_eq!((status_of(&server, "GET", blob), status_of(&server, "HEAD", blob)), (500, 404));
    }
    assert!(client.pull_image("team/app", "v1").is_err());
    let server = server.restart();
    let again = scrub(&server, &[]);
    assert_eq!(again.status.code(), Some(1), "what is known is known to another process");
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(text.contains(&flipped) && text.contains("linked by team/app"), "{text}");
    assert!(damaged_metric(&server) >= 2.0);

    // One comes back from a backup, the other by a push.
    fs::write(&lost_at, bytes).unwrap();
    server.client().push_blob("team/app", &image.blobs[0]).unwrap();
    let healed = scrub(&server, &["--deep", "--json"]);
    let (_, end) = told(&healed);
    assert_eq!(end["repaired"], 1, "{end}");
    server.client().pull_image("team/app", "v1").unwrap();
    // What the push replaced is cleared away between runs.
    while damaged_metric(&server) > 0.0 {
        let _ = scrub(&server, &[]);
    }
    let clean = scrub(&server, &["--deep"]);
    assert_eq!(clean.status.code(), Some(0), "{clean:?}");
}

#[test]
fn a_pull_of_a_damaged_blob_names_it_at_once() {
    let server = crate::scale::launch().start();
    let image = Image::generate(Seed(2), &[100_000]);
    server.client().push_image("team/app", "v1", &image).unwrap();
    let lost = digest(&image.blobs[0]);
    fs::remove_file(file_of(&server, &lost)).unwrap();
    assert_eq!(status_of(&server, "GET", &lost), 500);
    while damaged_metric(&server) < 1.0 {
        std::thread::yield_now();
    }
    // The log is written a moment later.
    while !server.output().contains("damaged object") {
        std::thread::yield_now();
    }
}

/// An answer of the admin API: status and body.
pub(crate) fn admin(server: &Server, request: &str) -> (u16, Value) {
    let (head, body) = request.split_once(' ').map_or((request, ""), |(method, body)| (method, body));
    let mut socket = UnixStream::connect(server.directory().join("metadata/admin.sock")).unwrap();
    let length = body.len();
    let text = format!(
        "{head} /api/v1/scrub HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn a_run_survives_a_crash_goes_alone_and_can_be_stopped() {
    let server = crate::scale::launch().start();
    server.client().push_image("team/app", "v1", &Image::generate(Seed(3), &[2_000_000])).unwrap();
    let (status, answer) = admin(&server, r#"POST {"deep": true, "rate": 65536}"#);
    assert_eq!(status, 202, "{answer}");
    let run = answer["run"].clone();
    let server = crate::scale::launch().start_on(server.kill9());
    let (status, told) = admin(&server, "GET");
    assert_eq!((status, &told["running"]), (200, &true.into()), "{told}");
    assert_eq!(told["locations"][0]["last"]["run"], run);
    assert_eq!(admin(&server, r#"POST {"deep": false}"#).0, 409);
    assert_eq!(admin(&server, r#"POST {"depe": true}"#).0, 422);
    let (status, slow) = admin(&server, r#"POST {"rate": 65535}"#);
    assert!(status == 422 && slow["errors"][0]["message"].as_str().unwrap().contains("64KiB"), "{slow}");
    let refused = scrub(&server, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("under way"), "{refused:?}");
    assert_eq!(admin(&server, "DELETE").0, 204);
    let (_, told) = admin(&server, "GET");
    assert_eq!((&told["running"], &told["locations"][0]["last"]["stopped"]), (&false.into(), &true.into()));
    assert_eq!(scrub(&server, &[]).status.code(), Some(0));
}

/// As metadata that was restored from a backup finds a store to which 101 blobs have come since.
#[test]
fn many_objects_that_nothing_names_are_kept_until_somebody_lets_them_go() {
    let server = crate::scale::launch().set("ROADSTEAD_GC__GRACE", "1s").start();
    server.client().push_image("team/app", "v1", &Image::generate(Seed(4), &[3_000])).unwrap();
    let blobs = server.directory().join("blobs/blobs/sha256");
    let newer: Vec<_> = (0..101_u32)
        .map(|number| {
            let hex = digest(&number.to_be_bytes()).replace("sha256:", "");
            blobs.join(&hex[..2]).join(format!("{hex}-{number:08}"))
        })
        .collect();
    for object in &newer {
        fs::create_dir_all(object.parent().unwrap()).unwrap();
        fs::write(object, "pushed since the backup").unwrap();
    }
    let told = scrub(&server, &[]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("101 objects at ") && text.contains("`roadstead scrub --reap-orphans`"), "{text}");
    assert_eq!(told.status.code(), Some(0), "nothing is damaged");
    let (_, end) = self::told(&scrub(&server, &["--json"]));
    assert_eq!(end["held_orphans"], 101);
    assert!(newer.iter().all(|object| object.exists()));

    let let_go = roadstead(server.directory(), &["scrub", "--reap-orphans"]);
    let text = String::from_utf8_lossy(&let_go.stdout).into_owned();
    assert!(let_go.status.success() && text.starts_with("101 objects"), "{let_go:?}");
    let deadline = Instant::now() + Duration::from_secs(120);
    // The reaper looks once a minute.
    while admin(&server, "GET").1["orphans"] != 0 {
        assert!(Instant::now() < deadline, "they go to the reaper within seconds");
        std::thread::sleep(Duration::from_millis(100));
    }
}
