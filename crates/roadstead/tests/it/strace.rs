//! The order of system calls behind an acknowledged push: bytes durable, published, their name durable, metadata
//! durable, and only then the 201. Of a chunk: bytes durable, metadata durable, and only then the 202.

use std::collections::HashMap;
use std::process::Command;

use roadstead_testkit::{Client, Content, Seed, digest};

use crate::scale;

/// One finished system call, at the place in the trace where it ended; a write stands where it began.
#[derive(Debug)]
struct Call {
    name: String,
    text: String,
}

/// What a server does while `push` runs against it; `None`, with a line that says so, without strace.
fn traced(push: impl FnOnce(&Client)) -> Option<Vec<Call>> {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("SKIPPED strace: it is not installed");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let calls =
        "trace=fsync,fdatasync,msync,sync_file_range,rename,renameat,renameat2,link,linkat,write,writev,sendto,sendmsg";
    // -D: the server stays the child that the test waits for, and strace is the grandchild.
    let wrapper = ["strace", "-D", "-f", "-y", "-s", "64", "-e", calls, "-o", trace.to_str().unwrap()];
    let server = scale::launch().under(&wrapper).start();
    push(&server.client());
    let (status, _) = server.terminate();
    assert_eq!(status.code(), Some(0));
    Some(parse(&std::fs::read_to_string(&trace).unwrap()))
}

#[test]
fn a_push_is_durable_before_it_is_acknowledged() {
    let bytes = Content::new(Seed(3), 300_000).to_vec();
    let pushed = traced(|client| {
        client.push_blob("traced", &bytes).unwrap();
    });
    let Some(calls) = pushed else { return };
    let hex = digest(&bytes).replace("sha256:", "");
    let before = &calls[..answer(&calls, 0, "201")];
    let published = position(before, 0, "the publication of the blob", |call| {
        (call.name.starts_with("rename") || call.name.starts_with("link")) && call.text.contains(&hex)
    });
    let data = before[..published].iter().rposition(|call| is_sync(call) && call.text.contains("/blobs/"));
    assert!(data.is_some(), "the blob's bytes were not synced before they were published:\n{}", show(before));
    let named = position(before, published, "the sync of the directory that the blob stands in", |call| {
        is_sync(call) && call.text.contains(&hex[..2]) && call.text.contains("/blobs/")
    });
    position(before, named, "the sync of the metadata log", is_commit);
}

#[test]
fn each_chunk_is_durable_before_it_is_acknowledged() {
    let mut content = Content::new(Seed(4), 300_000);
    let pushed = traced(|client| {
        let upload = client.begin("traced").unwrap();
        let upload = client.append(&upload, &mut content, 100_000).unwrap();
        client.append(&upload, &mut content, 200_000).unwrap();
    });
    let Some(calls) = pushed else { return };
    // The first 202 is that of the POST, which promises nothing.
    let mut from = answer(&calls, 0, "202") + 1;
    for chunk in ["first", "second"] {
        let to = answer(&calls, from, "202");
        let synced = position(&calls[from..to], 0, &format!("the sync of the {chunk} chunk"), |call| {
            is_sync(call) && call.text.contains("/blobs/uploads/")
        });
        position(&calls[from..to], synced, &format!("the sync of the {chunk} chunk's commit"), is_commit);
        from = to + 1;
    }
}

/// Where the server begins to answer with this status.
fn answer(calls: &[Call], from: usize, status: &str) -> usize {
    position(calls, from, &format!("the {status}"), |call| {
        matches!(call.name.as_str(), "write" | "writev" | "sendto" | "sendmsg")
            && call.text.contains(&format!("HTTP/1.1 {status}"))
    })
}

fn is_sync(call: &Call) -> bool {
    matches!(call.name.as_str(), "fsync" | "fdatasync" | "msync")
}

/// The metadata log is mapped into memory, and nothing else is.
fn is_commit(call: &Call) -> bool {
    call.name == "msync"
}

fn position(calls: &[Call], from: usize, what: &str, is: impl Fn(&Call) -> bool) -> usize {
    let found = calls.iter().skip(from).position(is);
    found.unwrap_or_else(|| panic!("{what} is not in the trace where it should be:\n{}", show(calls))) + from
}

fn show(calls: &[Call]) -> String {
    calls
        .iter()
        .filter(|call| !call.name.starts_with("write"))
        .fold(String::new(), |text, call| text + &call.text + "\n")
}

/// `PID name(arguments) = result`, or in two halves around calls of other threads.
fn parse(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (String, String)> = HashMap::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            if let Some((name, text)) = unfinished.remove(pid)
                && resumed.contains("resumed")
            {
                calls.push(Call { name, text });
            }
            continue;
        }
        let Some((name, _)) = rest.split_once('(') else { continue };
        let is_write = name.starts_with("write") || name.starts_with("send");
        if rest.ends_with("<unfinished ...>") && !is_write {
            unfinished.insert(pid, (name.to_owned(), rest.to_owned()));
        } else {
            calls.push(Call { name: name.to_owned(), text: rest.to_owned() });
        }
    }
    calls
}
