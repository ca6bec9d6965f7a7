//! Keys that sign tokens are rotated under load, and no request fails.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roadstead_testkit::servers::Postgres;
use roadstead_testkit::{Client, Image, Seed};
use serde_json::Value;

use crate::guarded::{PASSWORD, add_user, admin, administer, bearer, guarded};
use crate::postgres;

const CLIENTS: u64 = 8;
const ROTATIONS: usize = 20;
/// What half a minute would do: all keys but the newest, which both instances have read by now, are in use or have retired.
const HALF_A_MINUTE_LATER: &str = "UPDATE signing_key SET not_before = not_before - 30000 \
    WHERE not_before > created_at AND retired_at IS NOT NULL; \
    UPDATE signing_key SET retired_at = (SELECT min(next.not_before) FROM signing_key next WHERE next.id > signing_key.id) \
    WHERE retired_at IS NOT NULL";

/// The id of the key that signed a token.
fn key(token: &str) -> String {
    let head = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&head).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// One client: a token from one instance, then pushes and pulls with it at both, until it gets another one.
fn push_and_pull(who: u64, addrs: [SocketAddr; 2], done: &AtomicBool, requests: &AtomicU64) -> Vec<String> {
    let (name, mut keys) = (format!("c{who}"), Vec::new());
    let repository = format!("{name}/app");
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let issuer = addrs[(who + number) as usize % 2];
        let token = bearer(&Client::new(issuer).user(&name, PASSWORD), &format!("repository:{repository}:pull,push"));
        keys.push(key(&token));
        let image = Image::generate(Seed(who * 1_000_000 + number), &[1_000]);
        for addr in addrs {
            let client = Client::new(addr).bearer(&token);
            client.push_image(&repository, &format!("v{}", number % 5), &image).unwrap();
            client.pull_image(&repository, &image.digest()).unwrap();
            requests.fetch_add(2, Ordering::Relaxed);
        }
    }
    keys
}

#[test]
fn keys_are_rotated_under_load_and_no_request_fails() {
    let Some(server) = Postgres::start(false) else { return };
    let (database, blobs) = (server.database(), postgres::blobs());
    let launch = guarded(postgres::with_blobs_in(postgres::launch(&database), &blobs));
    let servers = [launch.start(), launch.start()];
    let addrs = servers.each_ref().map(|server| server.addr());
    let admins = addrs.map(admin);
    (0..CLIENTS).for_each(|who| add_user(&admins[0], &format!("c{who}")));
    let (done, requests) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let mut used = scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|who| scope.spawn(move || push_and_pull(who, addrs, done, requests))).collect();
        for number in 0..ROTATIONS {
            // Both in turn: with the one that it makes each reads those of the other.
            administer(&admins[number % 2], "POST", "/keys/rotate", &Value::Null);
            if number % 2 == 1 {
                server.sql(database.name(), HALF_A_MINUTE_LATER);
            }
            // Until there was some use of it, or a client has ended because it failed.
            let before = requests.load(Ordering::Relaxed);
            while requests.load(Ordering::Relaxed) < before + CLIENTS && clients.iter().all(|it| !it.is_finished()) {
                sleep(Duration::from_millis(5));
            }
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("no request fails")).collect::<Vec<_>>()
    });
    used.sort();
    used.dedup();
    println!("{} pushes and pulls with tokens of {} keys", requests.load(Ordering::Relaxed), used.len());
    assert!(used.len() > ROTATIONS / 4, "tokens of {} keys only", used.len());
    let refused = Client::new(addrs[0]).bearer("eyJhbGciOiJub25lIn0.e30.").call("GET", "/v2/").unwrap();
    assert_eq!(refused.status, 401);
}
