//! Digests other than sha256: every algorithm that the specification registers.

use roadstead_testkit::{Body, Image, Request, digest, digest512};

use super::Verdict;
use super::subject::{OCTETS, Subject};

super::clauses! {
    "sha512 blobs": sha512_in_one_piece, sha512_by_single_post, sha512_in_chunks, sha512_is_checked,
        one_blob_under_both_algorithms;
    "sha512 manifests": sha512_manifest_by_digest, sha512_manifest_is_checked, sha512_layers_may_be_named;
}

fn sha512_in_one_piece(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 10_000);
    let digest = digest512(&bytes);
    subject.put(&subject.begin()?, &digest, &bytes)?.is(201)?.has("Docker-Content-Digest", &digest)?;
    let answer = subject.call("GET", &subject.at(&format!("blobs/{digest}")))?;
    answer.is(200)?.has("Docker-Content-Digest", &digest)?.body(&bytes)?.done()
}

fn sha512_by_single_post(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 10_000);
    let digest = digest512(&bytes);
    let request = Request::new("POST", subject.at(&format!("blobs/uploads/?digest={digest}")));
    let answer = subject.send(request.header("Content-Type", OCTETS), Body::Bytes(&bytes))?.is(201)?;
    subject.call("GET", &answer.location()?)?.is(200)?.body(&bytes)?.done()
}

fn sha512_in_chunks(subject: &Subject) -> Verdict {
    // The algorithm is only known at the end, when the bytes have long been received.
    let bytes = subject.bytes(1, 10_000);
    let location = subject.patch(&subject.begin()?, 0, &bytes[..4_000])?.is(202)?.location()?;
    let location = subject.patch(&location, 4_000, &bytes[4_000..])?.is(202)?.location()?;
    subject.put(&location, &digest512(&bytes), b"")?.is(201)?;
    subject.call("GET", &subject.at(&format!("blobs/{}", digest512(&bytes))))?.is(200)?.body(&bytes)?.done()
}

fn sha512_is_checked(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 1_000);
    let wrong = digest512(b"something else");
    subject.put(&subject.begin()?, &wrong, &bytes)?.is(400)?.code("DIGEST_INVALID")?;
    let location = subject.patch(&subject.begin()?, 0, &bytes)?.is(202)?.location()?;
    subject.put(&location, &wrong, b"")?.is(400)?.code("DIGEST_INVALID")?;
    subject.call("HEAD", &subject.at(&format!("blobs/{wrong}")))?.is(404)?.done()
}

fn one_blob_under_both_algorithms(subject: &Subject) -> Verdict {
    let bytes = subject.bytes(1, 1_000);
    for digest in [digest(&bytes), digest512(&bytes)] {
        subject.put(&subject.begin()?, &digest, &bytes)?.is(201)?;
    }
    for digest in [digest(&bytes), digest512(&bytes)] {
        subject.call("GET", &subject.at(&format!("blobs/{digest}")))?.is(200)?.body(&bytes)?;
    }
    Ok(())
}

fn sha512_manifest_by_digest(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    let digest = digest512(&bytes);
    subject.put_manifest(&digest, Image::MANIFEST, &bytes)?.is(201)?.has("Docker-Content-Digest", &digest)?;
    subject.get_manifest(&digest)?.is(200)?.has("Docker-Content-Digest", &digest)?.body(&bytes)?.done()
}

fn sha512_manifest_is_checked(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    subject.put_manifest(&digest512(b"other"), Image::MANIFEST, &bytes)?.is(400)?.code("DIGEST_INVALID")?.done()
}

fn sha512_layers_may_be_named(subject: &Subject) -> Verdict {
    let layer = subject.bytes(7, 500);
    subject.put(&subject.begin()?, &digest512(&layer), &layer)?.is(201)?;
    let mut manifest = subject.image(1)?;
    manifest["layers"][0]["digest"] = digest512(&layer).into();
    manifest["layers"][0]["size"] = layer.len().into();
    subject.put_manifest("latest", Image::MANIFEST, manifest.to_string().as_bytes())?.is(201)?.done()
}
