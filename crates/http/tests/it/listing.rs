//! end-8, end-12 and the catalog: lists and their pages.

use serde_json::{Value, json};

use crate::api::{Api, code, image, sha256};
use crate::wire::Answer;

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Where the next page is.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let (url, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rest, "; rel=\"next\"");
    Some(url.to_owned())
}

#[tokio::test]
async fn tags_are_sorted_and_paged() {
    let api = Api::start().await;
    for tag in ["b", "C", "a", "10", "_x"] {
        api.push_image("a/b", tag).await;
    }
    let all = api.get("/v2/a/b/tags/list").await;
    assert_eq!((body(&all), next(&all)), (json!({"name": "a/b", "tags": ["10", "C", "_x", "a", "b"]}), None));

    let first = api.get("/v2/a/b/tags/list?n=2").await;
    assert_eq!(body(&first)["tags"], json!(["10", "C"]));
    assert_eq!(next(&first).unwrap(), "/v2/a/b/tags/list?n=2&last=C");
    let second = api.get(&next(&first).unwrap()).await;
    assert_eq!(body(&second)["tags"], json!(["_x", "a"]));
    let third = api.get(&next(&second).unwrap()).await;
    assert_eq!((body(&third)["tags"].clone(), next(&third)), (json!(["b"]), None));

    let none = api.get("/v2/a/b/tags/list?n=0").await;
    assert_eq!((body(&none)["tags"].clone(), next(&none)), (json!([]), None));
    let bad = api.get("/v2/a/b/tags/list?n=-1").await;
    assert_eq!((bad.status, code(&bad).as_str()), (400, "UNSUPPORTED"));
    let unknown = api.get("/v2/nobody/tags/list").await;
    assert_eq!((unknown.status, code(&unknown).as_str()), (404, "NAME_UNKNOWN"));
}

#[tokio::test]
async fn the_catalog_is_paged_too() {
    let api = Api::start().await;
    for name in ["b", "a/x", "c"] {
        api.push(name, b"x").await;
    }
    let first = api.get("/v2/_catalog?n=2").await;
    assert_eq!(body(&first), json!({"repositories": ["a/x", "b"]}));
    let second = api.get(&next(&first).unwrap()).await;
    assert_eq!((body(&second), next(&second)), (json!({"repositories": ["c"]}), None));
}

#[tokio::test]
async fn referrers_are_an_index_filtered_and_paged() {
    let api = Api::start().await;
    let (_, subject) = api.push_image("a/b", "v1").await;
    for (number, kind) in [(0, "application/vnd.a+json"), (1, "application/vnd.b"), (2, "application/vnd.a+json")] {
        let mut artifact = image();
        artifact["artifactType"] = json!(kind);
        artifact["annotations"] = json!({"number": number.to_string()});
        artifact["subject"] = json!({"mediaType": "x/y", "digest": subject, "size": 1});
        let bytes = artifact.to_string().into_bytes();
        assert_eq!(api.put_manifest("a/b", &sha256(&bytes).to_string(), &bytes).await.status, 201);
    }
    let path = format!("/v2/a/b/referrers/{subject}");
    let all = api.get(&path).await;
    assert_eq!(all.header("content-type"), Some("application/vnd.oci.image.index.v1+json"));
    assert_eq!(all.header("oci-filters-applied"), None);
    let index = body(&all);
    assert_eq!(
        (&index["schemaVersion"], &index["mediaType"]),
        (&json!(2), &json!("application/vnd.oci.image.index.v1+json"))
    );
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
    assert!(index["manifests"][0]["annotations"]["number"].is_string());

    let first = api.get(&format!("{path}?artifactType=application%2Fvnd.a%2Bjson&n=1")).await;
    assert_eq!(first.header("oci-filters-applied"), Some("artifactType"));
    let link = next(&first).unwrap();
    assert!(link.starts_with(&format!("{path}?artifactType=application%2Fvnd.a%2Bjson&n=1&last=sha256%3A")), "{link}");
    let second = api.get(&link).await;
    let kinds = |answer: &Answer| {
        body(answer)["manifests"].as_array().unwrap().iter().map(|m| m["artifactType"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (kinds(&first), kinds(&second)),
        (vec![json!("application/vnd.a+json")], vec![json!("application/vnd.a+json")])
    );
    assert_ne!(body(&first)["manifests"][0]["digest"], body(&second)["manifests"][0]["digest"]);
    assert_eq!(next(&second), None);
}

#[tokio::test]
async fn nobody_refers_to_what_is_not_there() {
    let api = Api::start().await;
    let answer = api.get(&format!("/v2/nobody/referrers/{}", sha256(b"x"))).await;
    assert_eq!((answer.status, body(&answer)["manifests"].clone()), (200, json!([])));
}
