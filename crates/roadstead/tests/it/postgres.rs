//! Metadata in PostgreSQL: the same promises as on a disk, and several instances that share one registry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_testkit::servers::{Database, Late, Postgres, database};
use roadstead_testkit::{Body, Client, Content, Image, Launch, Ledger, Request, Server};
use tempfile::TempDir;

use crate::scale;

/// A server whose metadata is in this database.
pub(crate) fn launch(database: &Database) -> Launch {
    scale::launch().set_all(database.variables())
}

/// Where all instances keep their blobs.
pub(crate) fn blobs() -> TempDir {
    tempfile::Builder::new().prefix("roadstead-blobs-").tempdir().unwrap()
}

pub(crate) fn with_blobs_in(launch: Launch, blobs: &TempDir) -> Launch {
    launch.set("ROADSTEAD_STORAGE__FILESYSTEM__ROOTDIRECTORY", blobs.path().join("b").to_str().unwrap())
}

#[test]
fn what_is_acknowledged_survives_a_kill() {
    let Some(database) = database() else { return };
    let (seed, ledger, launch) = (scale::seed(), Ledger::default(), launch(&database));
    let server = launch.start();
    let client = server.client();
    let told = database.url.rsplit('@').next().unwrap();
    assert!(server.output().contains(&format!("metadata in PostgreSQL at {told}")), "{}", server.output());
    for number in 0..3 {
        let (tag, image) = (format!("v{number}"), Image::generate(seed.derive(number), &[1_000, 200_000, 0]));
        client.push_image("fleet/app", &tag, &image).unwrap();
        ledger.acknowledge("fleet/app", &tag, &image.digest());
    }
    let content = Content::new(seed.derive(9), 100_000);
    let upload = client.append(&client.begin("fleet/app").unwrap(), &mut content.clone(), 60_000).unwrap();
    ledger.acknowledge_upload("half", &upload);

    let server = launch.start_on(server.kill9());
    let client = server.client();
    assert_eq!(ledger.verify_all(&client), Vec::<String>::new());
    let rest = content.clone().skip_to(60_000).to_vec();
    let digest = roadstead_testkit::digest(&content.to_vec());
    client.finish(&client.status(&upload).unwrap(), &digest, &rest).unwrap();
    assert_eq!(client.pull_blob("fleet/app", &digest).unwrap(), 100_000);

    // The verbs that ask the running instance find it.
    let mut gc = crate::gc::command_of(server.directory(), &["gc", "--dry-run"]);
    let gc = gc.env("ROADSTEAD_METADATA__POSTGRES__URL", &database.url).output().unwrap();
    assert!(gc.status.success(), "{gc:?}");
    let (status, _) = server.terminate();
    assert_eq!(status.code(), Some(0), "SIGTERM ends in order");
}

/// Two that start at the same moment on nothing, and then serve what the other took.
#[test]
fn two_instances_are_one_registry() {
    let Some(database) = database() else { return };
    let (seed, ledger, blobs) = (scale::seed(), Ledger::default(), blobs());
    let launch = with_blobs_in(launch(&database), &blobs);
    let [one, other] = std::thread::scope(|scope| {
        [0, 1].map(|_| scope.spawn(|| launch.start())).map(|started| started.join().unwrap())
    });
    let clients = [one.client(), other.client()];
    std::thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            let ledger = &ledger;
            scope.spawn(move || {
                for round in 0..5 {
                    let tag = format!("v{number}-{round}");
                    // The second layer is pushed by both.
                    let image = Image::generate(seed.derive(round), &[1_000 + number as u64, 5_000]);
                    client.push_image("fleet/app", &tag, &image).unwrap();
                    ledger.acknowledge("fleet/app", &tag, &image.digest());
                }
            });
        }
    });
    for client in &clients {
        assert_eq!(ledger.verify_all(client), Vec::<String>::new());
    }
    // An upload goes on at the other one, piece by piece.
    let content = Content::new(seed.derive(99), 90_000);
    let mut upload = clients[0].begin("fleet/app").unwrap();
    for piece in 0..6u64 {
        let client = &clients[(piece % 2) as usize];
        let mut rest = content.clone().skip_to(piece * 15_000);
        upload = client.append(&client.status(&upload).unwrap_or(upload), &mut rest, 15_000).unwrap();
    }
    let digest = roadstead_testkit::digest(&content.to_vec());
    clients[1].finish(&upload, &digest, &[]).unwrap();
    assert_eq!(clients[0].pull_blob("fleet/app", &digest).unwrap(), 90_000);

    // A tag moved at one is moved at the other at once.
    for round in 0..10 {
        let image = Image::generate(seed.derive(1_000 + round), &[500]);
        clients[(round % 2) as usize].push_image("fleet/app", "latest", &image).unwrap();
        assert_eq!(clients[((round + 1) % 2) as usize].pull_image("fleet/app", "latest").unwrap(), image.digest());
    }
    // One is killed; a new one on an empty disk takes its place.
    drop(one.kill9());
    let new = launch.start();
    assert_eq!(ledger.verify_all(&new.client()), Vec::<String>::new());
    assert_eq!(ledger.verify_all(&clients[1]), Vec::<String>::new());
}

