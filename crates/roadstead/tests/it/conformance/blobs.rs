//! Blobs: fetched whole and in part, checked for, deleted.

use roadstead_testkit::{Body, Request, digest};

use super::Verdict;
use super::subject::{Subject, ensure};

super::clauses! {
    "end-2": get_yields_the_bytes, get_states_the_length, get_states_the_digest, head_is_get_without_a_body,
        absent_is_blob_unknown, another_repositorys_blob_is_unknown, malformed_digest_is_refused,
        an_unsupported_algorithm_is_refused, an_empty_blob_is_served;
    "end-2 range": a_closed_range_is_206, an_open_range_is_206, a_suffix_range_is_206, a_range_past_the_end_is_cut,
        a_range_behind_the_end_is_416, a_malformed_range_is_ignored_or_416, ranges_are_announced;
    "end-2 conditional": ours_an_etag_that_matches_is_304;
    "end-10": delete_answers_202, deleted_is_unknown, deleting_absent_is_404, ours_a_blob_in_use_stays;
}

fn get(subject: &Subject, digest: &str) -> Result<super::subject::Answer, String> {
    subject.call("GET", &subject.at(&format!("blobs/{digest}")))
}

fn get_yields_the_bytes(subject: &Subject) -> Verdict {
    let (bytes, digest) = subject.blob(1, 100_000)?;
    get(subject, &digest)?.is(200)?.body(&bytes)?.done()
}

fn get_states_the_length(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 1_234)?;
    get(subject, &digest)?.is(200)?.has("Content-Length", "1234")?.done()
}

fn get_states_the_digest(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 10)?;
    get(subject, &digest)?.is(200)?.has("Docker-Content-Digest", &digest)?.done()
}

fn head_is_get_without_a_body(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 1_234)?;
    let answer = subject.call("HEAD", &subject.at(&format!("blobs/{digest}")))?;
    answer.is(200)?.has("Content-Length", "1234")?.has("Docker-Content-Digest", &digest)?.body(b"")?.done()
}

fn absent_is_blob_unknown(subject: &Subject) -> Verdict {
    subject.blob(1, 10)?;
    let absent = digest(&subject.bytes(9, 9));
    subject.call("HEAD", &subject.at(&format!("blobs/{absent}")))?.is(404)?;
    get(subject, &absent)?.is(404)?.code("BLOB_UNKNOWN")?.done()
}

fn another_repositorys_blob_is_unknown(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 10)?;
    subject.call("GET", &format!("/v2/{}/other/blobs/{digest}", subject.name))?.is(404)?.done()
}

fn malformed_digest_is_refused(subject: &Subject) -> Verdict {
    for wrong in ["sha256:abc", "sha256:", "sha256", "nothing", &format!("sha256:{}", "g".repeat(64))] {
        get(subject, wrong)?.among(&[400, 404])?;
    }
    Ok(())
}

fn an_unsupported_algorithm_is_refused(subject: &Subject) -> Verdict {
    get(subject, &format!("md5:{}", "0".repeat(32)))?.among(&[400, 404])?.done()
}

fn an_empty_blob_is_served(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 0)?;
    get(subject, &digest)?.is(200)?.has("Content-Length", "0")?.body(b"")?.done()
}

fn ranged(subject: &Subject, range: &str) -> Result<(Vec<u8>, super::subject::Answer), String> {
    let (bytes, digest) = subject.blob(1, 1_000)?;
    let request = Request::new("GET", subject.at(&format!("blobs/{digest}"))).header("Range", range);
    Ok((bytes, subject.send(request, Body::None)?))
}

fn a_closed_range_is_206(subject: &Subject) -> Verdict {
    let (bytes, answer) = ranged(subject, "bytes=10-19")?;
    answer.is(206)?.has("Content-Range", "bytes 10-19/1000")?.has("Content-Length", "10")?.body(&bytes[10..20])?.done()
}

fn an_open_range_is_206(subject: &Subject) -> Verdict {
    let (bytes, answer) = ranged(subject, "bytes=990-")?;
    answer.is(206)?.has("Content-Range", "bytes 990-999/1000")?.body(&bytes[990..])?.done()
}

fn a_suffix_range_is_206(subject: &Subject) -> Verdict {
    let (bytes, answer) = ranged(subject, "bytes=-5")?;
    answer.is(206)?.has("Content-Range", "bytes 995-999/1000")?.body(&bytes[995..])?.done()
}

fn a_range_past_the_end_is_cut(subject: &Subject) -> Verdict {
    let (bytes, answer) = ranged(subject, "bytes=990-5000")?;
    answer.is(206)?.has("Content-Range", "bytes 990-999/1000")?.body(&bytes[990..])?.done()
}

fn a_range_behind_the_end_is_416(subject: &Subject) -> Verdict {
    let (_, answer) = ranged(subject, "bytes=1000-")?;
    answer.is(416)?.has("Content-Range", "bytes */1000")?.done()
}

fn a_malformed_range_is_ignored_or_416(subject: &Subject) -> Verdict {
    for range in ["bytes=b-a", "lines=1-2", "bytes=20-10"] {
        // RFC 9110, 14.2 and 15.5.17: a range that makes no sense is no range, or rejected.
        let (bytes, answer) = ranged(subject, range)?;
        let answer = answer.among(&[200, 416])?;
        if answer.response.status == 200 {
            answer.body(&bytes)?;
        }
    }
    Ok(())
}

fn ranges_are_announced(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 10)?;
    get(subject, &digest)?.has("Accept-Ranges", "bytes")?.done()
}

fn ours_an_etag_that_matches_is_304(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 10)?;
    let etag = get(subject, &digest)?.value("etag")?;
    let request = Request::new("GET", subject.at(&format!("blobs/{digest}"))).header("If-None-Match", etag);
    subject.send(request, Body::None)?.is(304)?.body(b"")?.done()
}

fn delete_answers_202(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 10)?;
    subject.call("DELETE", &subject.at(&format!("blobs/{digest}")))?.is(202)?.done()
}

fn deleted_is_unknown(subject: &Subject) -> Verdict {
    let (_, digest) = subject.blob(1, 10)?;
    subject.call("DELETE", &subject.at(&format!("blobs/{digest}")))?.is(202)?;
    get(subject, &digest)?.is(404)?.code("BLOB_UNKNOWN")?;
    // It can come back.
    subject.blob(1, 10)?;
    get(subject, &digest)?.is(200)?.done()
}

fn deleting_absent_is_404(subject: &Subject) -> Verdict {
    subject.blob(1, 10)?;
    let absent = digest(&subject.bytes(9, 9));
    subject.call("DELETE", &subject.at(&format!("blobs/{absent}")))?.is(404)?.code("BLOB_UNKNOWN")?.done()
}

fn ours_a_blob_in_use_stays(subject: &Subject) -> Verdict {
    subject.tagged(1, "latest")?;
    let manifest = subject.get_manifest("latest")?.is(200)?.json();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap_or_default().to_owned();
    let answer = subject.call("DELETE", &subject.at(&format!("blobs/{layer}")))?;
    // Refused, or hidden from the repository: never an image whose layer is gone.
    let deleted = answer.response.status == 202;
    let image = subject.get_manifest("latest")?.response.status == 200;
    ensure(!(deleted && image), || "a layer of a tagged image was deleted under it".to_owned())
}
