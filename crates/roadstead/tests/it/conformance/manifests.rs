//! Manifests: pushed, validated, fetched, deleted; images, indexes, artifacts.

use roadstead_testkit::{Body, Image, Request, digest};
use serde_json::{Value, json};

use super::Verdict;
use super::subject::{EMPTY, INDEX, Subject, descriptor, digest_in, ensure};

super::clauses! {
    "end-7": put_by_tag_answers_201, put_by_digest_answers_201, put_states_the_digest, put_gives_a_location_that_works,
        put_moves_a_tag, putting_again_is_accepted, put_under_a_wrong_digest_is_refused, put_of_no_json_is_refused,
        put_without_its_blobs_is_refused, every_missing_blob_is_named, put_without_its_children_is_refused,
        put_of_a_malformed_tag_is_refused, a_tag_of_128_characters_is_accepted, a_manifest_near_4_mib_is_accepted,
        a_manifest_over_the_limit_is_413, a_media_type_that_contradicts_is_refused;
    "end-7 kinds": an_index_is_accepted, an_index_of_indexes_is_accepted, an_empty_index_is_accepted,
        an_artifact_is_accepted, an_image_without_layers_is_accepted, unknown_fields_are_kept,
        a_descriptor_with_data_is_accepted, foreign_layers_need_not_be_there, docker_schema_2_is_accepted;
    "end-3": get_yields_the_bytes, get_states_type_length_and_digest, get_by_digest_and_by_tag_agree,
        head_is_get_without_a_body, absent_is_manifest_unknown, an_absent_digest_is_manifest_unknown,
        of_an_absent_repository_is_404, an_accept_header_does_not_hide_it, ours_an_etag_that_matches_is_304;
    "end-9": delete_by_tag_answers_202, a_deleted_tag_is_unknown, deleting_a_tag_leaves_the_manifest,
        delete_by_digest_answers_202, deleting_a_manifest_takes_its_tags, deleting_absent_is_404;
}

fn put_image(subject: &Subject, reference: &str) -> Result<Vec<u8>, String> {
    let bytes = subject.image(1)?.to_string().into_bytes();
    subject.put_manifest(reference, Image::MANIFEST, &bytes)?.is(201)?;
    Ok(bytes)
}

fn put_by_tag_answers_201(subject: &Subject) -> Verdict {
    put_image(subject, "latest").map(drop)
}

fn put_by_digest_answers_201(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    subject.put_manifest(&digest(&bytes), Image::MANIFEST, &bytes)?.is(201)?;
    subject.get_manifest(&digest(&bytes))?.is(200)?.body(&bytes)?.done()
}

fn put_states_the_digest(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    let answer = subject.put_manifest("latest", Image::MANIFEST, &bytes)?;
    answer.is(201)?.has("Docker-Content-Digest", &digest(&bytes))?.done()
}

fn put_gives_a_location_that_works(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    let location = subject.put_manifest("latest", Image::MANIFEST, &bytes)?.is(201)?.location()?;
    subject.call("GET", &location)?.is(200)?.body(&bytes)?.done()
}

fn put_moves_a_tag(subject: &Subject) -> Verdict {
    let first = subject.tagged(1, "latest")?;
    let second = subject.tagged(2, "latest")?;
    subject.get_manifest("latest")?.is(200)?.has("Docker-Content-Digest", digest_in(&second))?;
    subject.get_manifest(digest_in(&first))?.is(200)?.done()
}

fn putting_again_is_accepted(subject: &Subject) -> Verdict {
    put_image(subject, "latest")?;
    put_image(subject, "latest")?;
    put_image(subject, "other").map(drop)
}

fn put_under_a_wrong_digest_is_refused(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    let wrong = digest(b"something else");
    subject.put_manifest(&wrong, Image::MANIFEST, &bytes)?.is(400)?.code("DIGEST_INVALID")?;
    subject.get_manifest(&wrong)?.is(404)?.done()
}

fn put_of_no_json_is_refused(subject: &Subject) -> Verdict {
    for wrong in ["", "blablabla", "[]", "null", "{\"schemaVersion\":", "{}"] {
        let answer = subject.put_manifest("latest", Image::MANIFEST, wrong.as_bytes())?;
        answer.is(400)?.code("MANIFEST_INVALID").map_err(|error| format!("{wrong:?}: {error}"))?;
    }
    subject.get_manifest("latest")?.is(404)?.done()
}

