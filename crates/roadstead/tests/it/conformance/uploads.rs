//! Uploads in one piece, and sessions: begun, asked for, cancelled.

use roadstead_testkit::{Body, Request, digest};

use super::Verdict;
use super::subject::{OCTETS, Subject, ensure};

super::clauses! {
    "end-4a": begin_answers_202_with_a_location, begin_states_an_empty_range, begin_accepts_a_missing_slash_or_404,
        sessions_are_separate;
    "end-4b": single_post_answers_201, single_post_with_a_wrong_digest_is_refused, single_post_or_session;
    "end-6": put_answers_201_with_a_location, the_location_of_a_blob_can_be_fetched, put_states_the_digest,
        put_with_a_wrong_digest_is_refused, put_with_a_malformed_digest_is_refused, put_without_a_digest_is_refused,
        put_in_http_chunks_is_accepted, putting_again_is_accepted, a_used_session_is_unknown,
        nothing_is_stored_for_a_wrong_digest;
    "end-13": status_of_a_new_session, status_of_an_unknown_session_is_404;
    "end-14": cancel_answers_204, a_cancelled_session_is_unknown;
    "locations": ours_a_forged_session_is_refused, ours_a_session_belongs_to_its_repository;
}

fn begin_answers_202_with_a_location(subject: &Subject) -> Verdict {
    let location = subject.begin()?;
    ensure(location.contains("/blobs/uploads/"), || format!("Location is {location}"))
}

fn begin_states_an_empty_range(subject: &Subject) -> Verdict {
    let answer = subject.call("POST", &subject.at("blobs/uploads/"))?.is(202)?;
    let range = answer.response.header("range").unwrap_or("0-0").to_owned();
    ensure(range == "0-0" || range == "0--1", || format!("Range is {range}"))
}

fn begin_accepts_a_missing_slash_or_404(subject: &Subject) -> Verdict {
    subject.call("POST", &subject.at("blobs/uploads"))?.among(&[202, 404, 405, 308, 301])?.done()
}

fn sessions_are_separate(subject: &Subject) -> Verdict {
    let (first, second) = (subject.begin()?, subject.begin()?);
    ensure(first != second, || "two sessions have one location".to_owned())?;
    let (a, b) = (subject.bytes(1, 100), subject.bytes(2, 100));
    let first = subject.patch(&first, 0, &a)?.is(202)?.location()?;
    let second = subject.patch(&second, 0, &b)?.is(202)?.location()?;
    subject.put(&first, &digest(&a), b"")?.is(201)?;
    subject.put(&second, &digest(&b), b"")?.is(201)?.done()
}

fn post(subject: &Subject, digest: &str, bytes: &[u8]) -> Result<super::subject::Answer, String> {
    let request = Request::new("POST", subject.at(&format!("blobs/uploads/?digest={digest}")));
    subject.send(request.header("Content-Type", OCTETS), Body::Bytes(bytes))
}

fn single_post_answers_201(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 5_000);
    let answer = post(subject, &digest(&bytes), &bytes)?.is(201)?;
    let location = answer.location()?;
    subject.call("GET", &location)?.is(200)?.body(&bytes)?.done()
}

fn single_post_with_a_wrong_digest_is_refused(subject: &Subject) -> Verdict {
    let wrong = digest(b"something else");
    post(subject, &wrong, &subject.bytes(1, 100))?.is(400)?.code("DIGEST_INVALID")?;
    subject.call("HEAD", &subject.at(&format!("blobs/{wrong}")))?.is(404)?.done()
}

fn single_post_or_session(subject: &Subject) -> Verdict {
    // A registry may answer 202 instead; then the upload goes on as a session.
    let bytes = subject.bytes(1, 100);
    let answer = post(subject, &digest(&bytes), &bytes)?.among(&[201, 202])?;
    if answer.response.status == 202 {
        subject.put(&answer.location()?, &digest(&bytes), &bytes)?.is(201)?;
    }
    subject.call("HEAD", &subject.at(&format!("blobs/{}", digest(&bytes))))?.is(200)?.done()
}

fn put_answers_201_with_a_location(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 1_000);
    let answer = subject.put(&subject.begin()?, &digest(&bytes), &bytes)?.is(201)?;
    let location = answer.location()?;
    ensure(location.ends_with(&format!("/blobs/{}", digest(&bytes))), || format!("Location is {location}"))
}

fn the_location_of_a_blob_can_be_fetched(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 1_000);
    let location = subject.put(&subject.begin()?, &digest(&bytes), &bytes)?.is(201)?.location()?;
    subject.call("GET", &location)?.is(200)?.body(&bytes)?.done()
}

