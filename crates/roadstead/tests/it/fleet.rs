//! Three instances behind a load balancer, over one PostgreSQL and one bucket: what is on their disks does not matter.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use roadstead_testkit::servers::{Database, S3Server, database, free_address, haproxy, s3};
use roadstead_testkit::{Client, Content, Image, Launch, Ledger, Refused, Seed, Server};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{s3 as bucket, scale};

const CLIENTS: u64 = 16;

/// A file that is there to be deployed.
fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}

/// Instances that are replaced by fresh ones at the same address.
struct Fleet {
    launches: [Launch; 3],
    addrs: [SocketAddr; 3],
    running: [Mutex<Option<Server>>; 3],
    _secret: NamedTempFile,
    /// When one was being killed: from and, once it is dead, to.
    kills: Mutex<Vec<(Instant, Option<Instant>)>>,
}

impl Fleet {
    fn start(database: &Database, bucket: &S3Server) -> Self {
        let addrs = [(); 3].map(|()| free_address());
        // What is deployed by compose, but for the places where things are.
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&secret, "what the server of a test does not ask for").unwrap();
        let launch = bucket::launch(bucket)
            .set("ROADSTEAD_CONFIG", deploy("compose/roadstead.yml").to_str().unwrap())
            .set("ROADSTEAD_METADATA__POSTGRES__PASSWORD_FILE", secret.path().to_str().unwrap())
            .set("ROADSTEAD_METADATA__POSTGRES__URL", &database.url);
        let launches = addrs.map(|addr| launch.clone().set("ROADSTEAD_HTTP__ADDR", &addr.to_string()));
        let running = scope(|scope| {
            launches.each_ref().map(|launch| scope.spawn(|| launch.start())).map(|started| started.join().unwrap())
        });
        let running = running.map(|server| Mutex::new(Some(server)));
        Self { launches, addrs, running, _secret: secret, kills: Mutex::default() }
    }

    /// Kills an instance, throws its disk away, and starts another in its place.
    fn replace(&self, number: usize) {
        let mut running = self.running[number].lock().unwrap();
        // Written down before: clients see it sooner than whoever waits for its end.
        self.kills.lock().unwrap().push((Instant::now(), None));
        drop(running.take().map(Server::kill9));
        self.kills.lock().unwrap().last_mut().unwrap().1 = Some(Instant::now());
        *running = Some(self.launches[number].start());
    }

    /// Whether an instance was killed while something was going on.
    fn killed_during(&self, from: Instant, to: Instant) -> bool {
        self.kills.lock().unwrap().iter().any(|(begin, end)| *begin <= to && end.is_none_or(|end| from <= end))
    }
}

/// What clients met that was not caused by a kill of the instance that served them.
struct Load<'a> {
    fleet: &'a Fleet,
    addr: SocketAddr,
    ledger: &'a Ledger,
    broken: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

impl Load<'_> {
    /// Does it until it succeeds. Only what was under way on an instance that was killed may fail.
    fn until_done<T>(&self, what: &str, act: impl Fn(&Client) -> Result<T, Refused>) -> T {
        loop {
            let begin = Instant::now();
            match act(&Client::new(self.addr)) {
                Ok(done) => return done,
                Err(error) => {
                    self.broken.fetch_add(1, Ordering::Relaxed);
                    if !self.fleet.killed_during(begin, Instant::now()) {
                        self.complaints.lock().unwrap().push(format!("{what}: {error}"));
                        sleep(Duration::from_secs(1));
                    }
                }
            }
        }
    }

    fn push_and_pull(&self, client: u64, seed: Seed, until: Instant) {
        let mut last = None;
        for number in 0.. {
            if Instant::now() >= until {
                break;
            }
            let (repository, tag) = (format!("fleet/app{}", client % 4), format!("c{client}-{number}"));
            // The first layer is that of all clients.
            let image = Image::generate(seed.derive(number), &[20_000, 1_000 + number * 100]);
            self.until_done("push", |client| client.push_image(&repository, &tag, &image));
            self.ledger.acknowledge(&repository, &tag, &image.digest());
            let (repository, tag) = last.replace((repository.clone(), tag.clone())).unwrap_or((repository, tag));
            self.until_done("pull", |client| client.pull_image(&repository, &tag));
        }
    }
}

