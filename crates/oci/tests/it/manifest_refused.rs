//! Manifests that are refused, and what the refusal says.

use proptest::prelude::*;
use roadstead_oci::{Descriptor, MAX_DESCRIPTORS, Manifest, ManifestError, media_type as mt};
use serde_json::{Value, json};

use crate::manifest::{blob, image, index, with};

fn refused(content_type: Option<&str>, text: &str) -> ManifestError {
    Manifest::parse(content_type, text.as_bytes()).expect_err(text)
}

/// The refusal of an OCI image with some fields replaced.
fn image_with(fields: Value) -> ManifestError {
    refused(None, &with(image(), fields).to_string())
}

fn image_without(field: &str) -> ManifestError {
    let mut document = image();
    document.as_object_mut().unwrap().remove(field);
    refused(Some(mt::OCI_MANIFEST), &document.to_string())
}

#[test]
fn a_missing_field_is_named() {
    for field in ["schemaVersion", "config", "layers"] {
        assert_eq!(image_without(field).field(), field);
    }
    let empty_index = json!({"schemaVersion": 2, "mediaType": mt::OCI_INDEX}).to_string();
    assert_eq!(refused(None, &empty_index).to_string(), "manifests: is missing");
    let artifact = json!({"mediaType": mt::OCI_ARTIFACT}).to_string();
    assert_eq!(refused(None, &artifact).to_string(), "artifactType: is missing");
    assert_eq!(image_with(json!({"config": null})).to_string(), "config: is missing");
}

#[test]
fn a_wrong_field_of_a_descriptor_is_named_by_its_path() {
    let layer = |fields: Value| {
        let layers =
            json!([blob(mt::OCI_LAYER, "a"), blob(mt::OCI_LAYER, "b"), with(blob(mt::OCI_LAYER, "c"), fields)]);
        image_with(json!({ "layers": layers }))
    };
    assert_eq!(layer(json!({"digest": null})).to_string(), "layers[2].digest: is missing");
    assert_eq!(layer(json!({"digest": 7})).to_string(), "layers[2].digest: is \"7\", not a string");
    assert_eq!(layer(json!({"digest": "sha256:x"})).field(), "layers[2].digest");
    assert_eq!(layer(json!({"digest": "sha384:00"})).field(), "layers[2].digest");
    assert_eq!(layer(json!({"mediaType": ""})).to_string(), "layers[2].mediaType: is missing");
    assert_eq!(layer(json!({"mediaType": "tar"})).field(), "layers[2].mediaType");
    for parameters in ["\n", ";\n", ";\u{e9}", &format!(";{}", "x".repeat(252))] {
        let media_type = format!("a/b{parameters}");
        assert_eq!(layer(json!({ "mediaType": media_type })).field(), "layers[2].mediaType", "{media_type:?}");
    }
    assert_eq!(layer(json!({"size": null})).to_string(), "layers[2].size: is missing");
    assert_eq!(layer(json!({"urls": "x"})).to_string(), "layers[2].urls: is \"\\\"x\\\"\", not a list of strings");
    assert_eq!(layer(json!({"urls": [1]})).field(), "layers[2].urls");
    assert_eq!(layer(json!({"annotations": {"a": 1}})).field(), "layers[2].annotations");
    assert_eq!(layer(json!({"platform": "x"})).field(), "layers[2].platform");
    assert_eq!(layer(json!({"platform": {"os": 1}})).field(), "layers[2].platform.os");
    assert_eq!(layer(json!({"artifactType": "x"})).field(), "layers[2].artifactType");
    assert_eq!(layer(json!({"data": 1})).field(), "layers[2].data");
}

#[test]
fn a_size_is_a_whole_number_that_others_can_hold() {
    for size in ["-1", "1.0", "1e3", "\"1\"", "9223372036854775808", "99999999999999999999999", "true", "[]"] {
        let text = image().to_string().replacen("\"size\":6", &format!("\"size\":{size}"), 1);
        let error = refused(None, &text);
        assert_eq!(error.field(), "config.size", "{size}");
        assert!(error.problem().ends_with("not a whole number from 0 to 9223372036854775807"), "{error}");
    }
}

#[test]
fn what_is_no_list_or_no_object_is_named() {
    assert_eq!(image_with(json!({"layers": {}})).to_string(), "layers: is \"{}\", not a list");
    assert_eq!(image_with(json!({"layers": [1]})).field(), "layers[0]");
    assert_eq!(image_with(json!({"layers": [null]})).field(), "layers[0]");
    assert_eq!(image_with(json!({"config": []})).field(), "config");
    assert_eq!(image_with(json!({"subject": "x"})).field(), "subject");
    assert_eq!(image_with(json!({"subject": {}})).to_string(), "subject.digest: is missing");
    assert_eq!(image_with(json!({"annotations": []})).field(), "annotations");
    assert_eq!(image_with(json!({"artifactType": 1})).field(), "artifactType");
    assert_eq!(image_with(json!({"artifactType": "no type"})).field(), "artifactType");
}

