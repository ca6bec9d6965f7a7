//! Measurements at scale, printed and not judged: times are no part of a gate. `cargo xtask measure` runs them on the
//! release binary, one after the other; `docs/benchmarks.md` has what they printed.

mod logins;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use roadstead_testkit::{Body, Client, Content, Image, Request, Seed, Server};

use crate::scale;

const MANY: usize = 100_000;
const FEW: usize = 1_000;
const CLIENTS: usize = 16;

/// The number that a variable asks for, or a usual one.
fn given(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// Does `each` with every number below `count`, by several clients at once.
fn by_many(server: &Server, count: usize, each: impl Fn(&Client, usize) + Sync) {
    let next = AtomicU64::new(0);
    scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = server.client();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed) as usize;
                    if number >= count {
                        return;
                    }
                    each(&client, number);
                }
            });
        }
    });
}

fn milliseconds(of: Duration) -> f64 {
    of.as_secs_f64() * 1e3
}

/// The time that a share of all took at most.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .map_or(0.0, milliseconds)
}

fn image() -> Image {
    Image::generate(Seed(1), &[1_000])
}

/// Sets so many tags, fifty with each push.
fn tag(server: &Server, repository: &str, count: usize) {
    let image = image();
    server.client().push_image(repository, "t000000", &image).unwrap();
    by_many(server, count.div_ceil(50), |client, number| {
        let names = (number * 50..count.min(number * 50 + 50)).map(|tag| format!("t{tag:06}")).collect::<Vec<_>>();
        let query = names[1..].iter().map(|name| format!("tag={name}")).collect::<Vec<_>>().join("&");
        let reference = format!("{}?{query}", names[0]);
        client.push_manifest(repository, &reference, Image::MANIFEST, &image.manifest).unwrap();
    });
}

/// Makes so many repositories, by mounting one blob.
fn repositories(server: &Server, count: usize) {
    let digest = server.client().push_blob("r/000000", b"mounted").unwrap();
    by_many(server, count, |client, number| {
        let target = format!("/v2/r/{number:06}/blobs/uploads/?mount={digest}&from=r/000000");
        assert_eq!(client.call("POST", &target).unwrap().status, 201);
    });
}

/// The median time of a page of 100 after `last`, in milliseconds; of several pages in turn.
fn pages(targets: &[(Client, String)]) -> Vec<f64> {
    let mut took = vec![Vec::new(); targets.len()];
    for _ in 0..300 {
        for ((client, target), took) in targets.iter().zip(&mut took) {
            let begin = Instant::now();
            let answer = client.call("GET", target).unwrap();
            took.push(begin.elapsed());
            assert_eq!(answer.status, 200, "{target}");
            let names = answer.json().as_object().unwrap().values().find_map(|list| Some(list.as_array()?.len()));
            assert_eq!(names, Some(100), "{target}");
        }
    }
    took.iter_mut().for_each(|took| took.sort());
    took.iter().map(|took| quantile(took, 0.5)).collect()
}

#[test]
#[ignore = "a measurement: cargo xtask measure"]
fn a_page_of_a_long_list_beside_one_of_a_short() {
    let servers = [scale::launch().start(), scale::launch().start()];
    for (server, count) in servers.iter().zip([FEW, MANY]) {
        let begin = Instant::now();
        tag(server, "l/tags", count);
        repositories(server, count);
        println!("{count} tags and repositories made in {:.1} s", begin.elapsed().as_secs_f64());
    }
    println!("| page of 100 | at {FEW}, ms | at {MANY}, ms | ratio |\n|---|---|---|---|");
    for (list, letter) in [("/v2/l/tags/tags/list", "t"), ("/v2/_catalog", "r/")] {
        for (page, share) in [("first", 0), ("middle", 2), ("last", 1)] {
            let targets = servers.iter().zip([FEW, MANY]).map(|(server, count)| {
                // The list of repositories begins with that of the tags.
                let before = if share == 2 { count / 2 } else { count - 100 };
                let last = format!("&last={letter}{:06}", before - 1);
                (server.client(), format!("{list}?n=100{}", if share == 0 { "" } else { &last }))
            });
            let took = pages(&targets.collect::<Vec<_>>());
            println!("| {list} {page} | {:.3} | {:.3} | {:.2} |", took[0], took[1], took[1] / took[0]);
        }
    }
}

/// Seconds from the start of the process until it answers `target` with 200.
fn start(start: impl FnOnce() -> Server, target: &str) -> (f64, Server) {
    let begin = Instant::now();
    let server = start();
    let request = Request::new("GET", target).header("Accept", Image::MANIFEST);
    assert_eq!(server.client().send(&request, Body::None).unwrap().status, 200);
    (begin.elapsed().as_secs_f64(), server)
}

/// Starts again after a clean stop and after kill -9, several times each.
fn restarts(mut server: Server, what: &str, dirty: impl Fn(&Server)) {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (killed, took) in [false, true].into_iter().zip(&mut took) {
            dirty(&server);
            let directory = if killed { server.kill9() } else { server.terminate().1 };
            let (seconds, next) = start(|| scale::launch().start_on(directory), "/v2/s/app/manifests/t000000");
            took.push(seconds);
            server = next;
        }
    }
    println!(
        "start until a manifest is answered by tag, {what}: after a clean stop {:.2?} s, after kill -9 {:.2?} s",
        took[0], took[1]
    );
}