#[test]
fn instances_are_killed_and_replaced_under_load_and_nothing_is_lost() {
    let (Some(database), Some(bucket)) = (database(), s3()) else { return };
    let (seed, ledger) = (scale::seed(), Ledger::default());
    let fleet = Fleet::start(&database, &bucket);
    let addr = free_address();
    let names = ["ROADSTEAD_1", "ROADSTEAD_2", "ROADSTEAD_3"];
    let variables: Vec<_> = names.into_iter().zip(fleet.addrs.map(|addr| addr.to_string())).collect();
    let Some(balancer) = haproxy(&deploy("haproxy/haproxy.cfg"), addr, &variables) else { return };

    let until = Instant::now() + scale::load(12, 15);
    let pause = Duration::from_secs(if scale::full() { 5 } else { 3 });
    let load = Load {
        fleet: &fleet,
        addr: balancer.addr,
        ledger: &ledger,
        broken: AtomicU64::new(0),
        complaints: Mutex::default(),
    };
    scope(|scope| {
        for client in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.push_and_pull(client, seed.derive(client), until));
        }
        for number in (0..3).cycle() {
            sleep(pause);
            if Instant::now() >= until {
                break;
            }
            fleet.replace(number);
        }
    });
    let (kills, broken) = (fleet.kills.lock().unwrap().len(), load.broken.load(Ordering::Relaxed));
    println!("{} images acknowledged, {kills} instances killed, {broken} requests broken by that", ledger.images());
    let complaints = load.complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "failed while no instance was killed:\n{}", complaints.join("\n"));
    assert!(kills > 0 && ledger.images() > 50, "no load");
    let [one, .., last] = fleet.addrs;
    assert_eq!(ledger.verify_all(&Client::new(last)), Vec::<String>::new());
    work_is_done_by_the_living(one);
}

/// The work that one instance does for all.
const WORK_FOR_ALL: [&str; 8] =
    ["audit_retention", "collect", "credentials", "operations", "reap", "removals", "scrub", "uploads"];

/// What the killed ones did for all, others do before long.
fn work_is_done_by_the_living(addr: SocketAddr) {
    let begin = Instant::now();
    loop {
        let answer = Client::new(addr).call("GET", "/api/v1/instances").unwrap();
        let instances: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        let living = instances.iter().filter(|instance| instance["silent"] == false);
        let leases = living.clone().flat_map(|instance| instance["leases"].as_array().cloned().unwrap_or_default());
        let mut leases: Vec<_> = leases.map(|lease| lease.as_str().unwrap_or_default().to_owned()).collect();
        leases.sort();
        if living.count() == 3 && leases == WORK_FOR_ALL {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{instances:#?}");
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_upload_goes_on_at_any_instance_while_others_are_killed() {
    const CHUNK: u64 = 40_000;
    let (Some(database), Some(bucket)) = (database(), s3()) else { return };
    let fleet = Fleet::start(&database, &bucket);
    let chunks = if scale::full() { 200 } else { 30 };
    let content = Content::new(scale::seed(), chunks * CHUNK);
    let mut upload = Client::new(fleet.addrs[0]).begin("fleet/large").unwrap();
    for chunk in 0..chunks {
        let number = chunk as usize % 3;
        // Not the one that is asked next: also who has the last part on its way may be gone.
        if chunk % 10 == 9 {
            fleet.replace((number + 2) % 3);
        }
        let bytes = &mut content.clone().skip_to(chunk * CHUNK);
        upload = Client::new(fleet.addrs[number]).append(&upload, bytes, CHUNK).unwrap();
        assert_eq!(upload.offset, (chunk + 1) * CHUNK);
    }
    let digest = roadstead_testkit::digest(&content.to_vec());
    Client::new(fleet.addrs[1]).finish(&upload, &digest, b"").unwrap();
    for addr in fleet.addrs {
        assert_eq!(Client::new(addr).pull_blob("fleet/large", &digest).unwrap(), chunks * CHUNK);
    }
}

/// The files name each other's things.
#[test]
fn what_compose_starts_fits_together() {
    let read = |file| std::fs::read_to_string(deploy(file)).unwrap();
    let (compose, balancer, instance) =
        (read("compose/compose.yaml"), read("haproxy/haproxy-tls.cfg"), read("compose/roadstead.yml"));
    for (number, service) in [(1, "one"), (2, "two"), (3, "three")] {
        assert!(balancer.contains(&format!("\"${{ROADSTEAD_{number}}}\"")));
        assert!(balancer.contains(&format!("\"${{ROADSTEAD_{number}_HTTP}}\"")));
        assert!(compose.contains(&format!("ROADSTEAD_{number}: \"{service}:5000\"")));
        assert!(compose.contains(&format!("ROADSTEAD_{number}_HTTP: \"{service}:5080\"")));
        assert!(compose.contains(&format!("\n  {service}: {{<<: *instance")));
    }
    assert!(balancer.contains("bind \"${LISTEN}\"") && compose.contains("LISTEN: \":443\""));
    assert!(compose.contains("ROADSTEAD_HTTP__PLAIN__ADDR: \":5080\"") && compose.contains("/haproxy-tls.cfg:"));
    for (key, counterpart) in [
        ("url: postgres://roadstead@postgres/roadstead", "POSTGRES_DB: roadstead"),
        ("password_file: /run/secrets/postgres", "postgres: {file: postgres.secret}"),
        ("bucket: images", "s3/images"),
        ("regionendpoint: http://s3:9000", "\n  s3:\n"),
        ("accesskey: roadstead", "MINIO_ROOT_USER: roadstead"),
        ("addr: \":5000\"", "one:5000"),
    ] {
        assert!(instance.contains(key) && compose.contains(counterpart), "{key}: {counterpart}");
    }
}
