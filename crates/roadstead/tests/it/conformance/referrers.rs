//! Referrers: manifests that name a subject, found by it.

use roadstead_testkit::{Image, digest};
use serde_json::{Value, json};

use super::Verdict;
use super::subject::{Answer, EMPTY, INDEX, Subject, descriptor, digest_in, ensure};

super::clauses! {
    "end-12a": no_referrers_is_an_empty_index, referrers_are_listed, a_referrer_is_described,
        the_artifact_type_may_be_the_configs, an_index_can_refer, a_subject_may_come_later, a_subject_may_never_come,
        a_malformed_digest_is_refused, a_deleted_referrer_is_not_listed, referrers_outlive_their_subject,
        a_referrer_is_listed_once;
    "end-12b": the_artifact_type_filters, a_filter_is_announced, a_filter_that_matches_nothing_is_empty;
    "end-7 subject": put_answers_with_oci_subject, put_without_a_subject_does_not;
}

const SIGNATURE: &str = "application/vnd.example.signature";
const SBOM: &str = "application/vnd.example.sbom";

fn referrer(subject: &Subject, to: &Value, artifact_type: &str, number: u64) -> Result<(Value, Answer), String> {
    subject.client.push_blob(&subject.name, b"{}").map_err(|error| error.to_string())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": Image::MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor(EMPTY, b"{}"),
        "layers": [descriptor(EMPTY, b"{}")],
        "subject": to,
        "annotations": {"org.example.number": number.to_string()},
    });
    let bytes = manifest.to_string().into_bytes();
    let answer = subject.put_manifest(&digest(&bytes), Image::MANIFEST, &bytes)?.is(201)?;
    Ok((descriptor(Image::MANIFEST, &bytes), answer))
}

fn list(subject: &Subject, of: &str, query: &str) -> Result<Answer, String> {
    subject.call("GET", &subject.at(&format!("referrers/{of}{query}")))?.is(200)?.has("Content-Type", INDEX)
}

fn found(answer: &Answer) -> Vec<String> {
    let index = answer.json();
    let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
    let mut digests: Vec<String> = manifests.iter().filter_map(|m| m["digest"].as_str()).map(str::to_owned).collect();
    digests.sort();
    digests
}

fn expect(answer: &Answer, expected: &[&Value]) -> Verdict {
    let mut wanted: Vec<String> = expected.iter().map(|descriptor| digest_in(descriptor).to_owned()).collect();
    wanted.sort();
    let digests = found(answer);
    ensure(digests == wanted, || format!("{wanted:?} expected, {digests:?} found"))
}

fn no_referrers_is_an_empty_index(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    for of in [digest_in(&image), &digest(b"nothing that was ever pushed")] {
        let answer = list(subject, of, "")?;
        let index = answer.json();
        ensure(index["schemaVersion"] == 2 && index["manifests"] == json!([]), || index.to_string())?;
    }
    Ok(())
}

fn referrers_are_listed(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    let (first, _) = referrer(subject, &image, SIGNATURE, 1)?;
    let (second, _) = referrer(subject, &image, SBOM, 2)?;
    expect(&list(subject, digest_in(&image), "")?, &[&first, &second])
}

fn a_referrer_is_described(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    let (mut expected, _) = referrer(subject, &image, SIGNATURE, 7)?;
    expected["artifactType"] = SIGNATURE.into();
    expected["annotations"] = json!({"org.example.number": "7"});
    let index = list(subject, digest_in(&image), "")?.json();
    ensure(index["mediaType"] == INDEX, || index.to_string())?;
    ensure(index["manifests"] == json!([expected]), || index.to_string())
}

fn the_artifact_type_may_be_the_configs(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    let mut manifest = subject.image(2)?;
    manifest["subject"] = image.clone();
    let bytes = manifest.to_string().into_bytes();
    subject.put_manifest(&digest(&bytes), Image::MANIFEST, &bytes)?.is(201)?;
    let index = list(subject, digest_in(&image), "")?.json();
    ensure(index["manifests"][0]["artifactType"] == manifest["config"]["mediaType"], || index.to_string())
}