/// A program beside the schema of a newer one: it starts if that says so, and is refused if not.
#[test]
fn a_newer_schema_says_who_may_run_beside_it() {
    let Some(server) = Postgres::start(false) else { return };
    let (database, blobs) = (server.database(), blobs());
    let launch = with_blobs_in(launch(&database), &blobs);
    drop(launch.start());
    let add = |oldest: &str| {
        let next = format!(
            "INSERT INTO schema_oldest SELECT max(version) + 1, {oldest} FROM schema_version; \
             INSERT INTO schema_version SELECT max(version) + 1, 'newer', 0 FROM schema_version"
        );
        server.sql(database.name(), &next)
    };
    add("max(version)");
    drop(launch.start());
    add("max(version)");
    let (status, output) = launch
        .try_start_on(Arc::new(tempfile::tempdir().unwrap()))
        .expect_err("the last one wants programs that know the one before");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("may not run beside it"), "{output}");
}

/// PostgreSQL keeps no text with a NUL in it; a client that sends one has made a mistake, and the server is none the worse.
#[test]
fn a_nul_is_no_fault_of_the_server() {
    let Some(database) = database() else { return };
    let server = launch(&database).start();
    let client = server.client();
    let image = Image::generate(scale::seed(), &[100]);
    client.push_image("fleet/app", "v1", &image).unwrap();
    for target in [
        "/v2/fleet/app/tags/list?last=%00",
        "/v2/_catalog?last=%00",
        &format!("/v2/fleet/app/referrers/{}?artifactType=a%00b", image.digest()),
    ] {
        let status = client.call("GET", target).unwrap().status;
        assert!(status < 500, "{target}: {status}");
    }
    let manifest = String::from_utf8(image.manifest.clone()).unwrap();
    for nul in [r#"{"artifactType":"a\u0000b/c","#, r#"{"annotations":{"k":"\u0000","\u0000":"v"},"#] {
        let manifest = manifest.replacen('{', nul, 1);
        let request = Request::new("PUT", "/v2/fleet/app/manifests/nul").header("Content-Type", Image::MANIFEST);
        let status = client.send(&request, Body::Bytes(manifest.as_bytes())).unwrap().status;
        assert!(status < 500, "{nul}: {status}");
    }
}

/// Blobs of one installation beside the database of another are refused, by the second as by the first.
#[test]
fn blobs_of_another_database_are_refused() {
    let (Some(ours), Some(anothers)) = (database(), database()) else { return };
    let blobs = blobs();
    drop(with_blobs_in(launch(&ours), &blobs).start());
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let refused = with_blobs_in(launch(&anothers), &blobs).try_start_on(directory);
    let (status, output) = refused.expect_err("the blobs have an owner");
    assert_eq!(status.code(), Some(3), "{output}");
    drop(with_blobs_in(launch(&ours), &blobs).start());
}