#[test]
fn what_is_no_json_object_is_refused_as_a_whole() {
    for text in
        ["", " ", "null", "[]", "1", "\"a\"", "{", "{}}", "{} x", "{\"a\":}", "{\"a\":01}", "\u{feff}{}", "{'a':1}"]
    {
        assert_eq!(refused(Some("a/b"), text).field(), "", "{text:?}");
    }
    let bytes = [b"{\"x\":\"", &[0xff][..], b"\"}"].concat();
    assert!(Manifest::parse(Some("a/b"), &bytes).unwrap_err().to_string().starts_with("the document is not UTF-8"));
    assert!(refused(None, "{").to_string().starts_with("the document is not a JSON object: EOF"));
    assert_eq!(refused(None, " [] ").to_string(), "the document is not a JSON object: it is \"[]\"");
    let long = refused(None, &format!("\"{}\"", "a".repeat(5_000))).to_string();
    assert!(long.len() < 200 && long.contains("(5002 bytes)"), "{long}");
}

#[test]
fn schema_1_is_refused_and_the_text_says_so() {
    let document = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [{"blobSum": "x"}]}).to_string();
    let types = [Some(mt::DOCKER_SCHEMA1), Some(mt::DOCKER_SCHEMA1_SIGNED), Some(mt::DOCKER_MANIFEST), None];
    for content_type in types {
        assert!(refused(content_type, &document).to_string().contains("schema 1"), "{content_type:?}");
    }
    assert_eq!(image_with(json!({"schemaVersion": 3})).to_string(), "schemaVersion: is 3, not 2");
    assert_eq!(image_with(json!({"schemaVersion": "2"})).field(), "schemaVersion");
}

#[test]
fn header_and_body_must_agree() {
    let error = refused(Some(mt::DOCKER_MANIFEST), &image().to_string());
    assert_eq!(
        error.to_string(),
        format!("mediaType: is {}, but the Content-Type header says \"{}\"", mt::OCI_MANIFEST, mt::DOCKER_MANIFEST)
    );
    assert_eq!(refused(Some("application/json"), &image().to_string()).field(), "mediaType");
}

#[test]
fn a_type_is_a_media_type_because_it_is_served_as_one() {
    for header in ["x", "a/b/c", "a b/c", "a/", "/b", "a/b\u{e9}", "a/b,c/d", &format!("a/{}", "b".repeat(128))] {
        assert_eq!(refused(Some(header), "{}").field(), "Content-Type", "{header:?}");
    }
    for media_type in ["x", "a/b; charset=utf-8", "a/b\r\nX: y", "a/b\u{e9}"] {
        assert_eq!(image_with(json!({"mediaType": media_type})).field(), "mediaType", "{media_type:?}");
    }
}

