//! The order of system calls behind an acknowledged push: bytes durable, published, their name durable, metadata
//! durable, and only then the 201.

use std::collections::HashMap;
use std::process::Command;

use roadstead_testkit::{Content, Seed, digest};

use crate::scale;

/// One finished system call, at the place in the trace where it ended; a write stands where it began.
#[derive(Debug)]
struct Call {
    name: String,
    text: String,
}

#[test]
fn a_push_is_durable_before_it_is_acknowledged() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("SKIPPED strace: it is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let calls =
        "trace=fsync,fdatasync,msync,sync_file_range,rename,renameat,renameat2,link,linkat,write,writev,sendto,sendmsg";
    // -D: the server stays the child that the test waits for, and strace is the grandchild.
    let wrapper = ["strace", "-D", "-f", "-y", "-s", "64", "-e", calls, "-o", trace.to_str().unwrap()];
    let server = scale::launch().under(&wrapper).start();
    let client = server.client();
    let bytes = Content::new(Seed(3), 300_000).to_vec();
    client.push_blob("traced", &bytes).unwrap();
    let (status, _) = server.terminate();
    assert_eq!(status.code(), Some(0));

    let calls = parse(&std::fs::read_to_string(&trace).unwrap());
    let hex = digest(&bytes).replace("sha256:", "");
    let answer = position(&calls, 0, "the 201", |call| {
        matches!(call.name.as_str(), "write" | "writev" | "sendto" | "sendmsg") && call.text.contains("HTTP/1.1 201")
    });
    let is_sync = |call: &Call| matches!(call.name.as_str(), "fsync" | "fdatasync" | "msync");
    let before = &calls[..answer];
    let published = position(before, 0, "the publication of the blob", |call| {
        (call.name.starts_with("rename") || call.name.starts_with("link")) && call.text.contains(&hex)
    });
    let data = before[..published].iter().rposition(|call| is_sync(call) && call.text.contains("/blobs/"));
    assert!(data.is_some(), "the blob's bytes were not synced before they were published:\n{}", show(before));
    let named = position(before, published, "the sync of the directory that the blob stands in", |call| {
        is_sync(call) && call.text.contains(&hex[..2]) && call.text.contains("/blobs/")
    });
    // The log is mapped into memory, and nothing else is.
    position(before, named, "the sync of the metadata log", |call| call.name == "msync");
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
