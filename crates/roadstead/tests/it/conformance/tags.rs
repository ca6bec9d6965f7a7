//! Listing: tags in pages, and the catalog.

use roadstead_testkit::Image;
use serde_json::Value;

use super::Verdict;
use super::subject::{Answer, Subject, ensure};

super::clauses! {
    "end-8a": tags_are_listed, tags_are_in_ascii_order, the_list_names_its_repository,
        tags_of_an_absent_repository_are_404, a_deleted_tag_is_not_listed, an_untagged_manifest_is_not_listed;
    "end-8b": n_limits_a_page, a_page_links_to_the_next, the_last_page_has_no_link, n_of_zero_is_an_empty_page,
        last_is_exclusive, last_need_not_exist, pages_cover_everything_once, a_malformed_n_is_refused;
    "catalog": ours_the_catalog_lists_repositories, ours_the_catalog_has_pages;
}

const TAGS: [&str; 6] = ["A", "Z", "_", "a", "b.1", "b.10"];

fn tagged(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    for tag in TAGS.iter().rev() {
        subject.put_manifest(tag, Image::MANIFEST, &bytes)?.is(201)?;
    }
    Ok(())
}

fn list(subject: &Subject, query: &str) -> Result<Answer, String> {
    subject.call("GET", &subject.at(&format!("tags/list{query}")))?.is(200)
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn expect_tags(answer: &Answer, expected: &[&str]) -> Verdict {
    let found = texts(&answer.json()["tags"]);
    ensure(found == expected, || format!("{expected:?} expected, {found:?} found"))
}

/// The target of `Link: <...>; rel="next"`.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.response.header("link")?;
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    parameters.replace(['"', ' '], "").contains("rel=next").then(|| target.to_owned())
}

fn tags_are_listed(subject: &Subject) -> Verdict {
    tagged(subject)?;
    let mut found = texts(&list(subject, "")?.json()["tags"]);
    found.sort();
    ensure(found == TAGS, || format!("{found:?}"))
}

fn tags_are_in_ascii_order(subject: &Subject) -> Verdict {
    tagged(subject)?;
    expect_tags(&list(subject, "")?, &TAGS)
}

fn the_list_names_its_repository(subject: &Subject) -> Verdict {
    tagged(subject)?;
    let answer = list(subject, "")?;
    ensure(answer.json()["name"] == subject.name.as_str(), || answer.json().to_string())
}

fn tags_of_an_absent_repository_are_404(subject: &Subject) -> Verdict {
    subject.call("GET", &subject.at("tags/list"))?.is(404)?.code("NAME_UNKNOWN")?.done()
}

fn a_deleted_tag_is_not_listed(subject: &Subject) -> Verdict {
    tagged(subject)?;
    subject.call("DELETE", &subject.at("manifests/a"))?.is(202)?;
    expect_tags(&list(subject, "")?, &["A", "Z", "_", "b.1", "b.10"])
}

fn an_untagged_manifest_is_not_listed(subject: &Subject) -> Verdict {
    let bytes = subject.image(1)?.to_string().into_bytes();
    subject.put_manifest(&roadstead_testkit::digest(&bytes), Image::MANIFEST, &bytes)?.is(201)?;
    expect_tags(&list(subject, "")?, &[])
}

fn n_limits_a_page(subject: &Subject) -> Verdict {
    tagged(subject)?;
    expect_tags(&list(subject, "?n=2")?, &TAGS[..2])
}

fn a_page_links_to_the_next(subject: &Subject) -> Verdict {
    tagged(subject)?;
    let first = list(subject, "?n=4")?;
    let target = next(&first).ok_or("the first page has no Link to the next")?;
    let target = target.split_once("/v2/").map(|(_, rest)| format!("/v2/{rest}")).unwrap_or(target);
    expect_tags(&subject.call("GET", &target)?.is(200)?, &TAGS[4..])
}

fn the_last_page_has_no_link(subject: &Subject) -> Verdict {
    tagged(subject)?;
    list(subject, "?n=100")?.lacks("Link")?;
    list(subject, "?n=6")?.lacks("Link")?;
    list(subject, "")?.lacks("Link")?.done()
}

fn n_of_zero_is_an_empty_page(subject: &Subject) -> Verdict {
    tagged(subject)?;
    expect_tags(&list(subject, "?n=0")?, &[])
}

fn last_is_exclusive(subject: &Subject) -> Verdict {
    tagged(subject)?;
    expect_tags(&list(subject, "?last=_")?, &TAGS[3..])?;
    expect_tags(&list(subject, "?n=1&last=_")?, &TAGS[3..4])
}

fn last_need_not_exist(subject: &Subject) -> Verdict {
    tagged(subject)?;
    expect_tags(&list(subject, "?last=b.0")?, &TAGS[4..])?;
    expect_tags(&list(subject, "?last=z")?, &[])
}

fn pages_cover_everything_once(subject: &Subject) -> Verdict {
    tagged(subject)?;
    let mut found = Vec::new();
    let mut answer = list(subject, "?n=1")?;
    loop {
        found.extend(texts(&answer.json()["tags"]));
        let Some(target) = next(&answer) else { break };
        ensure(found.len() <= TAGS.len(), || format!("pages without end: {found:?}"))?;
        let target = target.split_once("/v2/").map(|(_, rest)| format!("/v2/{rest}")).unwrap_or(target);
        answer = subject.call("GET", &target)?.is(200)?;
    }
    ensure(found == TAGS, || format!("{found:?}"))
}

fn a_malformed_n_is_refused(subject: &Subject) -> Verdict {
    tagged(subject)?;
    for n in ["-1", "many", "1.5"] {
        subject.call("GET", &subject.at(&format!("tags/list?n={n}")))?.is(400)?;
    }
    Ok(())
}

fn ours_the_catalog_lists_repositories(subject: &Subject) -> Verdict {
    tagged(subject)?;
    let mut last = String::new();
    loop {
        let answer = subject.call("GET", &format!("/v2/_catalog?n=1000&last={last}"))?.is(200)?;
        let found = texts(&answer.json()["repositories"]);
        ensure(found.is_sorted(), || format!("not in order: {found:?}"))?;
        if found.contains(&subject.name) {
            return Ok(());
        }
        last = found.last().ok_or("the repository is not in the catalog")?.clone();
    }
}

fn ours_the_catalog_has_pages(subject: &Subject) -> Verdict {
    tagged(subject)?;
    subject.blob(2, 10)?;
    let answer = subject.call("GET", "/v2/_catalog?n=1")?.is(200)?;
    ensure(texts(&answer.json()["repositories"]).len() == 1, || answer.json().to_string())
}