#[test]
fn a_document_without_type_and_shape_is_refused() {
    assert_eq!(refused(None, "{}").field(), "mediaType");
    assert_eq!(refused(None, r#"{"schemaVersion":2,"layers":[]}"#).field(), "mediaType");
}

#[test]
fn two_types_in_one_document_are_refused() {
    for name in ["manifests", "blobs", "fsLayers"] {
        assert_eq!(image_with(json!({name: []})).field(), name);
    }
    for name in ["config", "layers", "blobs", "fsLayers"] {
        assert_eq!(refused(None, &with(index(), json!({name: []})).to_string()).field(), name);
    }
    let both = json!({"schemaVersion": 2, "config": {}, "layers": [], "manifests": []}).to_string();
    assert_eq!(refused(None, &both).field(), "mediaType");
    for name in ["config", "layers", "manifests", "fsLayers"] {
        let artifact = json!({"mediaType": mt::OCI_ARTIFACT, "artifactType": "a/b", name: []}).to_string();
        assert_eq!(refused(None, &artifact).field(), name);
    }
    let other = json!({"manifests": [blob("a/b", "m")], "layers": [blob("a/b", "l")]}).to_string();
    assert_eq!(refused(Some("x/y"), &other).field(), "manifests");
}

#[test]
fn what_looks_like_a_descriptor_must_be_one_in_other_types_too() {
    for document in [
        json!({"layers": [{"digest": "x"}]}),
        json!({"subject": {"digest": "sha256:00"}}),
        json!({"config": with(blob("a/b", "c"), json!({"size": -1}))}),
        json!({"blobs": [blob("a/b", "b"), {"digest": {}}]}),
    ] {
        assert!(Manifest::parse(Some("x/y"), document.to_string().as_bytes()).is_err(), "{document}");
    }
}

#[test]
fn a_field_that_matters_occurs_once() {
    let twice = |text: &str, name: &str, value: &str| text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    for name in ["schemaVersion", "mediaType", "config", "layers", "subject", "annotations", "artifactType"] {
        let text = twice(&twice(&image().to_string(), name, "null"), name, "null");
        assert_eq!(refused(Some(mt::OCI_MANIFEST), &text).to_string(), format!("{name}: occurs twice"));
        assert_eq!(refused(Some("x/y"), &text).field(), name, "in any type");
    }
    let escaped = twice(&image().to_string(), "l\\u0061yers", "[]");
    assert_eq!(refused(None, &escaped).field(), "layers", "under any spelling");
    let descriptor = blob("a/b", "c").to_string();
    for name in ["digest", "size", "mediaType", "urls"] {
        let config = twice(&twice(&descriptor, name, "null"), name, "null");
        let text = image().to_string().replacen("\"config\":", &format!("\"config\":{config},\"x\":"), 1);
        assert_eq!(refused(None, &text).to_string(), format!("config.{name}: occurs twice"));
    }
    let text = twice(&image().to_string(), "annotations", r#"{"a":"1","a":"2"}"#);
    assert_eq!(refused(None, &text).field(), "annotations");
    let text = twice(&image().to_string(), "x", r#"{"a":"1","a":"2"}"#);
    assert!(Manifest::parse(None, text.as_bytes()).is_ok(), "what does not matter may occur twice");
}

#[test]
fn a_field_is_not_spelt_almost_like_one_that_matters() {
    for (name, twin) in [("Layers", "layers"), ("LAYERS", "layers"), ("layer\u{17f}", "layers"), ("subJect", "subject")]
    {
        let error = image_with(json!({name: []}));
        assert_eq!((error.field(), error.problem()), (name, &*format!("differs from {twin} only in case")));
    }
    assert_eq!(image_with(json!({"config": with(blob("a/b", "c"), json!({"Digest": 1}))})).field(), "config.Digest");
}

#[test]
fn more_than_the_most_descriptors_are_refused() {
    let entries = |count: usize| vec![blob("a/b", "same"); count];
    let error = image_with(json!({"layers": entries(MAX_DESCRIPTORS + 1)}));
    assert_eq!(error.to_string(), "layers: has more than 10000 elements");
    let split = json!({"layers": entries(MAX_DESCRIPTORS), "blobs": entries(1)}).to_string();
    assert_eq!(refused(Some("x/y"), &split).field(), "blobs");
}

#[test]
fn depth_is_refused_before_it_is_followed() {
    for open in ["[", "{\"a\":"] {
        let error = refused(Some("x/y"), &format!("{{\"x\":{}", open.repeat(1_000_000)));
        assert_eq!(error.to_string(), "the document nests more than 64 levels deep");
    }
}

#[test]
fn an_error_does_not_echo_a_flood() {
    let flood = "x".repeat(1 << 20);
    for error in [
        image_with(json!({"mediaType": flood})),
        image_with(json!({"subject": {"digest": flood}})),
        image_with(json!({"annotations": {&flood: 1}})),
        refused(Some(&flood), "{}"),
    ] {
        assert!(error.to_string().len() < 600, "{error}");
    }
}

#[test]
fn a_descriptor_alone_is_judged_by_the_same_rules() {
    let error = serde_json::from_value::<Descriptor>(with(blob("a/b", "x"), json!({"size": -1}))).unwrap_err();
    assert_eq!(error.to_string(), "size: is -1, not a whole number from 0 to 9223372036854775807");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Manifest::parse(None, &bytes).is_err());
        let _ = Manifest::parse(Some(mt::OCI_MANIFEST), &bytes);
        let _ = Manifest::parse(Some("x/y"), &bytes);
    }

    /// One byte of a good manifest replaced: refused, or still within the bounds of the accepted.
    #[test]
    fn a_broken_byte_is_refused_or_harmless(at in 0..700usize, byte in any::<u8>()) {
        let mut bytes = image().to_string().into_bytes();
        prop_assume!(at < bytes.len());
        bytes[at] = byte;
        if let Ok(manifest) = Manifest::parse(None, &bytes) {
            prop_assert!(mt::is_media_type(&manifest.media_type));
            prop_assert!(manifest.blobs().all(|blob| blob.size <= i64::MAX as u64));
        }
    }
}
