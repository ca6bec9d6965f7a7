//! Two instances over one bucket and one database, with a link to each that can be troubled.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use roadstead_testkit::servers::{Database, Link, Postgres, S3Server, Speaks, Trouble};
use roadstead_testkit::{Launch, Seed, Server};

use crate::s3;

/// Everything.
pub(super) struct Stand {
    pub(super) bucket: S3Server,
    pub(super) postgres: Mutex<Postgres>,
    pub(super) database: Database,
    pub(super) to_store: Link,
    pub(super) to_database: Link,
    /// The hasty one, and the patient one.
    pub(super) servers: [Server; 2],
    pub(super) launch: Launch,
}

impl Stand {
    pub(super) fn start(bucket: S3Server, postgres: Postgres, seed: Seed) -> Self {
        let store = bucket.endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let to_store = Link::to(store, Speaks::Http, seed.derive(1));
        let to_database = Link::to(postgres.address().parse().unwrap(), Speaks::Postgres, seed.derive(2));
        let database = postgres.database();
        let launch = |store: &str, url: &str| {
            s3::launch(&bucket)
                .set("ROADSTEAD_STORAGE__S3__REGIONENDPOINT", store)
                .set("ROADSTEAD_STORAGE__S3__CHUNKSIZE", "5MiB")
                .set("ROADSTEAD_METADATA__POSTGRES__URL", url)
                .set("ROADSTEAD_METADATA__POSTGRES__CONNECT_TIMEOUT", "20s")
                .set("ROADSTEAD_METADATA__POSTGRES__STATEMENT_TIMEOUT", "20s")
        };
        let url = format!("postgres://postgres@{}/{}", to_database.address(), database.name());
        let patient = launch(&format!("http://{}", to_store.address()), &url);
        let hasty = patient
            .clone()
            .set("ROADSTEAD_STORAGE__S3__TIMEOUT", "1s")
            .set("ROADSTEAD_STORAGE__S3__WRITE_TIMEOUT", "1s")
            .set("ROADSTEAD_METADATA__POSTGRES__CONNECT_TIMEOUT", "1s")
            .set("ROADSTEAD_METADATA__POSTGRES__STATEMENT_TIMEOUT", "1s");
        let servers = scope(|scope| {
            [hasty, patient].map(|launch| scope.spawn(move || launch.start())).map(|started| started.join().unwrap())
        });
        let launch = launch(&bucket.endpoint, &database.url);
        Self { bucket, postgres: Mutex::new(postgres), database, to_store, to_database, servers, launch }
    }

    pub(super) fn addrs(&self) -> [SocketAddr; 2] {
        self.servers.each_ref().map(Server::addr)
    }

    /// How much each has logged.
    pub(super) fn printed(&self) -> [usize; 2] {
        self.servers.each_ref().map(Server::printed)
    }

    /// Nothing is wrong with the links.
    pub(super) fn lift(&self) {
        self.to_store.set(Trouble::None);
        self.to_database.set(Trouble::None);
    }

    /// What health says of an instance.
    pub(super) fn health(&self, which: usize) -> (u16, serde_json::Value) {
        let answer = self.servers[which].client().call("GET", "/load_balancer_status").unwrap();
        (answer.status, answer.json())
    }

    /// Waits until both are healthy.
    pub(super) fn becomes_well(&self, within: Duration, after: &str) {
        let begin = Instant::now();
        for which in 0..self.servers.len() {
            while self.health(which).1["State"] != "healthy" {
                assert!(begin.elapsed() < within, "{after}: instance {which} says {:?}", self.health(which));
                sleep(Duration::from_millis(50));
            }
        }
    }
}

/// What is the same every time names the store or the database by the address of the link.
impl Stand {
    /// How the log names the bucket.
    pub(super) fn store_place(&self) -> String {
        format!("bucket {} at http://{}", self.bucket.bucket, self.to_store.address())
    }

    /// How the log names the database's server.
    pub(super) fn database_place(&self) -> String {
        self.to_database.address().to_string()
    }
}
