//! Pushing by digest with tags in the query, of the specification's coming version.

use roadstead_testkit::{Image, digest};

use super::Verdict;
use super::subject::{Answer, Subject, ensure};

super::clauses! {
    "end-7b": tags_in_the_query_are_set, they_are_announced, none_is_set_for_a_wrong_digest, a_malformed_one_is_refused;
}

fn put(subject: &Subject, query: &str) -> Result<(Vec<u8>, Answer), String> {
    let bytes = subject.image(1)?.to_string().into_bytes();
    let answer = subject.put_manifest(&format!("{}{query}", digest(&bytes)), Image::MANIFEST, &bytes)?;
    Ok((bytes, answer))
}

fn tags_in_the_query_are_set(subject: &Subject) -> Verdict {
    let (bytes, answer) = put(subject, "?tag=one&tag=two")?;
    answer.is(201)?;
    for tag in ["one", "two"] {
        subject.get_manifest(tag)?.is(200)?.body(&bytes)?;
    }
    Ok(())
}

fn they_are_announced(subject: &Subject) -> Verdict {
    let (_, answer) = put(subject, "?tag=one&tag=two")?;
    let answer = answer.is(201)?;
    let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("oci-tag");
    let values: Vec<&str> = answer.response.headers.iter().filter(named).map(|(_, value)| value.as_str()).collect();
    let tags: Vec<&str> = values.iter().flat_map(|value| value.split(", ")).collect();
    ensure(tags == ["one", "two"], || format!("OCI-Tag is {values:?}"))
}

fn none_is_set_for_a_wrong_digest(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    let wrong = format!("{}?tag=one", digest(b"something else"));
    subject.put_manifest(&wrong, Image::MANIFEST, &bytes)?.is(400)?;
    subject.get_manifest("one")?.is(404)?.done()
}

fn a_malformed_one_is_refused(subject: &Subject) -> Verdict {
    let (bytes, answer) = put(subject, "?tag=.dot")?;
    answer.is(400)?;
    subject.get_manifest(&digest(&bytes))?.is(404)?.done()
}