fn put_without_its_blobs_is_refused(subject: &Subject) -> Verdict {
    let image =
        Image::generate(roadstead_testkit::Seed(u64::from(subject.bytes(1, 1)[0])), &[subject.name.len() as u64 + 70]);
    let answer = subject.put_manifest("latest", Image::MANIFEST, &image.manifest)?;
    answer.among(&[400, 404])?.code("MANIFEST_BLOB_UNKNOWN")?;
    subject.get_manifest("latest")?.is(404)?.done()
}

fn every_missing_blob_is_named(subject: &Subject) -> Verdict {
    let mut manifest = subject.image(1)?;
    let absent: Vec<String> = (5..7).map(|number| digest(&subject.bytes(number, 50))).collect();
    manifest["layers"][0]["digest"] = absent[0].as_str().into();
    manifest["layers"][1]["digest"] = absent[1].as_str().into();
    let answer = subject.put_manifest("latest", Image::MANIFEST, manifest.to_string().as_bytes())?;
    let answer = answer.among(&[400, 404])?.code("MANIFEST_BLOB_UNKNOWN")?;
    let body = answer.json().to_string();
    ensure(absent.iter().all(|digest| body.contains(digest.as_str())), || format!("{absent:?} are not all in {body}"))
}

fn index_of(children: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
}

fn put_without_its_children_is_refused(subject: &Subject) -> Verdict {
    let index = index_of(&[descriptor(Image::MANIFEST, &subject.bytes(3, 300))]).to_string();
    let answer = subject.put_manifest("latest", INDEX, index.as_bytes())?.among(&[400, 404])?;
    let code = answer.response.error_code().unwrap_or_default();
    ensure(matches!(code.as_str(), "MANIFEST_BLOB_UNKNOWN" | "MANIFEST_UNKNOWN"), || format!("the code is {code}"))
}

fn put_of_a_malformed_tag_is_refused(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    for tag in [".dot", "-dash", "a%20b", "a:b", &"a".repeat(129)] {
        subject.put_manifest(tag, Image::MANIFEST, &bytes)?.among(&[400, 404])?;
    }
    Ok(())
}

fn a_tag_of_128_characters_is_accepted(subject: &Subject) -> Verdict {
    let tag = format!("_A.b-{}", "9".repeat(123));
    let bytes = put_image(subject, &tag)?;
    subject.get_manifest(&tag)?.is(200)?.body(&bytes)?.done()
}

fn large(subject: &Subject, length: usize) -> Result<Vec<u8>, String> {
    let mut manifest = subject.image(1)?;
    manifest["annotations"] = json!({"filler": "A".repeat(length)});
    Ok(manifest.to_string().into_bytes())
}

fn a_manifest_near_4_mib_is_accepted(subject: &Subject) -> Verdict {
    let bytes = large(subject, (4 << 20) - 4_096)?;
    subject.put_manifest("large", Image::MANIFEST, &bytes)?.is(201)?;
    subject.get_manifest("large")?.is(200)?.body(&bytes)?.done()
}

fn a_manifest_over_the_limit_is_413(subject: &Subject) -> Verdict {
    let bytes = large(subject, 5 << 20)?;
    subject.put_manifest("large", Image::MANIFEST, &bytes)?.is(413)?;
    subject.get_manifest("large")?.is(404)?.done()
}

fn a_media_type_that_contradicts_is_refused(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    subject.put_manifest("latest", INDEX, &bytes)?.is(400)?.code("MANIFEST_INVALID")?.done()
}

fn an_index_is_accepted(subject: &Subject) -> Verdict {
    let children = [subject.tagged(1, "one")?, subject.tagged(2, "two")?];
    let index = index_of(&children).to_string();
    subject.put_manifest("index", INDEX, index.as_bytes())?.is(201)?;
    subject.get_manifest("index")?.is(200)?.has("Content-Type", INDEX)?.body(index.as_bytes())?.done()
}

