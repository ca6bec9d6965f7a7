//! The base endpoint, names that are none, and errors in general.

use roadstead_testkit::{Body, Request};

use super::Verdict;
use super::subject::{Subject, ensure};

super::clauses! {
    "end-1": base_answers_200, base_answers_head, base_names_the_api_version;
    "errors": errors_are_json, head_errors_have_no_body, unknown_methods_are_refused, unknown_paths_are_404;
    "names": names_with_capitals_are_invalid, names_with_bad_separators_are_invalid, names_of_many_parts_are_valid,
        names_longer_than_255_are_invalid, ours_paths_that_climb_reach_nothing;
}

fn base_answers_200(subject: &Subject) -> Verdict {
    subject.call("GET", "/v2/")?.is(200)?.done()
}

fn base_answers_head(subject: &Subject) -> Verdict {
    subject.call("HEAD", "/v2/")?.is(200)?.done()
}

fn base_names_the_api_version(subject: &Subject) -> Verdict {
    subject.call("GET", "/v2/")?.has("Docker-Distribution-Api-Version", "registry/2.0")?.done()
}

fn errors_are_json(subject: &Subject) -> Verdict {
    subject.tagged(1, "latest")?;
    let answer = subject.get_manifest("absent")?.is(404)?.code("MANIFEST_UNKNOWN")?;
    let media_type = answer.value("content-type")?;
    ensure(media_type.starts_with("application/json"), || format!("an error of type {media_type}"))
}

fn head_errors_have_no_body(subject: &Subject) -> Verdict {
    // A body would be read as the head of the second answer.
    subject.call("HEAD", &subject.at("manifests/absent"))?.is(404)?;
    subject.call("GET", "/v2/")?.is(200)?.done()
}

fn unknown_methods_are_refused(subject: &Subject) -> Verdict {
    subject.call("POST", &subject.at("manifests/latest"))?.among(&[404, 405])?;
    subject.call("PUT", &subject.at("tags/list"))?.among(&[404, 405])?.done()
}

fn unknown_paths_are_404(subject: &Subject) -> Verdict {
    subject.call("GET", &subject.at("nothing/here"))?.is(404)?;
    subject.call("GET", "/v3/")?.is(404)?.done()
}

fn invalid(subject: &Subject, name: &str) -> Verdict {
    let answer = subject.call("GET", &format!("/v2/{name}/tags/list"))?;
    answer.among(&[400, 404])?.done()?;
    let request = Request::new("POST", format!("/v2/{name}/blobs/uploads/"));
    subject.send(request, Body::None)?.among(&[400, 404])?.done()
}

fn names_with_capitals_are_invalid(subject: &Subject) -> Verdict {
    invalid(subject, "Capital")?;
    invalid(subject, "fine/Not")
}

fn names_with_bad_separators_are_invalid(subject: &Subject) -> Verdict {
    ["-a", "a-", "a..b", ".a", "a/_b", "a_/b", "a___b", "a%20b"].into_iter().try_for_each(|name| invalid(subject, name))
}

fn names_of_many_parts_are_valid(subject: &Subject) -> Verdict {
    for name in ["a.b/c-d/e_f", "a--b", "a__b", "a/b/c/d/e/f/g", "0"] {
        // Where nobody has to log in a namespace need not be there.
        let name = if subject.guarded { format!("{}/{name}", subject.name) } else { name.to_owned() };
        subject.call("POST", &format!("/v2/{name}/blobs/uploads/"))?.is(202)?;
    }
    Ok(())
}

fn names_longer_than_255_are_invalid(subject: &Subject) -> Verdict {
    invalid(subject, &format!("a/{}", "b".repeat(300)))
}

fn ours_paths_that_climb_reach_nothing(subject: &Subject) -> Verdict {
    for target in [
        "/v2/../../etc/passwd",
        "/v2/a/../../b/manifests/latest",
        "/v2/%2e%2e/%2e%2e/etc/passwd/manifests/latest",
        "/v2/a/blobs/..%2f..%2f..%2fetc%2fpasswd",
        "/v2/a/manifests/%00",
        "/v2//manifests/latest",
        "//v2/",
    ] {
        subject.call("GET", target)?.among(&[400, 404])?;
    }
    Ok(())
}