#[test]
#[ignore = "a measurement: cargo xtask measure"]
fn the_time_until_a_started_server_answers() {
    let empty: Vec<f64> = (0..3).map(|_| start(|| scale::launch().start(), "/v2/").0).collect();
    println!("start on an empty directory until /v2/ is answered: {empty:.2?} s");
    let server = scale::launch().start();
    let image = image();
    server.client().push_image("s/app", "t000000", &image).unwrap();
    restarts(server, "one image", |_| {});

    let server = scale::launch().start();
    tag(&server, "s/app", MANY);
    restarts(server, "100,000 tags", |_| {});

    // As many commits since the last snapshot as there can be, one by one so that none shares its log entry.
    let server = scale::launch().start();
    server.client().push_image("s/app", "t000000", &image).unwrap();
    restarts(server, "9,000 commits since the start before", |server| {
        let client = server.client();
        for number in 0..9_000 {
            client.push_manifest("s/app", &format!("t{:06}", number % 100), Image::MANIFEST, &image.manifest).unwrap();
        }
    });
}

/// A manifest of about 64 KiB that does not compress well.
fn bulky(config: &str, number: usize) -> Vec<u8> {
    let mut bytes = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": Image::MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [],
        "annotations": {"noise": " ".repeat(64_000)},
    })
    .to_string()
    .into_bytes();
    let blank = bytes.iter().position(|byte| *byte == b' ').unwrap();
    let noise = Content::new(Seed(number as u64), 64_000).to_vec();
    bytes[blank..].iter_mut().zip(noise).for_each(|(byte, noise)| {
        if *byte == b' ' {
            // Printable, and none that JSON escapes.
            *byte = b'0' + noise % 43;
        }
    });
    bytes
}

/// hiqlite's database, and the newest of its snapshots.
fn database(server: &Server) -> (PathBuf, Option<String>) {
    let machine = server.directory().join("metadata/raft/state_machine");
    let snapshots = std::fs::read_dir(machine.join("snapshots")).into_iter().flatten().flatten();
    let names = snapshots.filter_map(|entry| entry.file_name().into_string().ok());
    let found = std::fs::read_dir(machine.join("db")).unwrap().flatten().map(|entry| entry.path());
    let largest = found.max_by_key(|path| std::fs::metadata(path).map_or(0, |file| file.len())).unwrap();
    (largest, names.filter(|name| !name.ends_with(".tmp")).max())
}

fn size_of(server: &Server) -> u64 {
    std::fs::metadata(database(server).0).map_or(0, |file| file.len())
}

#[test]
#[ignore = "a measurement that takes 15 GB of disk: cargo xtask measure"]
fn the_time_of_a_commit_across_a_snapshot_of_a_large_database() {
    let wanted = given("ROADSTEAD_MEASURE_MB", 3_000) as u64 * 1_000_000;
    let server = scale::launch().start();
    let begin = Instant::now();
    let config = server.client().push_blob("c/app", b"{}").unwrap();
    let step = 1_000;
    for round in 0.. {
        if size_of(&server) >= wanted {
            break;
        }
        by_many(&server, step, |client, number| {
            let manifest = bulky(&config, round * step + number);
            let digest = roadstead_testkit::digest(&manifest);
            // A snapshot on the way may hold up commits for longer than a push waits.
            while let Err(error) = client.push_manifest("c/app", &digest, Image::MANIFEST, &manifest) {
                println!("pushed again after {error}");
            }
        });
    }
    println!("a database of {} MB made in {:.0} s", size_of(&server) / 1_000_000, begin.elapsed().as_secs_f64());

    let image = image();
    server.client().push_image("c/app", "latest", &image).unwrap();
    let (before, done, refused) = (database(&server).1, AtomicBool::new(false), AtomicU64::new(0));
    let (all, begin) = (Mutex::new(Vec::new()), Instant::now());
    let mut snapshot = None;
    scope(|scope| {
        for worker in 0..CLIENTS {
            let (server, image, done, refused, all) = (&server, &image, &done, &refused, &all);
            scope.spawn(move || {
                let (client, mut own) = (server.client(), Vec::new());
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let (tag, at) = (format!("w{worker}-{}", number % 100), Instant::now());
                    match client.push_manifest("c/app", &tag, Image::MANIFEST, &image.manifest) {
                        Ok(_) => own.push((at.duration_since(begin), at.elapsed())),
                        Err(error) => {
                            println!("refused after {:.2} s: {error}", at.elapsed().as_secs_f64());
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                all.lock().unwrap().extend(own);
            });
        }
        // From before a snapshot until well after it.
        while begin.elapsed() < Duration::from_secs(600) {
            std::thread::sleep(Duration::from_millis(20));
            if snapshot.is_none() && database(&server).1 != before {
                snapshot = Some(begin.elapsed());
            }
            if snapshot.is_some_and(|at| begin.elapsed() > at + Duration::from_secs(10)) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let all = all.into_inner().unwrap();
    let at = snapshot.expect("a snapshot");
    let near = |(begun, took): &(Duration, Duration)| *begun + *took + Duration::from_secs(10) > at;
    for (what, some) in [
        ("all since the start", all.clone()),
        ("from 10 s before it to 10 s after", all.into_iter().filter(near).collect()),
    ] {
        let mut took: Vec<Duration> = some.into_iter().map(|(_, took)| took).collect();
        took.sort();
        println!(
            "commits across a snapshot of {} MB, {what}: {} of {CLIENTS} clients, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, longest {:.0} ms; {} refused",
            size_of(&server) / 1_000_000,
            took.len(),
            quantile(&took, 0.5),
            quantile(&took, 0.99),
            quantile(&took, 0.999),
            quantile(&took, 1.0),
            refused.load(Ordering::Relaxed),
        );
    }
}