/// While the primary is away pulls go on from a standby, by tag too, and lists, also of an instance that starts then;
/// pushes are refused; and once the standby is the primary everything works again by itself.
#[test]
fn pulls_go_on_while_the_primary_is_away() {
    let Some(mut primary) = Postgres::start(false) else { return };
    let standby = primary.standby();
    let name = primary.database().name().to_owned();
    let url = format!("postgres://postgres@{},{}/{name}", primary.address(), standby.address());
    let (seed, ledger, blobs) = (scale::seed(), Ledger::default(), blobs());
    let launch = with_blobs_in(launch(&Database { url }), &blobs);
    let server = launch.start();
    let image = Image::generate(seed.derive(1), &[1_000, 20_000]);
    server.client().push_image("fleet/app", "v1", &image).unwrap();
    ledger.acknowledge("fleet/app", "v1", &image.digest());
    let caught_up = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
    until("the standby follows", || primary.sql("postgres", caught_up).trim() == "1");

    primary.stop();
    let health = |server: &Server| server.client().call("GET", "/health").unwrap();
    let told = |server: &Server| String::from_utf8_lossy(&health(server).body).into_owned();
    until("the primary is missed", || told(&server).contains("read-only"));
    let (started, referrers) = (launch.start(), format!("/v2/fleet/app/referrers/{}", image.digest()));
    for server in [&server, &started] {
        until("pulls are ready", || health(server).status == 200 && told(server).contains("read-only"));
        assert_eq!(ledger.verify_all(&server.client()), Vec::<String>::new());
        assert_eq!(push(&server.client(), 1), Some(503));
        for list in ["/v2/fleet/app/tags/list", "/v2/_catalog", &referrers] {
            let answer = server.client().call("GET", list).unwrap();
            assert_eq!(answer.status, 200, "{list}: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    standby.promote();
    for server in [&server, &started] {
        until("writes work again", || push(&server.client(), 2).is_none());
        assert_eq!(ledger.verify_all(&server.client()), Vec::<String>::new());
    }
}

/// Starts an upload with bytes; the status of its refusal, if it was refused.
fn push(client: &Client, seed: u64) -> Option<u16> {
    let bytes = Content::new(scale::seed().derive(seed), 500).to_vec();
    let digest = roadstead_testkit::digest(&bytes);
    let target = format!("/v2/fleet/app/blobs/uploads/?digest={digest}");
    let request = Request::new("POST", &target);
    let answer = client.send(&request, Body::Bytes(&bytes)).unwrap();
    (answer.status != 201).then_some(answer.status)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A pull by tag waits for the database once, a push of a manifest twice.
#[test]
fn round_trips_are_few() {
    const LATE: Duration = Duration::from_millis(200);
    let Some(database) = database() else { return };
    let server = launch(&Database { url: Late::in_front_of(&database.url, LATE).url() }).start();
    let (seed, client) = (scale::seed(), server.client());
    let image = Image::generate(seed, &[1_000]);
    client.push_image("fleet/app", "v0", &image).unwrap();
    // As many connections as a busy minute leaves behind; what was prepared on one is not on the others.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| server.client().manifest("fleet/app", "v0").unwrap());
        }
    });
    // A machine that is busy makes them only longer.
    let fewest = |work: &mut dyn FnMut()| {
        let each = (0..6).map(|_| {
            let began = Instant::now();
            work();
            began.elapsed().as_millis() / LATE.as_millis()
        });
        each.min().unwrap()
    };
    let pull = fewest(&mut || drop(client.manifest("fleet/app", "v0").unwrap()));
    assert_eq!(pull, 1, "a pull by tag");
    let mut number = 0;
    let push = fewest(&mut || {
        number += 1;
        let tag = format!("v{number}");
        client.push_manifest("fleet/app", &tag, Image::MANIFEST, &image.manifest).unwrap();
    });
    println!("a pull by tag: {pull} round trip, a push of a manifest: {push}");
    assert!(push <= 2, "a push of a manifest: {push}");
}
