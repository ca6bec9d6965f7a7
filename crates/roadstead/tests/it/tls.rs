//! TLS of a whole server: its own authority, an operator's certificate that is replaced, and a load balancer that passes
//! connections through.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use roadstead_testkit::servers::{database, free_address, haproxy, s3};
use roadstead_testkit::{Client, Image, Issuer, Launch, Pair, Seed, Server, Tls};
use serde_json::Value;

use crate::guarded::{PASSWORD, bearer, guarded};
use crate::{s3 as bucket, scale};

const NAME: &str = "registry.example.com";
/// Who comes by a load balancer.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// With a certificate of its own, and a listener beside; that one's address, too.
fn launch() -> (Launch, SocketAddr) {
    let plain = free_address();
    let launch = scale::launch()
        .set("ROADSTEAD_HTTP__TLS__GENERATE", "true")
        .set("ROADSTEAD_HTTP__PLAIN__ADDR", &plain.to_string())
        .set("ROADSTEAD_HTTP__HOST", &format!("https://{NAME}"));
    (launch, plain)
}

/// What clients are to trust, asked without TLS.
fn authority(plain: SocketAddr) -> String {
    let answer = Client::new(plain).call("GET", "/ca").unwrap();
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).unwrap()
}

fn with(pair: &Pair, directory: &Path) -> Launch {
    let (certificate, key) = pair.write(directory);
    scale::launch()
        .set("ROADSTEAD_HTTP__TLS__CERTIFICATE", certificate.to_str().unwrap())
        .set("ROADSTEAD_HTTP__TLS__KEY", key.to_str().unwrap())
}

fn secure(server: &Server, trust: &Tls) -> Client {
    server.client().over(trust)
}

#[test]
fn its_own_authority_is_made_once_and_outlives_it() {
    let (launch, plain) = launch();
    let server = launch.start();
    assert!(server.output().contains(&format!("listening on https://{}", server.addr())), "{}", server.output());
    let certificate = authority(plain);
    for name in [NAME, "localhost", "127.0.0.1"] {
        let trust = Tls::trusting(&certificate, name);
        secure(&server, &trust).push_image("tls/app", "latest", &Image::generate(Seed(1), &[100_000])).unwrap();
    }
    assert!(secure(&server, &Tls::trusting(&certificate, "other.example.com")).call("GET", "/v2/").is_err());
    let answer = Client::new(plain).call("GET", "/v2/").unwrap();
    let secure_url = format!("https://{}/v2/", plain.ip());
    assert_eq!((answer.status, answer.header("location")), (308, Some(&*secure_url)));

    let said = |server: &Server| {
        let output = server.output();
        let line = output.lines().find(|line| line.contains("certificate authority")).map(str::to_owned);
        assert!(!output.contains("PRIVATE"), "{output}");
        line.unwrap()
    };
    let (first, directory) = (said(&server), server.terminate().1);
    let server = launch.start_on(directory);
    assert_eq!((said(&server), authority(plain)), (first, certificate.clone()));
    secure(&server, &Tls::trusting(&certificate, NAME)).pull_image("tls/app", "latest").unwrap();
}

#[test]
fn instances_that_start_at_once_have_one_authority() {
    let (Some(database), Some(bucket)) = (database(), s3()) else { return };
    let launches = [(); 3].map(|()| {
        let (launch, plain) = launch();
        (bucket::with_blobs_in(launch, &bucket).set("ROADSTEAD_METADATA__POSTGRES__URL", &database.url), plain)
    });
    let servers: Vec<_> = scope(|scope| {
        let started: Vec<_> = launches.iter().map(|(launch, _)| scope.spawn(|| launch.start())).collect();
        started.into_iter().map(|started| started.join().unwrap()).collect()
    });
    let certificate = authority(launches[0].1);
    let trust = Tls::trusting(&certificate, NAME);
    for (server, (_, plain)) in servers.iter().zip(&launches) {
        assert_eq!(authority(*plain), certificate);
        assert_eq!(secure(server, &trust).call("GET", "/v2/").unwrap().status, 200);
    }
}

