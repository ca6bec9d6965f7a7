//! Certificates as operators get them wrong, and how they are replaced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use roadstead_metadata::Millis;
use roadstead_testkit::{Issuer, Pair};

use super::*;

/// A clock that stands where it is put.
#[derive(Debug)]
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Millis {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

const DAY: i64 = 86_400;
/// In 2026.
const NOW: i64 = 1_780_000_000;

fn clock() -> Arc<Set> {
    Arc::new(Set(AtomicI64::new(NOW * 1000)))
}

fn options(source: Source) -> TlsOptions {
    let (oldest, clients) = (Oldest::default(), ClientAuth::default());
    TlsOptions { source, oldest, clients, strict: Duration::ZERO, host: Some("registry.example.com".into()) }
}

fn files(directory: &Path) -> TlsOptions {
    options(Source::Files { certificate: directory.join("tls.crt"), key: directory.join("tls.key") })
}

fn pair() -> Pair {
    Issuer::new("test").server(&["registry.example.com"])
}

async fn refused(directory: &Path) -> String {
    Tls::check(&files(directory), &*clock()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_is_wrong_names_the_file_and_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (certificate, key) = (path.join("tls.crt").display().to_string(), path.join("tls.key").display().to_string());
    let good = pair();
    let text = refused(path).await;
    assert!(text.contains(&certificate) && text.contains("is the path right"), "{text}");

    for (certificate_text, key_text, parts) in [
        ("nothing", good.key.as_str(), [certificate.as_str(), "BEGIN CERTIFICATE"]),
        (&good.key, &good.key, [&certificate, "BEGIN CERTIFICATE"]),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &good.key,
            [&certificate, "holds no certificate"],
        ),
        (&good.certificate, "nothing", [&key, "BEGIN PRIVATE KEY"]),
        (&good.certificate, &good.certificate, [&key, "nothing of that kind"]),
        (
            &good.certificate,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            [&key, "openssl pkey"],
        ),
        (&good.certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", [&key, "ECDSA"]),
        (&good.certificate, &pair().key, [&key, "is not that of the certificate"]),
    ] {
        std::fs::write(path.join("tls.crt"), certificate_text).unwrap();
        std::fs::write(path.join("tls.key"), key_text).unwrap();
        let text = refused(path).await;
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains("AAAA"), "{text}");
    }
}

#[tokio::test]
async fn what_clients_will_refuse_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new("test");
    issuer.expired(&["elsewhere.example.com"]).write(directory.path());
    let warnings = Tls::check(&files(directory.path()), &*clock()).await.unwrap();
    assert!(warnings[0].contains("has expired") && warnings[0].contains("tls.crt"), "{warnings:?}");
    assert!(warnings[1].contains("is not for registry.example.com"), "{warnings:?}");
    pair().write(directory.path());
    assert_eq!(Tls::check(&files(directory.path()), &*clock()).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn authorities_of_clients_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    pair().write(directory.path());
    let wrong = directory.path().join("clients.pem");
    let mut options = files(directory.path());
    options.clients.authorities.push(wrong.clone());
    for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&wrong, text).unwrap();
        let error = Tls::check(&options, &*clock()).await.unwrap_err().to_string();
        assert!(error.contains("clients.pem"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_files_that_fit_together_are_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    pair().write(directory.path());
    let tls = Tls::open(files(directory.path()), clock()).await.unwrap();
    let _watch = tls.watch();
    let config = || Arc::clone(&tls.0.current.read().config);
    let settle = async || {
        // Real files, so that looking at them takes real time.
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    settle().await;
    let first = config();
    settle().await;
    assert!(Arc::ptr_eq(&first, &config()), "nothing changed");

    let second = pair();
    std::fs::write(directory.path().join("tls.crt"), &second.certificate).unwrap();
    settle().await;
    assert!(Arc::ptr_eq(&first, &config()), "half of a pair");
    std::fs::write(directory.path().join("tls.key"), &second.key).unwrap();
    settle().await;
    assert!(!Arc::ptr_eq(&first, &config()));
    let second = config();
    std::fs::remove_file(directory.path().join("tls.key")).unwrap();
    settle().await;
    assert!(Arc::ptr_eq(&second, &config()), "gone");
}

#[tokio::test(start_paused = true)]
async fn a_made_certificate_is_made_anew_before_it_ends() {
    let clock = clock();
    let authority = Authority::read(&Authority::make(NOW * 1000).unwrap()).unwrap();
    let source = Source::Made { authority: Box::new(authority), names: vec!["registry.example.com".into()] };
    let tls = Tls::open(options(source), clock.clone()).await.unwrap();
    let _watch = tls.watch();
    assert_eq!(tls.not_after(), NOW + 90 * DAY);
    for (day, end) in [(59, 90), (61, 61 + 90), (3_652, 3_653)] {
        clock.0.store((NOW + day * DAY) * 1000, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((tls.not_after() - NOW) / DAY, end, "on day {day}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_from_times_to_come_is_made_anew_when_the_clock_is_set_right() {
    let clock = clock();
    let authority = Authority::read(&Authority::make(NOW * 1000).unwrap()).unwrap();
    let source = Source::Made { authority: Box::new(authority), names: Vec::new() };
    clock.0.store((NOW + 20 * DAY) * 1000, Ordering::Relaxed);
    let tls = Tls::open(options(source), clock.clone()).await.unwrap();
    let _watch = tls.watch();
    for (now, end) in [(NOW + 20 * DAY - 30, 110), (NOW, 90), (NOW - 10, 90)] {
        clock.0.store(now * 1000, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(tls.not_after(), NOW + end * DAY, "at {now}");
    }
}

#[test]
fn nothing_tells_a_key() {
    let kept = Authority::make(NOW * 1000).unwrap();
    let value: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let secret = value["key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    let shown = format!("{:?}", Authority::read(&kept).unwrap());
    assert!(!shown.contains(&secret) && !Authority::read(&kept).unwrap().certificate().contains(&secret));
    for broken in [kept.replace("BEGIN PRIVATE", "BEGIN SOME"), kept.replace(&secret[..20], "!"), kept[..200].into()] {
        let error = Authority::read(&broken).unwrap_err();
        assert!(!format!("{error:?} {error}").contains(&secret[20..]), "{error:?}");
    }
}

#[test]
fn a_certificate_is_for_the_machine_and_what_is_asked_for() {
    let names = names::all(&["registry.example.com".into(), "LOCALHOST".into(), "192.0.2.9".into()]);
    assert_eq!(names[..3], ["registry.example.com", "LOCALHOST", "192.0.2.9"]);
    assert!(names.contains(&"127.0.0.1".into()) && names.contains(&"::1".into()), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.eq_ignore_ascii_case("localhost")).count(), 1);
    let authority = Authority::read(&Authority::make(NOW * 1000).unwrap()).unwrap();
    assert!(authority.issue(&names, NOW * 1000).is_ok());
    assert!(authority.issue(&["ü".into()], NOW * 1000).is_err());
}
