//! What is taken from somebody is refused by every instance within a second (invariant 12): three processes over one
//! PostgreSQL and one store.

use std::net::SocketAddr;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use roadstead_testkit::servers::database;
use roadstead_testkit::{Client, Image, Seed, digest};
use serde_json::{Value, json};

use crate::guarded::{PASSWORD, add_user, admin, administer, bearer, guarded};
use crate::postgres;

const APP: &str = "acme/app";
const PULL: &str = "repository:acme/app:pull";
/// Requests that are sent so long after the answer of who took it are refused.
const PROMISE: Duration = Duration::from_secs(1);

/// What a client shows.
#[derive(Clone)]
enum Shown {
    Basic(String, String),
    Bearer(String),
}

impl Shown {
    fn client(&self, addr: SocketAddr) -> Client {
        match self {
            Shown::Basic(name, secret) => Client::new(addr).user(name, secret),
            Shown::Bearer(token) => Client::new(addr).bearer(token),
        }
    }
}

/// One way to take something from somebody.
struct Taking {
    what: &'static str,
    shown: Vec<Shown>,
    /// How it is done in the admin API.
    call: (&'static str, String, Value),
    /// The answer to a pull from then on.
    refusal: u16,
}

/// A password or an access token, and a bearer token that it was exchanged for.
fn both(addr: SocketAddr, name: &str, secret: &str) -> Vec<Shown> {
    let basic = Shown::Basic(name.to_owned(), secret.to_owned());
    let token = bearer(&basic.client(addr), PULL);
    vec![basic, Shown::Bearer(token)]
}

/// An organization with a private repository, and everybody who may pull from it for a reason of its own.
fn takings(addr: SocketAddr) -> Vec<Taking> {
    let admin = admin(addr);
    let put = |path: &str, body: Value| administer(&admin, "PUT", path, &body);
    let post = |path: &str, body: Value| administer(&admin, "POST", path, &body);
    post("/organizations", json!({"name": "acme"}));
    post("/organizations/acme/teams", json!({"name": "dev"}));
    post("/repositories", json!({"name": APP}));
    let grants = format!("/repositories/{APP}/grants");
    put(&grants, json!({"team": "acme/dev", "access": "read-only"}));
    let people = ["dave", "bob", "gina", "hugo", "eve"];
    for name in people {
        add_user(&admin, name);
        put(&format!("/organizations/acme/teams/dev/members/{name}"), Value::Null);
    }
    add_user(&admin, "ivan");
    put(&grants, json!({"user": "ivan", "access": "read-only"}));
    post("/namespaces/acme/robots", json!({"name": "ci"}));
    put(&grants, json!({"robot": "acme+ci", "access": "read-only"}));
    let token = |of: &str| post("/tokens", json!({"name": "t", "for": of}));
    let (daves, robots) = (token("user:dave"), token("robot:acme+ci"));
    let secret = |token: &Value| token["secret"].as_str().unwrap().to_owned();
    let by_token = |method, path: String| (method, path, Value::Null);
    vec![
        Taking {
            what: "an access token",
            shown: both(addr, "dave", &secret(&daves)),
            call: by_token("DELETE", format!("/tokens/{}", daves["id"].as_str().unwrap())),
            refusal: 401,
        },
        Taking {
            what: "a robot",
            shown: both(addr, "acme+ci", &secret(&robots)),
            call: by_token("DELETE", "/namespaces/acme/robots/ci".to_owned()),
            refusal: 401,
        },
        Taking {
            what: "a membership of a team",
            shown: both(addr, "bob", PASSWORD),
            call: by_token("DELETE", "/organizations/acme/teams/dev/members/bob".to_owned()),
            refusal: 404,
        },
        Taking {
            what: "a grant",
            shown: both(addr, "ivan", PASSWORD),
            call: by_token("DELETE", format!("{grants}?user=ivan")),
            refusal: 404,
        },
        Taking {
            what: "a password",
            shown: both(addr, "gina", PASSWORD),
            call: ("PUT", "/users/gina/password".to_owned(), json!({"password": "another horse"})),
            refusal: 401,
        },
        Taking {
            what: "an account's life",
            shown: both(addr, "hugo", PASSWORD),
            call: ("PATCH", "/users/hugo".to_owned(), json!({"active": false})),
            refusal: 401,
        },
        Taking {
            what: "an account",
            shown: both(addr, "eve", PASSWORD),
            call: by_token("DELETE", "/users/eve".to_owned()),
            refusal: 401,
        },
    ]
}

fn pull(client: &Client) -> u16 {
    client.call("GET", &format!("/v2/{APP}/manifests/v1")).unwrap().status
}

#[test]
fn what_is_revoked_through_one_instance_is_refused_by_all_a_second_later() {
    let Some(database) = database() else { return };
    let blobs = postgres::blobs();
    let launch = guarded(postgres::with_blobs_in(postgres::launch(&database), &blobs));
    let servers = scope(|scope| [(); 3].map(|()| scope.spawn(|| launch.start())).map(|it| it.join().unwrap()));
    let addrs = servers.each_ref().map(|server| server.addr());
    let takings = takings(addrs[0]);
    let image = Image::generate(Seed(1), &[1_000]);
    admin(addrs[0]).push_image(APP, "v1", &image).unwrap();
    let blob = digest(&image.blobs[0]);
    for (number, taking) in takings.iter().enumerate() {
        let clients: Vec<_> = addrs.iter().flat_map(|addr| taking.shown.iter().map(|it| it.client(*addr))).collect();
        for client in &clients {
            assert_eq!(pull(client), 200, "{}", taking.what);
            client.pull_blob(APP, &blob).unwrap();
        }
        // Each takes its turn.
        let by = addrs[number % 3];
        let (method, path, body) = &taking.call;
        administer(&admin(by), method, path, body);
        let taken = Instant::now();
        let refused = |client: &Client| {
            let status = pull(client);
            assert!([200, taking.refusal].contains(&status), "{}: {status}", taking.what);
            status != 200
        };
        scope(|scope| {
            for client in &clients {
                let refused = &refused;
                scope.spawn(move || {
                    // They never rest: so each instance asks as seldom as it may what is the newest.
                    loop {
                        let sent = taken.elapsed();
                        if refused(client) {
                            println!("{} {}: refused to what was sent after {sent:?}", client.addr(), taking.what);
                            break;
                        }
                        assert!(client.addr() != by, "{}: the one that took it still allows it", taking.what);
                        assert!(sent < PROMISE, "{}: {} allows it {sent:?} later", taking.what, client.addr());
                        sleep(Duration::from_millis(5));
                    }
                });
            }
        });
        sleep(PROMISE.saturating_sub(taken.elapsed()));
        for client in &clients {
            assert_eq!(pull(client), taking.refusal, "{}: {}", taking.what, client.addr());
            let blob = client.call("GET", &format!("/v2/{APP}/blobs/{blob}")).unwrap();
            assert_eq!(blob.status, taking.refusal, "{}: {}", taking.what, client.addr());
        }
    }
    // Nothing of this was the registry's fault.
    assert_eq!(pull(&admin(addrs[1])), 200);
}