#[test]
fn a_certificate_is_replaced_under_load_and_nothing_fails() {
    let (directory, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("operator"));
    let server = with(&issuer.server(&[NAME]), directory.path()).start();
    let trust = Tls::trusting(&issuer.certificate(), NAME);
    let image = Image::generate(Seed(2), &[200_000]);
    secure(&server, &trust).push_image("tls/app", "latest", &image).unwrap();
    let (done, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    let served = || trust.served(server.addr()).unwrap();
    scope(|scope| {
        for client in 0..8 {
            let (server, trust, done, requests) = (&server, &trust, &done, &requests);
            scope.spawn(move || {
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    // A connection of its own each time.
                    secure(server, trust).manifest("tls/app", "latest").unwrap();
                    if number % 10 == 0 {
                        secure(server, trust)
                            .push_blob(&format!("tls/c{client}"), format!("{number}").as_bytes())
                            .unwrap();
                    }
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut before = served();
        for _ in 0..3 {
            let begun = Instant::now();
            issuer.server(&[NAME]).write(directory.path());
            while served() == before {
                assert!(begun.elapsed() < Duration::from_secs(20), "the new certificate is not served");
                sleep(Duration::from_millis(50));
            }
            before = served();
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("{} requests on connections of their own", requests.load(Ordering::Relaxed));
    assert!(requests.into_inner() > 100, "no load");

    // Half of a pair changes nothing, and is told.
    let before = served();
    std::fs::write(directory.path().join("tls.crt"), issuer.server(&[NAME]).certificate).unwrap();
    let begun = Instant::now();
    while !server.output().contains("is not that of the certificate") {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", server.output());
        sleep(Duration::from_millis(50));
    }
    assert_eq!(served(), before);
    let output = server.ended();
    assert!(!output.contains("PRIVATE"), "{output}");
}

#[test]
fn old_and_new_clients_push_and_pull_and_versions_are_as_configured() {
    let (launch, plain) = launch();
    let server = guarded(launch).start();
    let certificate = authority(plain);
    let (new, old) = (Tls::trusting(&certificate, NAME), Tls::old(&certificate, NAME));
    for (tls, tag) in [(&new, "new"), (&old, "old")] {
        let client = secure(&server, tls).user("admin", PASSWORD);
        client.push_image("admin/app", tag, &Image::generate(Seed(4), &[100_000])).unwrap();
        client.pull_image("admin/app", tag).unwrap();
        // Refused or not, browsers are told to be careful; who comes without TLS, only where to go.
        for (client, path, status) in [(&client, "/v2/", 200), (&secure(&server, tls), "/v2/", 401)] {
            let answer = client.call("GET", path).unwrap();
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        }
    }
    let beside = Client::new(plain);
    for path in ["/health", "/load_balancer_status", "/_ping"] {
        let answer = beside.call("GET", path).unwrap();
        assert_eq!((answer.status, answer.header("strict-transport-security")), (200, None), "{path}");
    }
    for path in ["/v2/", "/auth/token", "/metrics", "/api/v1/users"] {
        assert_eq!(beside.call("GET", path).unwrap().status, 308, "{path}");
    }

    let (directory, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("operator"));
    let launch = with(&issuer.server(&[NAME]), directory.path());
    let server = launch.set("ROADSTEAD_HTTP__TLS__MINIMUMTLS", "tls1.3").start();
    let (new, old) = (Tls::trusting(&issuer.certificate(), NAME), Tls::old(&issuer.certificate(), NAME));
    assert_eq!(secure(&server, &new).call("GET", "/v2/").unwrap().status, 200);
    assert!(secure(&server, &old).call("GET", "/v2/").is_err());
}

#[test]
fn clients_are_asked_for_certificates_as_configured() {
    let (directory, issuer, clients) = (tempfile::tempdir().unwrap(), Issuer::new("operator"), Issuer::new("clients"));
    let file = directory.path().join("clients.pem");
    std::fs::write(&file, clients.certificate()).unwrap();
    for (auth, without) in [("require-and-verify-client-cert", false), ("verify-client-cert-if-given", true)] {
        let server = with(&issuer.server(&[NAME]), directory.path())
            .set("ROADSTEAD_HTTP__TLS__CLIENTCAS", file.to_str().unwrap())
            .set("ROADSTEAD_HTTP__TLS__CLIENTAUTH", auth)
            .start();
        let comes = |tls: Tls| secure(&server, &tls).call("GET", "/v2/").is_ok_and(|answer| answer.status == 200);
        let showing = |pair: &Pair| comes(Tls::showing(&issuer.certificate(), NAME, pair));
        assert!(showing(&clients.client("ci")), "{auth}");
        assert!(!showing(&Issuer::new("clients").client("ci")), "{auth}: of another authority of that name");
        assert_eq!(comes(Tls::trusting(&issuer.certificate(), NAME)), without, "{auth}");
    }
}

#[test]
fn files_that_cannot_be_used_are_told_at_the_start_and_before() {
    let (directory, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("operator"));
    let good = issuer.server(&[NAME]);
    let launch = with(&Pair { key: issuer.server(&[NAME]).key, ..good.clone() }, directory.path());
    let (status, output) = launch.try_start_on(Arc::new(tempfile::tempdir().unwrap())).unwrap_err();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("tls.key is not that of the certificate in"), "{output}");

    let check = || {
        let file = directory.path().join("roadstead.yml");
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| directory.path().join(name).display().to_string());
        std::fs::write(&file, format!("http: {{tls: {{certificate: {certificate}, key: {key}}}}}")).unwrap();
        let mut check: Command = scale::program();
        let output = check.args(["config", "check"]).arg(file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = check();
    assert!(code == Some(2) && text.contains("tls.key is not that of the certificate in"), "{text}");
    good.write(directory.path());
    assert_eq!(check(), (Some(0), String::new()));
    issuer.expired(&[NAME]).write(directory.path());
    let (code, text) = check();
    assert!(
        code == Some(0) && text.contains("warning: http.tls: the certificate in") && text.contains("expired"),
        "{text}"
    );
}

#[test]
fn a_load_balancer_passes_connections_through() {
    let (directory, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("operator"));
    let pair = issuer.server(&[NAME]);
    let trust = Tls::trusting(&issuer.certificate(), NAME);
    for (proxied, option) in [(false, ""), (true, "send-proxy-v2"), (true, "send-proxy")] {
        let ports = [(); 3].map(|()| free_address());
        let [main, plain, balanced] = ports;
        let launch = with(&pair, directory.path())
            .set("ROADSTEAD_LOG__LEVEL", "info")
            .set("ROADSTEAD_HTTP__ADDR", &main.to_string())
            .set("ROADSTEAD_HTTP__PLAIN__ADDR", &plain.to_string());
        let launch = if proxied { launch.set("ROADSTEAD_HTTP__PROXY_PROTOCOL__TRUSTED", "127.0.0.1") } else { launch };
        let server = guarded(launch).start();
        let file = deployed("haproxy/haproxy-tls.cfg");
        let balanced_plain = free_address();
        let variables = [
            ("LISTEN_HTTP", balanced_plain.to_string()),
            ("ROADSTEAD_1", main.to_string()),
            ("ROADSTEAD_2", main.to_string()),
            ("ROADSTEAD_3", main.to_string()),
            ("ROADSTEAD_1_HTTP", plain.to_string()),
            ("ROADSTEAD_2_HTTP", plain.to_string()),
            ("ROADSTEAD_3_HTTP", plain.to_string()),
            ("PROXY", option.to_owned()),
        ];
        let Some(_balancer) = haproxy(&file, balanced, &variables) else { return };
        // From another address of this machine, so that it is told apart from the load balancer.
        let from = || Client::new(balanced).over(&trust).from(CLIENT.into());
        let through = from().user("admin", PASSWORD);
        let begun = Instant::now();
        // It looks at the instances before it sends anybody there.
        while through.call("GET", "/v2/").map(|answer| answer.status).ok() != Some(200) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{option}: {}", server.output());
            sleep(Duration::from_millis(100));
        }
        assert_eq!(trust.served(balanced).unwrap(), trust.served(main).unwrap(), "not the certificate of the instance");
        assert_eq!(from().user("admin", "wrong horse").call("GET", "/v2/").unwrap().status, 401);
        through.push_image("admin/app", "latest", &Image::generate(Seed(3), &[300_000])).unwrap();
        let token = bearer(&through, "repository:admin/app:pull");
        from().bearer(&token).pull_image("admin/app", "latest").unwrap();
        let address = if proxied { CLIENT } else { Ipv4Addr::LOCALHOST };
        assert_eq!(
            noted(&through),
            [("login", "denied"), ("login", "ok"), ("pull", "ok"), ("push", "ok")]
                .map(|(action, outcome)| format!("{action} {outcome} {address}")),
            "{option}"
        );
        let answer = Client::new(balanced_plain).call("GET", "/v2/").unwrap();
        assert_eq!(answer.status, 308);
        assert_eq!(Client::new(balanced_plain).call("GET", "/health").unwrap().status, 200);
        let seen = || server.output().contains(&format!("remote={CLIENT}:"));
        let begun = Instant::now();
        // The log is written a moment later.
        while proxied && !seen() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{option}: {}", server.output());
            sleep(Duration::from_millis(20));
        }
        assert_eq!(seen(), proxied, "{option}: {}", server.output());
    }
}

/// What the audit tells of whom the network brought, sorted, each once.
fn noted(admin: &Client) -> Vec<String> {
    let answer = admin.call("GET", "/api/v1/audit").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.json()["events"].as_array().unwrap().clone();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let told = |event| ["action", "outcome", "remote"].map(|name| text(event, name)).join(" ");
    let mut noted: Vec<_> = events.iter().filter(|event| event["remote"].is_string()).map(told).collect();
    noted.sort();
    noted.dedup();
    noted
}

fn deployed(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}
