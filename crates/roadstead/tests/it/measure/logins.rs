//! What logins cost: pulls that say who comes beside those that do not, and pulls beside somebody who guesses passwords.
//!
//! By processor time of the server, which is disturbed least by what else runs on the machine.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_testkit::{Image, Request, Server, load};
use serde_json::json;

use crate::guarded::{PASSWORD, admin, administer, bearer, guarded};
use crate::scale;
use crate::throttled::hashes;

const OPEN: &str = "admin/open";
const CLOSED: &str = "admin/closed";
const ROUNDS: usize = 3;
const PHASE: Duration = Duration::from_secs(4);
/// Wrong tries in a second, and how many addresses they come from.
const PACE: u32 = 50;
const ADDRESSES: u32 = 5;
/// Tries under way at a time.
const GUESSERS: u32 = 25;

/// With a public repository and a private one.
fn start() -> Server {
    let server = guarded(scale::launch()).start();
    let admin = admin(server.addr());
    administer(&admin, "POST", "/repositories", &json!({"name": OPEN, "visibility": "public"}));
    for repository in [OPEN, CLOSED] {
        admin.push_image(repository, "v1", &super::image()).unwrap();
    }
    server
}

fn get(repository: &str) -> Request {
    Request::new("GET", format!("/v2/{repository}/manifests/v1")).header("Accept", Image::MANIFEST)
}

fn with_token(server: &Server, repository: &str) -> Request {
    let token = bearer(&admin(server.addr()), &format!("repository:{repository}:pull"));
    get(repository).header("Authorization", format!("Bearer {token}"))
}

/// Requests of a kind for each second of the server's processor time.
fn rate(server: &Server, request: &Request) -> f64 {
    let before = server.cpu();
    let answered = load::requests(server.addr(), request, PHASE).unwrap();
    answered as f64 / (server.cpu() - before)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

#[test]
#[ignore = "a measurement: cargo xtask measure"]
fn a_manifest_with_a_bearer_token_beside_one_for_nobody_in_particular() {
    let (open, server) = (scale::launch().start(), start());
    open.client().push_image(OPEN, "v1", &super::image()).unwrap();
    let basic = format!("Basic {}", STANDARD.encode(format!("admin:{PASSWORD}")));
    let kinds = ["nobody is asked", "nobody in particular", "bearer token", "bearer token, private", "Basic"];
    let mut rates = kinds.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        let requests = [
            (&open, get(OPEN)),
            (&server, get(OPEN)),
            (&server, with_token(&server, OPEN)),
            (&server, with_token(&server, CLOSED)),
            (&server, get(OPEN).header("Authorization", basic.as_str())),
        ];
        for ((server, request), rates) in requests.iter().zip(&mut rates) {
            rates.push(rate(server, request));
        }
    }
    let rates = rates.map(median);
    println!("| Manifest GET by tag | per CPU-second | ratio |\n|---|---|---|");
    for (kind, rate) in kinds.iter().zip(rates) {
        println!("| {kind} | {rate:.0} | {:.2} |", rate / rates[1]);
    }
}

/// Wrong tries, answered that they are wrong or throttled.
#[derive(Default)]
struct Guesses {
    refused: AtomicU32,
    throttled: AtomicU32,
}

/// Tries from a few addresses, so many in a second, whatever each of them takes, until it is enough.
fn guess(
    server: &Server,
    pace: u32,
    name: impl Fn(u32) -> String + Sync,
    enough: impl Fn(&Guesses) -> bool + Sync,
) -> Guesses {
    let (begun, guesses, next) = (Instant::now(), Guesses::default(), AtomicU32::new(0));
    let one_after_the_other = || {
        while !enough(&guesses) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            sleep((Duration::from_secs(1) * number / pace).saturating_sub(begun.elapsed()));
            let address: IpAddr = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 0)) + number % ADDRESSES).into();
            let client = server.client().from(address).user(&name(number), "wrong horse");
            let answered = match client.call("GET", "/v2/").unwrap().status {
                401 => &guesses.refused,
                429 => &guesses.throttled,
                other => panic!("a wrong password was answered {other}"),
            };
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    scope(|scope| (0..GUESSERS).for_each(|_| drop(scope.spawn(one_after_the_other))));
    guesses
}

#[test]
#[ignore = "a measurement: cargo xtask measure"]
fn pulls_beside_a_flood_of_wrong_passwords() {
    println!(
        "| {PACE} wrong tries a second from {ADDRESSES} addresses | hashed, of all | pulls per CPU-second | ratio |"
    );
    println!("|---|---|---|---|");
    for (what, one) in [("of one account", true), ("of an account each time", false)] {
        let server = start();
        let name = |number: u32| if one { "admin".to_owned() } else { format!("user{number}") };
        let without = (0..ROUNDS).map(|_| rate(&server, &with_token(&server, CLOSED))).collect();
        // Whoever begins may try for a while, and who rests for a while again.
        guess(&server, 1_000, name, |guesses| guesses.throttled.load(Ordering::Relaxed) > 20 * ADDRESSES);
        let (mut beside, mut hashed, mut tried) = (Vec::new(), 0, 0);
        for _ in 0..ROUNDS {
            let request = with_token(&server, CLOSED);
            let (done, before) = (AtomicBool::new(false), hashes(&server));
            let (rate, guesses) = scope(|scope| {
                let flood = scope.spawn(|| guess(&server, PACE, name, |_| done.load(Ordering::Relaxed)));
                let rate = rate(&server, &request);
                done.store(true, Ordering::Relaxed);
                (rate, flood.join().unwrap())
            });
            beside.push(rate);
            let (refused, throttled) = (guesses.refused.into_inner(), guesses.throttled.into_inner());
            assert_eq!(hashes(&server) - before, u64::from(refused), "a throttled try was hashed");
            (hashed, tried) = (hashed + refused, tried + refused + throttled);
        }
        let (without, beside) = (median(without), median(beside));
        println!("| none | | {without:.0} | |");
        println!("| {what} | {hashed} of {tried} | {beside:.0} | {:.2} |", beside / without);
    }
}
