//! What a bucket that cannot be used is told apart by.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use roadstead_storage::{Error, ErrorKind};
use roadstead_storage_cloud::{S3, S3Options, Secret};
use roadstead_testkit::servers::s3;

use crate::conformance::options;
use crate::proxy::{Fate, Proxy};

/// The first look at a bucket.
const LOOK: &str = "GET /blobs?list-type=2";
/// Requests of one look that fails in a way that passes.
const REPEATED: usize = 5;

async fn refused(options: &S3Options) -> Error {
    S3::open_bucket(options).await.expect_err("a bucket that cannot be used")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_bucket_key_or_secret_is_named() {
    let Some(server) = s3() else { return };
    let right = options(&server);
    S3::open_bucket(&right).await.unwrap();
    let (access, secret) = (Secret::new(server.access_key), Secret::new(server.secret_key));
    let wrong = |word: &str| Secret::new(word);
    for (options, kind, words) in [
        (
            S3Options { bucket: "other".into(), ..right.clone() },
            ErrorKind::Other,
            ["there is no bucket other", "storage.s3.bucket", "NoSuchBucket"],
        ),
        (
            S3Options { credentials: Some((wrong("NOBODY"), secret)), ..right.clone() },
            ErrorKind::Denied,
            ["does not know", "storage.s3.accesskey", &server.endpoint],
        ),
        (
            S3Options { credentials: Some((access, wrong("not-the-secret"))), ..right.clone() },
            ErrorKind::Denied,
            ["does not fit", "storage.s3.secretkey", "SignatureDoesNotMatch"],
        ),
    ] {
        let error = refused(&options).await;
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(!text.contains("not-the-secret") && !text.contains(server.secret_key), "{text}");
    }
}

/// A server that answers every request with this.
fn answering(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = connection.write_all(format!("{head}{body}").as_bytes());
        }
    });
    endpoint
}

fn at(endpoint: String) -> S3Options {
    let credentials = Some((Secret::new("AK"), Secret::new("SK")));
    S3Options { endpoint: Some(endpoint), credentials, ..S3Options::new("b", "us-east-1") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_clock_or_right_is_named() {
    for (status, code, kind, words) in [
        (
            "400 Bad Request",
            "AuthorizationHeaderMalformed",
            ErrorKind::Other,
            ["region us-east-1", "storage.s3.region"],
        ),
        ("301 Moved Permanently", "PermanentRedirect", ErrorKind::Other, ["region us-east-1", "storage.s3.region"]),
        ("403 Forbidden", "RequestTimeTooSkewed", ErrorKind::Denied, ["clock of this machine", "set the clock"]),
        ("403 Forbidden", "AccessDenied", ErrorKind::Denied, ["may not list bucket b", "allow them"]),
        ("400 Bad Request", "ExpiredToken", ErrorKind::Denied, ["have expired", "storage.s3.sessiontoken"]),
    ] {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>said the server</Message>\
             <Resource>/b</Resource><RequestId>1</RequestId></Error>"
        );
        let error = refused(&at(answering(status, body))).await;
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(words.iter().all(|word| text.contains(word)) && text.contains("said the server"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_is_none_of_s3_is_told() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refused(&at(format!("http://{gone}"))).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("cannot be reached") && error.retryable(), "{error}");
    let error = refused(&at(answering("404 Not Found", "<html>nothing here</html>".into()))).await;
    assert!(error.to_string().contains("an S3 server?"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_answer_now_is_asked_again() {
    let Some(server) = s3() else { return };
    let busy_for =
        |looks: usize| Proxy::new(&server, move |_, number| if number <= looks { Fate::Busy } else { Fate::Pass });
    // All looks but the last fail, and all.
    let (late, never) = (busy_for(4 * REPEATED), busy_for(usize::MAX));
    let (late_options, never_options) = (late.options(&server), never.options(&server));
    let (opened, error) = tokio::join!(S3::open_bucket(&late_options), refused(&never_options));
    opened.unwrap();
    assert_eq!(late.count(LOOK), 4 * REPEATED + 1);
    assert_eq!(never.count(LOOK), 5 * REPEATED);
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("cannot answer now") && error.to_string().contains("SlowDown"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_second_look_does_not_mend_is_told_after_the_first() {
    let Some(server) = s3() else { return };
    let wrong = Some((Secret::new("NOBODY"), Secret::new(server.secret_key)));
    let proxy = || Proxy::new(&server, |_, _| Fate::Pass);
    let silent = Proxy::new(&server, |_, _| Fate::Forget);
    let error = refused(&silent.options(&server)).await;
    assert_eq!((error.kind(), silent.count("GET")), (ErrorKind::Unavailable, REPEATED), "{error}");
    let other = proxy();
    let error = refused(&S3Options { bucket: "other".into(), ..other.options(&server) }).await;
    assert_eq!((error.kind(), other.count("GET")), (ErrorKind::Other, 1), "{error}");
    let stranger = proxy();
    let error = refused(&S3Options { credentials: wrong, ..stranger.options(&server) }).await;
    assert_eq!((error.kind(), stranger.count("GET")), (ErrorKind::Denied, 1), "{error}");
}
