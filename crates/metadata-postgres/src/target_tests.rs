#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn of(url: &str) -> Result<Target, OpenError> {
    Target::of(&Options::new(url))
}

fn names(servers: &[Server]) -> Vec<&str> {
    servers.iter().map(|server| server.name.as_str()).collect()
}

#[test]
fn each_host_has_its_port() {
    let target = of("postgres://me@a,b:5433,[::1]:7/db").unwrap();
    assert_eq!(names(&target.primaries), ["a:5432", "b:5433", "::1:7"]);
    assert_eq!(target.hosts(), "a:5432, b:5433, ::1:7");
    assert_eq!(target.primaries[1].config.get_user(), Some("me"));
    assert_eq!(target.primaries[1].config.get_dbname(), Some("db"));
    assert_eq!(target.database, "db");
}

#[test]
fn standbys_are_as_the_url_but_for_where_they_are() {
    let options = Options { standbys: vec!["c".into(), "d:6000".into()], ..Options::new("postgres://me:pw@a/db") };
    let target = Target::of(&options).unwrap();
    assert_eq!(names(&target.readers), ["c:5432", "d:6000"]);
    assert_eq!(target.readers[1].config.get_password(), Some(b"pw".as_slice()));
    assert_eq!(names(&of("postgres://me@a,b/db").unwrap().readers), ["a:5432", "b:5432"]);
}

#[test]
fn modes_of_tls_are_those_of_libpq() {
    let mode = |url: &str| of(url).map(|target| (target.primaries[0].config.get_ssl_mode(), target.trust));
    assert_eq!(mode("postgres://me@a/db").unwrap(), (SslMode::Prefer, Trust::Anybody));
    assert_eq!(mode("postgres://me@a/db?sslmode=disable").unwrap(), (SslMode::Disable, Trust::Anybody));
    assert_eq!(mode("postgres://me@a/db?sslmode=require").unwrap(), (SslMode::Require, Trust::Anybody));
    let full = mode("postgres://me@a/db?sslmode=verify-full&sslrootcert=/ca.pem").unwrap();
    assert_eq!(full, (SslMode::Require, Trust::Verified(Some("/ca.pem".into()))));
    assert!(mode("postgres://me@a/db?sslmode=verify").unwrap_err().to_string().contains("verify-full"));
    assert!(mode("postgres://me@a/db?sslrootcert=/ca.pem").unwrap_err().to_string().contains("sslmode=verify-full"));
}

#[test]
fn what_is_wrong_is_told_without_the_password() {
    for url in ["mysql://me:sesame@a/db", "postgres://me:sesame@a/db?nonsense=1", "postgres://me:sesame@/db", "me"] {
        let text = of(url).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains("postgres://USER@HOST") && !text.contains("sesame"), "{url}: {text}");
    }
    let options = Options { standbys: vec!["x@y".into()], ..Options::new("postgres://me@a/db") };
    assert!(Target::of(&options).map(|_| ()).unwrap_err().to_string().contains("standbys: `x@y`"));
}
