//! Mounting a blob of another repository instead of sending it.

use roadstead_testkit::{Body, Request, digest};

use super::Verdict;
use super::subject::{Answer, Subject};

super::clauses! {
    "end-11": a_mount_answers_201, a_mounted_blob_is_served, a_mount_outlives_its_source,
        a_mount_of_an_absent_blob_begins_a_session, a_mount_from_a_repository_without_it_begins_a_session,
        a_mount_without_from_is_201_or_a_session, a_mount_of_a_malformed_digest_is_refused_or_a_session,
        a_mount_from_a_malformed_name_is_refused_or_a_session;
}

fn mount(subject: &Subject, digest: &str, from: Option<&str>) -> Result<Answer, String> {
    let from = from.map(|from| format!("&from={}", from.replace('/', "%2F"))).unwrap_or_default();
    let target = format!("/v2/{}/target/blobs/uploads/?mount={digest}{from}", subject.name);
    subject.send(Request::new("POST", target), Body::None)
}

fn target(subject: &Subject, digest: &str) -> String {
    format!("/v2/{}/target/blobs/{digest}", subject.name)
}

fn a_mount_answers_201(subject: &Subject) -> Verdict {
    let (bytes, digest) = subject.blob(1, 1_000)?;
    let location = mount(subject, &digest, Some(&subject.name))?.is(201)?.location()?;
    subject.call("GET", &location)?.is(200)?.body(&bytes)?.done()
}

fn a_mounted_blob_is_served(subject: &Subject) -> Verdict {
    let (bytes, digest) = subject.blob(1, 1_000)?;
    subject.call("HEAD", &target(subject, &digest))?.is(404)?;
    mount(subject, &digest, Some(&subject.name))?.is(201)?;
    subject.call("GET", &target(subject, &digest))?.is(200)?.body(&bytes)?.done()
}

fn a_mount_outlives_its_source(subject: &Subject) -> Verdict {
    let (bytes, digest) = subject.blob(1, 1_000)?;
    mount(subject, &digest, Some(&subject.name))?.is(201)?;
    subject.call("DELETE", &subject.at(&format!("blobs/{digest}")))?.is(202)?;
    subject.call("GET", &target(subject, &digest))?.is(200)?.body(&bytes)?.done()
}

/// The fall-back of every mount: a session, in which the blob can be sent.
fn session_takes(subject: &Subject, answer: &Answer) -> Verdict {
    let bytes = subject.bytes(8, 100);
    subject.put(&answer.location()?, &digest(&bytes), &bytes)?.is(201)?;
    subject.call("HEAD", &target(subject, &digest(&bytes)))?.is(200)?.done()
}

fn a_mount_of_an_absent_blob_begins_a_session(subject: &Subject) -> Verdict {
    let absent = digest(&subject.bytes(9, 9));
    session_takes(subject, &mount(subject, &absent, Some(&subject.name))?.is(202)?)
}

fn a_mount_from_a_repository_without_it_begins_a_session(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 1_000)?;
    let from = format!("{}/empty", subject.name);
    session_takes(subject, &mount(subject, &digest, Some(&from))?.is(202)?)
}

fn a_mount_without_from_is_201_or_a_session(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 1_000)?;
    let answer = mount(subject, &digest, None)?.among(&[201, 202])?;
    match answer.response.status {
        201 => subject.call("HEAD", &target(subject, &digest))?.is(200)?.done(),
        _ => session_takes(subject, &answer),
    }
}

fn a_mount_of_a_malformed_digest_is_refused_or_a_session(subject: &Subject) -> Verdict {
    mount(subject, "sha256:abc", Some(&subject.name))?.among(&[202, 400])?.done()
}

fn a_mount_from_a_malformed_name_is_refused_or_a_session(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 1_000)?;
    mount(subject, &digest, Some("Not/A/NAME"))?.among(&[202, 400])?.done()
}
