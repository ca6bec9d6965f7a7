//! `cargo xtask servers` as a person types it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::print_stderr)]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use roadstead_testkit::servers::KNOWN;
use rustix::process::{Pid, Signal, kill_process};

/// Whether the servers are there. Without them a test is skipped, and says so; with `CI=true` it fails.
fn present(names: &[&str]) -> bool {
    let absent = KNOWN.iter().filter(|known| names.contains(&known.name) && known.path().is_none());
    let absent: Vec<_> = absent.map(|known| known.install).collect();
    let forbidden = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(absent.is_empty() || !forbidden, "not installed: {absent:?}");
    absent.iter().for_each(|install| eprintln!("skipped: {install}"));
    absent.is_empty()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_started_can_be_used_and_leaves_nothing_behind() {
    let names = ["postgres", "s3s-fs", "minio", "pgbouncer"];
    if !present(&names) {
        return;
    }
    for (signal, names) in [(Signal::INT, &names[..2]), (Signal::KILL, &names[2..])] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["servers", "start"]).args(names).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut started = command.spawn().unwrap();
        let lines = BufReader::new(started.stdout.take().unwrap()).lines().map(Result::unwrap);
        let told: Vec<String> = lines.take_while(|line| !line.starts_with("Ctrl-C")).collect();
        let after = |word: &str| told.iter().filter_map(|line| Some(line.split_once(word)?.1)).collect::<Vec<_>>();
        assert!(told.iter().any(|line| line.starts_with("export ROADSTEAD_")), "{told:#?}");

        let addresses: Vec<_> = after("127.").iter().map(|rest| address(rest)).collect();
        assert!(addresses.len() >= names.len(), "{told:#?}");
        let directories: Vec<PathBuf> = after("its data is in ").iter().map(PathBuf::from).collect();
        assert!(directories.len() >= names.len() && directories.iter().all(|it| it.is_dir()), "{directories:?}");
        assert!(addresses.iter().all(|addr| TcpStream::connect(addr).is_ok()), "{told:#?}");

        kill_process(Pid::from_child(&started), signal).unwrap();
        started.wait().unwrap();
        until("they are gone", || addresses.iter().all(|addr| TcpStream::connect(addr).is_err()));
        until("their data is gone", || directories.iter().all(|directory| !directory.exists()));
    }
}

/// The address whose first number, 127, was cut off.
fn address(text: &str) -> SocketAddr {
    let rest = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).next().unwrap();
    format!("127.{rest}").parse().unwrap()
}

#[test]
fn a_name_that_is_not_known_is_told_the_others() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["servers", "start", "mongodb"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("mongodb") && told.contains("pgbouncer"), "{told}");
}
