//! `roadstead scrub` against a running server whose store was damaged, as an operator types it.

use std::fs;
use std::process::Output;

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
    assert!(server.output().contains("damaged object"), "{}", server.output());
}