fn put_states_the_digest(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 1_000);
    subject.put(&subject.begin()?, &digest(&bytes), &bytes)?.has("Docker-Content-Digest", &digest(&bytes))?.done()
}

fn put_with_a_wrong_digest_is_refused(subject: &Subject) -> Verdict {
    let wrong = digest(b"something else");
    subject.put(&subject.begin()?, &wrong, &subject.bytes(1, 100))?.is(400)?.code("DIGEST_INVALID")?.done()
}

fn put_with_a_malformed_digest_is_refused(subject: &Subject) -> Verdict {
    for wrong in ["sha256:abc", "nothing", &format!("md5:{}", "0".repeat(32))] {
        subject.put(&subject.begin()?, wrong, &subject.bytes(1, 100))?.is(400)?.code("DIGEST_INVALID")?;
    }
    Ok(())
}

fn put_without_a_digest_is_refused(subject: &Subject) -> Verdict {
    let request = Request::new("PUT", subject.begin()?).header("Content-Type", OCTETS);
    subject.send(request, Body::Bytes(&subject.bytes(1, 100)))?.is(400)?.code("DIGEST_INVALID")?.done()
}

fn put_in_http_chunks_is_accepted(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 300_000);
    let location = subject.begin()?;
    let target = format!("{location}{}digest={}", if location.contains('?') { '&' } else { '?' }, digest(&bytes));
    let request = Request::new("PUT", target).header("Content-Type", OCTETS);
    subject.send(request, Body::Chunked(&mut bytes.as_slice()))?.is(201)?.done()
}

fn putting_again_is_accepted(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 1_000);
    for _ in 0..2 {
        subject.put(&subject.begin()?, &digest(&bytes), &bytes)?.is(201)?;
    }
    Ok(())
}

fn a_used_session_is_unknown(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 1_000);
    let location = subject.patch(&subject.begin()?, 0, &bytes)?.is(202)?.location()?;
    subject.put(&location, &digest(&bytes), b"")?.is(201)?;
    subject.call("GET", &location)?.is(404)?.code("BLOB_UPLOAD_UNKNOWN")?.done()
}

fn nothing_is_stored_for_a_wrong_digest(subject: &Subject) -> Verdict {
    let (bytes, wrong) = (subject.bytes(1, 100), digest(b"something else"));
    subject.put(&subject.begin()?, &wrong, &bytes)?.is(400)?;
    for absent in [wrong, digest(&bytes)] {
        subject.call("HEAD", &subject.at(&format!("blobs/{absent}")))?.is(404)?;
    }
    Ok(())
}

fn status_of_a_new_session(subject: &Subject) -> Verdict {
    let location = subject.begin()?;
    let answer = subject.call("GET", &location)?.is(204)?;
    answer.location()?;
    let range = answer.value("range")?;
    ensure(range == "0-0" || range == "0--1", || format!("Range is {range}"))
}

fn status_of_an_unknown_session_is_404(subject: &Subject) -> Verdict {
    let unknown = subject.at("blobs/uploads/00000000-0000-0000-0000-000000000000");
    subject.call("GET", &unknown)?.is(404)?.code("BLOB_UPLOAD_UNKNOWN")?.done()
}

fn cancel_answers_204(subject: &Subject) -> Verdict {
    let location = subject.patch(&subject.begin()?, 0, &subject.bytes(1, 100))?.is(202)?.location()?;
    subject.call("DELETE", &location)?.is(204)?.done()
}

fn a_cancelled_session_is_unknown(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 100);
    let location = subject.patch(&subject.begin()?, 0, &bytes)?.is(202)?.location()?;
    subject.call("DELETE", &location)?.is(204)?;
    subject.call("GET", &location)?.is(404)?.code("BLOB_UPLOAD_UNKNOWN")?;
    subject.put(&location, &digest(&bytes), b"")?.is(404)?.code("BLOB_UPLOAD_UNKNOWN")?.done()
}

fn ours_a_forged_session_is_refused(subject: &Subject) -> Verdict {
    let location = subject.begin()?;
    let at = location.len() - 3;
    let changed = if location.as_bytes()[at] == b'A' { "B" } else { "A" };
    let forged = format!("{}{changed}{}", &location[..at], &location[at + 1..]);
    subject.call("GET", &forged)?.among(&[400, 404])?.done()
}

fn ours_a_session_belongs_to_its_repository(subject: &Subject) -> Verdict {
    let location = subject.patch(&subject.begin()?, 0, &subject.bytes(1, 100))?.is(202)?.location()?;
    let elsewhere = location.replace(&subject.name, &format!("{}/other", subject.name));
    subject.call("GET", &elsewhere)?.among(&[400, 404])?.done()
}