fn an_index_can_refer(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "artifactType": SBOM, "manifests": [], "subject": image});
    let bytes = index.to_string().into_bytes();
    let answer = subject.put_manifest(&digest(&bytes), INDEX, &bytes)?.is(201)?;
    answer.has("OCI-Subject", digest_in(&image))?;
    let listed = list(subject, digest_in(&image), "")?.json();
    ensure(listed["manifests"][0]["mediaType"] == INDEX, || listed.to_string())?;
    ensure(listed["manifests"][0]["artifactType"] == SBOM, || listed.to_string())
}

fn a_subject_may_come_later(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    let image = descriptor(Image::MANIFEST, &bytes);
    let (early, _) = referrer(subject, &image, SIGNATURE, 1)?;
    subject.put_manifest("latest", Image::MANIFEST, &bytes)?.is(201)?;
    expect(&list(subject, digest_in(&image), "")?, &[&early])
}

fn a_subject_may_never_come(subject: &Subject) -> Verdict {
    let absent = descriptor(Image::MANIFEST, &subject.bytes(3, 300));
    let (referrer, answer) = referrer(subject, &absent, SIGNATURE, 1)?;
    answer.has("OCI-Subject", digest_in(&absent))?;
    expect(&list(subject, digest_in(&absent), "")?, &[&referrer])
}

fn a_malformed_digest_is_refused(subject: &Subject) -> Verdict {
    subject.tagged(1, "latest")?;
    for wrong in ["latest", "sha256:abc"] {
        subject.call("GET", &subject.at(&format!("referrers/{wrong}")))?.among(&[400, 404])?;
    }
    Ok(())
}

fn a_deleted_referrer_is_not_listed(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    let (gone, _) = referrer(subject, &image, SIGNATURE, 1)?;
    let (stays, _) = referrer(subject, &image, SIGNATURE, 2)?;
    subject.call("DELETE", &subject.at(&format!("manifests/{}", digest_in(&gone))))?.is(202)?;
    expect(&list(subject, digest_in(&image), "")?, &[&stays])
}

fn referrers_outlive_their_subject(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    let (referrer, _) = referrer(subject, &image, SIGNATURE, 1)?;
    subject.call("DELETE", &subject.at(&format!("manifests/{}", digest_in(&image))))?.is(202)?;
    expect(&list(subject, digest_in(&image), "")?, &[&referrer])
}

fn a_referrer_is_listed_once(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    let (once, _) = referrer(subject, &image, SIGNATURE, 1)?;
    referrer(subject, &image, SIGNATURE, 1)?;
    expect(&list(subject, digest_in(&image), "")?, &[&once])
}

fn filtered(subject: &Subject) -> Result<(Value, Value), String> {
    let image = subject.tagged(1, "latest")?;
    let (signature, _) = referrer(subject, &image, SIGNATURE, 1)?;
    referrer(subject, &image, SBOM, 2)?;
    Ok((image, signature))
}

fn the_artifact_type_filters(subject: &Subject) -> Verdict {
    let (image, signature) = filtered(subject)?;
    expect(&list(subject, digest_in(&image), &format!("?artifactType={SIGNATURE}"))?, &[&signature])?;
    let escaped = SIGNATURE.replace('/', "%2F");
    expect(&list(subject, digest_in(&image), &format!("?artifactType={escaped}"))?, &[&signature])
}

fn a_filter_is_announced(subject: &Subject) -> Verdict {
    let (image, _) = filtered(subject)?;
    list(subject, digest_in(&image), &format!("?artifactType={SIGNATURE}"))?
        .has("OCI-Filters-Applied", "artifactType")?;
    list(subject, digest_in(&image), "")?.lacks("OCI-Filters-Applied")?.done()
}

fn a_filter_that_matches_nothing_is_empty(subject: &Subject) -> Verdict {
    let (image, _) = filtered(subject)?;
    expect(&list(subject, digest_in(&image), "?artifactType=application%2Fother")?, &[])
}

fn put_answers_with_oci_subject(subject: &Subject) -> Verdict {
    let image = subject.tagged(1, "latest")?;
    let (_, answer) = referrer(subject, &image, SIGNATURE, 1)?;
    answer.has("OCI-Subject", digest_in(&image))?.done()
}

fn put_without_a_subject_does_not(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    subject.put_manifest("latest", Image::MANIFEST, &bytes)?.is(201)?.lacks("OCI-Subject")?.done()
}
