//! Uploads in several pieces: the order of chunks, what the server says it has, and streams.

use roadstead_testkit::{Body, Request, digest};

use super::Verdict;
use super::subject::{OCTETS, Subject, ensure};

super::clauses! {
    "end-5": a_chunk_answers_202_with_range_and_location, chunks_in_order_make_a_blob, the_last_chunk_may_come_with_put,
        a_location_may_change, a_stream_without_a_range_is_accepted, streams_may_follow_each_other,
        a_first_chunk_that_is_not_first_is_416, an_overlapping_chunk_is_416, a_repeated_chunk_is_416, a_gap_is_416,
        after_416_the_upload_goes_on, a_range_that_lies_about_its_length_is_refused, a_malformed_range_is_refused,
        a_chunk_of_an_unknown_session_is_404, an_empty_chunk_changes_nothing;
    "end-6": put_that_lacks_chunks_is_refused, put_with_the_wrong_range_is_416;
    "end-13": status_states_what_is_there, status_gives_a_location_to_go_on;
}

fn a_chunk_answers_202_with_range_and_location(subject: &Subject) -> Verdict {
    let answer = subject.patch(&subject.begin()?, 0, &subject.bytes(1, 500))?.is(202)?.has("Range", "0-499")?;
    answer.location()?;
    answer.done()
}

fn chunks_in_order_make_a_blob(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 300_000);
    let mut location = subject.begin()?;
    for (index, chunk) in bytes.chunks(70_000).enumerate() {
        let answer = subject.patch(&location, index * 70_000, chunk)?.is(202)?;
        let answer = answer.has("Range", &format!("0-{}", index * 70_000 + chunk.len() - 1))?;
        location = answer.location()?;
    }
    subject.put(&location, &digest(&bytes), b"")?.is(201)?;
    subject.call("GET", &subject.at(&format!("blobs/{}", digest(&bytes))))?.is(200)?.body(&bytes)?.done()
}

fn put_rest(
    subject: &Subject,
    location: &str,
    whole: &[u8],
    range: &str,
    rest: &[u8],
) -> Result<super::subject::Answer, String> {
    let target = format!("{location}{}digest={}", if location.contains('?') { '&' } else { '?' }, digest(whole));
    let request = Request::new("PUT", target).header("Content-Type", OCTETS).header("Content-Range", range);
    subject.send(request, Body::Bytes(rest))
}

fn the_last_chunk_may_come_with_put(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 1_000);
    let location = subject.patch(&subject.begin()?, 0, &bytes[..600])?.is(202)?.location()?;
    put_rest(subject, &location, &bytes, "600-999", &bytes[600..])?.is(201)?;
    let location = subject.patch(&subject.begin()?, 0, &bytes[..600])?.is(202)?.location()?;
    subject.put(&location, &digest(&bytes), &bytes[600..])?.is(201)?.done()
}

fn a_location_may_change(subject: &Subject) -> Verdict {
    // Each answer says where the next request goes; that one must work, whatever it looks like.
    let bytes = subject.bytes(1, 30);
    let mut location = subject.begin()?;
    for at in 0..3 {
        location = subject.patch(&location, at * 10, &bytes[at * 10..at * 10 + 10])?.is(202)?.location()?;
        location = subject.call("GET", &location)?.is(204)?.location()?;
    }
    subject.put(&location, &digest(&bytes), b"")?.is(201)?.done()
}

fn stream(subject: &Subject, location: &str, mut bytes: &[u8]) -> Result<super::subject::Answer, String> {
    let request = Request::new("PATCH", location).header("Content-Type", OCTETS);
    subject.send(request, Body::Chunked(&mut bytes))
}

fn a_stream_without_a_range_is_accepted(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 500_000);
    let answer = stream(subject, &subject.begin()?, &bytes)?.is(202)?.has("Range", "0-499999")?;
    subject.put(&answer.location()?, &digest(&bytes), b"")?.is(201)?.done()
}

fn streams_may_follow_each_other(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 2_000);
    let location = stream(subject, &subject.begin()?, &bytes[..700])?.is(202)?.location()?;
    let answer = stream(subject, &location, &bytes[700..])?.is(202)?.has("Range", "0-1999")?;
    subject.put(&answer.location()?, &digest(&bytes), b"")?.is(201)?.done()
}