fn an_index_of_indexes_is_accepted(subject: &Subject) -> Verdict {
    let inner = index_of(&[subject.tagged(1, "one")?]).to_string();
    subject.put_manifest(&digest(inner.as_bytes()), INDEX, inner.as_bytes())?.is(201)?;
    let outer = index_of(&[descriptor(INDEX, inner.as_bytes())]).to_string();
    subject.put_manifest("outer", INDEX, outer.as_bytes())?.is(201)?.done()
}

fn an_empty_index_is_accepted(subject: &Subject) -> Verdict {
    subject.put_manifest("empty", INDEX, index_of(&[]).to_string().as_bytes())?.is(201)?.done()
}

fn artifact(subject: &Subject) -> Result<Value, String> {
    subject.client.push_blob(&subject.name, b"{}").map_err(|error| error.to_string())?;
    Ok(json!({
        "schemaVersion": 2,
        "mediaType": Image::MANIFEST,
        "artifactType": "application/vnd.example.thing",
        "config": descriptor(EMPTY, b"{}"),
        "layers": [descriptor(EMPTY, b"{}")],
    }))
}

fn an_artifact_is_accepted(subject: &Subject) -> Verdict {
    let bytes = artifact(subject)?.to_string();
    subject.put_manifest("artifact", Image::MANIFEST, bytes.as_bytes())?.is(201)?;
    subject.get_manifest("artifact")?.is(200)?.body(bytes.as_bytes())?.done()
}

fn an_image_without_layers_is_accepted(subject: &Subject) -> Verdict {
    let mut manifest = subject.image(1)?;
    manifest["layers"] = json!([]);
    subject.put_manifest("none", Image::MANIFEST, manifest.to_string().as_bytes())?.is(201)?.done()
}

fn unknown_fields_are_kept(subject: &Subject) -> Verdict {
    let mut manifest = subject.image(1)?;
    manifest["org.example"] = json!({"any": ["thing", 1.0e3]});
    manifest["config"]["platform"] = json!({"os": "plan9"});
    let bytes = format!(" {manifest}\n");
    subject.put_manifest("custom", Image::MANIFEST, bytes.as_bytes())?.is(201)?;
    subject.get_manifest("custom")?.is(200)?.body(bytes.as_bytes())?.done()
}

fn a_descriptor_with_data_is_accepted(subject: &Subject) -> Verdict {
    let mut manifest = artifact(subject)?;
    manifest["config"]["data"] = "e30=".into();
    subject.put_manifest("data", Image::MANIFEST, manifest.to_string().as_bytes())?.is(201)?.done()
}

fn foreign_layers_need_not_be_there(subject: &Subject) -> Verdict {
    let mut manifest = subject.image(1)?;
    let mut foreign = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", &subject.bytes(5, 50));
    foreign["urls"] = json!(["https://store.example.com/layer"]);
    manifest["layers"][0] = foreign;
    subject.put_manifest("foreign", Image::MANIFEST, manifest.to_string().as_bytes())?.is(201)?.done()
}