fn a_first_chunk_that_is_not_first_is_416(subject: &Subject) -> Verdict {
    subject.patch(&subject.begin()?, 500, &subject.bytes(1, 100))?.is(416)?.done()
}

/// A session with the first 500 of 1000 bytes.
fn half(subject: &Subject) -> Result<(Vec<u8>, String), String> {
    let bytes = subject.bytes(1, 1_000);
    let location = subject.patch(&subject.begin()?, 0, &bytes[..500])?.is(202)?.location()?;
    Ok((bytes, location))
}

fn an_overlapping_chunk_is_416(subject: &Subject) -> Verdict {
    let (bytes, location) = half(subject)?;
    subject.patch(&location, 400, &bytes[400..])?.is(416)?.done()
}

fn a_repeated_chunk_is_416(subject: &Subject) -> Verdict {
    let (bytes, location) = half(subject)?;
    subject.patch(&location, 0, &bytes[..500])?.is(416)?.done()
}

fn a_gap_is_416(subject: &Subject) -> Verdict {
    let (bytes, location) = half(subject)?;
    subject.patch(&location, 600, &bytes[600..])?.is(416)?.done()
}

fn after_416_the_upload_goes_on(subject: &Subject) -> Verdict {
    let (bytes, location) = half(subject)?;
    subject.patch(&location, 700, &bytes[700..])?.is(416)?;
    let location = subject.call("GET", &location)?.is(204)?.has("Range", "0-499")?.location()?;
    let location = subject.patch(&location, 500, &bytes[500..])?.is(202)?.has("Range", "0-999")?.location()?;
    subject.put(&location, &digest(&bytes), b"")?.is(201)?.done()
}

fn a_range_that_lies_about_its_length_is_refused(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 100);
    let location = subject.begin()?;
    let request = Request::new("PATCH", &location).header("Content-Type", OCTETS).header("Content-Range", "0-199");
    subject.send(request, Body::Bytes(&bytes))?.among(&[400, 416])?.done()
}

fn a_malformed_range_is_refused(subject: &Subject) -> Verdict {
    for range in ["x-y", "9-0", "-5", "5-", "0-18446744073709551616"] {
        let request =
            Request::new("PATCH", subject.begin()?).header("Content-Type", OCTETS).header("Content-Range", range);
        subject.send(request, Body::Bytes(&subject.bytes(1, 6)))?.among(&[400, 416])?;
    }
    Ok(())
}

fn a_chunk_of_an_unknown_session_is_404(subject: &Subject) -> Verdict {
    let unknown = subject.at("blobs/uploads/00000000-0000-0000-0000-000000000000");
    subject.patch(&unknown, 0, b"bytes")?.is(404)?.code("BLOB_UPLOAD_UNKNOWN")?.done()
}

fn an_empty_chunk_changes_nothing(subject: &Subject) -> Verdict {
    let (bytes, location) = half(subject)?;
    let request = Request::new("PATCH", &location).header("Content-Type", OCTETS);
    let answer = subject.send(request, Body::None)?.among(&[202, 400])?;
    let location = if answer.response.status == 202 { answer.location()? } else { location };
    subject.put(&location, &digest(&bytes), &bytes[500..])?.is(201)?.done()
}

fn put_that_lacks_chunks_is_refused(subject: &Subject) -> Verdict {
    let (bytes, location) = half(subject)?;
    subject.put(&location, &digest(&bytes), b"")?.is(400)?.code("DIGEST_INVALID")?.done()
}

fn put_with_the_wrong_range_is_416(subject: &Subject) -> Verdict {
    let (bytes, location) = half(subject)?;
    put_rest(subject, &location, &bytes, "600-1099", &bytes[500..])?.is(416)?.done()
}

fn status_states_what_is_there(subject: &Subject) -> Verdict {
    let (_, location) = half(subject)?;
    subject.call("GET", &location)?.is(204)?.has("Range", "0-499")?.done()
}

fn status_gives_a_location_to_go_on(subject: &Subject) -> Verdict {
    let (bytes, location) = half(subject)?;
    let location = subject.call("GET", &location)?.is(204)?.location()?;
    let location = subject.patch(&location, 500, &bytes[500..])?.is(202)?.location()?;
    subject.put(&location, &digest(&bytes), b"")?.is(201)?;
    ensure(true, String::new)
}