fn docker_schema_2_is_accepted(subject: &Subject) -> Verdict {
    const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    let mut manifest = subject.image(1)?;
    manifest["mediaType"] = MANIFEST.into();
    manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
    let bytes = manifest.to_string().into_bytes();
    subject.put_manifest("docker", MANIFEST, &bytes)?.is(201)?;
    subject.get_manifest("docker")?.is(200)?.has("Content-Type", MANIFEST)?;
    let mut child = descriptor(MANIFEST, &bytes);
    child["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let list = json!({"schemaVersion": 2, "mediaType": LIST, "manifests": [child]}).to_string();
    subject.put_manifest("list", LIST, list.as_bytes())?.is(201)?;
    subject.get_manifest("list")?.is(200)?.has("Content-Type", LIST)?.done()
}

fn get_yields_the_bytes(subject: &Subject) -> Verdict {
    let bytes = put_image(subject, "latest")?;
    subject.get_manifest("latest")?.is(200)?.body(&bytes)?.done()
}

fn get_states_type_length_and_digest(subject: &Subject) -> Verdict {
    let bytes = put_image(subject, "latest")?;
    let answer = subject.get_manifest("latest")?.is(200)?.has("Content-Type", Image::MANIFEST)?;
    let answer = answer.has("Content-Length", &bytes.len().to_string())?;
    answer.has("Docker-Content-Digest", &digest(&bytes))?.done()
}

fn get_by_digest_and_by_tag_agree(subject: &Subject) -> Verdict {
    let bytes = put_image(subject, "latest")?;
    subject.get_manifest(&digest(&bytes))?.is(200)?.body(&bytes)?.has("Content-Type", Image::MANIFEST)?.done()
}

fn head_is_get_without_a_body(subject: &Subject) -> Verdict {
    let bytes = put_image(subject, "latest")?;
    for reference in ["latest", &digest(&bytes)] {
        let answer = subject.call("HEAD", &subject.at(&format!("manifests/{reference}")))?.is(200)?.body(b"")?;
        let answer = answer.has("Content-Length", &bytes.len().to_string())?.has("Content-Type", Image::MANIFEST)?;
        answer.has("Docker-Content-Digest", &digest(&bytes))?;
    }
    Ok(())
}

fn absent_is_manifest_unknown(subject: &Subject) -> Verdict {
    put_image(subject, "latest")?;
    subject.get_manifest("absent")?.is(404)?.code("MANIFEST_UNKNOWN")?.done()
}

fn an_absent_digest_is_manifest_unknown(subject: &Subject) -> Verdict {
    put_image(subject, "latest")?;
    subject.get_manifest(&digest(&subject.bytes(9, 9)))?.is(404)?.code("MANIFEST_UNKNOWN")?.done()
}

fn of_an_absent_repository_is_404(subject: &Subject) -> Verdict {
    subject.get_manifest("latest")?.is(404)?.done()
}

fn an_accept_header_does_not_hide_it(subject: &Subject) -> Verdict {
    // A stored manifest has one form; a client that asks for another gets it, or an honest 404 or 406.
    put_image(subject, "latest")?;
    let all = format!("{INDEX}, {}, */*", Image::MANIFEST);
    let request = Request::new("GET", subject.at("manifests/latest")).header("Accept", all);
    subject.send(request, Body::None)?.is(200)?.has("Content-Type", Image::MANIFEST)?.done()
}

fn ours_an_etag_that_matches_is_304(subject: &Subject) -> Verdict {
    put_image(subject, "latest")?;
    let etag = subject.get_manifest("latest")?.value("etag")?;
    let request = Request::new("GET", subject.at("manifests/latest")).header("If-None-Match", etag);
    subject.send(request, Body::None)?.is(304)?.body(b"")?.done()
}

fn delete(subject: &Subject, reference: &str) -> Result<super::subject::Answer, String> {
    subject.call("DELETE", &subject.at(&format!("manifests/{reference}")))
}

fn delete_by_tag_answers_202(subject: &Subject) -> Verdict {
    put_image(subject, "latest")?;
    delete(subject, "latest")?.is(202)?.done()
}

fn a_deleted_tag_is_unknown(subject: &Subject) -> Verdict {
    put_image(subject, "latest")?;
    delete(subject, "latest")?.is(202)?;
    subject.get_manifest("latest")?.is(404)?.code("MANIFEST_UNKNOWN")?.done()
}

fn deleting_a_tag_leaves_the_manifest(subject: &Subject) -> Verdict {
    let bytes = put_image(subject, "latest")?;
    put_image(subject, "other")?;
    delete(subject, "latest")?.is(202)?;
    subject.get_manifest("other")?.is(200)?;
    subject.get_manifest(&digest(&bytes))?.is(200)?.done()
}

fn delete_by_digest_answers_202(subject: &Subject) -> Verdict {
    let bytes = put_image(subject, "latest")?;
    delete(subject, &digest(&bytes))?.is(202)?;
    subject.get_manifest(&digest(&bytes))?.is(404)?.code("MANIFEST_UNKNOWN")?.done()
}

fn deleting_a_manifest_takes_its_tags(subject: &Subject) -> Verdict {
    let bytes = put_image(subject, "latest")?;
    delete(subject, &digest(&bytes))?.is(202)?;
    subject.get_manifest("latest")?.is(404)?.done()
}

fn deleting_absent_is_404(subject: &Subject) -> Verdict {
    put_image(subject, "latest")?;
    delete(subject, "absent")?.is(404)?;
    delete(subject, &digest(&subject.bytes(9, 9)))?.is(404)?.code("MANIFEST_UNKNOWN")?.done()
}
