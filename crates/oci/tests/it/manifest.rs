//! Manifests that are accepted, and what is read from them.

use proptest::prelude::*;
use roadstead_oci::{Algorithm, Descriptor, Digest, Kind, MAX_DESCRIPTORS, Manifest, media_type as mt};
use serde_json::{Value, json};

/// A descriptor's JSON; the digest is that of `seed`.
pub(crate) fn blob(media_type: &str, seed: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(seed), "size": seed.len()})
}

pub(crate) fn digest(seed: &str) -> Digest {
    Digest::of(Algorithm::Sha256, seed.as_bytes())
}

/// An OCI image with two layers.
pub(crate) fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": mt::OCI_MANIFEST,
        "config": blob(mt::OCI_CONFIG, "config"),
        "layers": [blob(mt::OCI_LAYER_GZIP, "one"), blob(mt::OCI_LAYER_GZIP, "two")],
    })
}

/// An OCI index with two images.
pub(crate) fn index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": mt::OCI_INDEX,
        "manifests": [blob(mt::OCI_MANIFEST, "amd64"), blob(mt::OCI_MANIFEST, "arm64")],
    })
}

/// The document with some fields replaced.
pub(crate) fn with(mut document: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

fn parse(content_type: Option<&str>, document: &Value) -> Manifest {
    Manifest::parse(content_type, document.to_string().as_bytes()).unwrap()
}

fn digests<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Vec<Digest> {
    descriptors.map(|descriptor| descriptor.digest).collect()
}

#[test]
fn an_image_gives_config_and_layers() {
    let manifest = parse(Some(mt::OCI_MANIFEST), &image());
    assert_eq!(manifest.media_type, mt::OCI_MANIFEST);
    assert_eq!(digests(manifest.blobs()), ["config", "one", "two"].map(digest));
    assert_eq!(manifest.children().count(), 0);
    assert_eq!((manifest.subject.as_ref(), manifest.artifact_type.as_deref()), (None, None));
    assert_eq!(manifest.referrer_artifact_type(), Some(mt::OCI_CONFIG));
    let Kind::Image { config, layers } = manifest.kind else { panic!() };
    assert_eq!(config, Descriptor::new(mt::OCI_CONFIG, digest("config"), 6));
    assert_eq!(layers[1], Descriptor::new(mt::OCI_LAYER_GZIP, digest("two"), 3));
}

#[test]
fn a_docker_image_is_an_image() {
    let document = json!({
        "schemaVersion": 2,
        "mediaType": mt::DOCKER_MANIFEST,
        "config": blob(mt::DOCKER_CONFIG, "config"),
        "layers": [blob(mt::DOCKER_LAYER, "one")],
    });
    let manifest = parse(Some(mt::DOCKER_MANIFEST), &document);
    assert_eq!(manifest.media_type, mt::DOCKER_MANIFEST);
    assert_eq!(digests(manifest.blobs()), ["config", "one"].map(digest));
}

#[test]
fn an_index_and_a_docker_list_give_children() {
    for media_type in [mt::OCI_INDEX, mt::DOCKER_LIST] {
        let manifest = parse(Some(media_type), &with(index(), json!({"mediaType": media_type})));
        assert_eq!(manifest.media_type, media_type);
        assert_eq!(digests(manifest.children()), ["amd64", "arm64"].map(digest));
        assert_eq!(manifest.blobs().count(), 0);
        assert_eq!(manifest.referrer_artifact_type(), None);
    }
}

/// BuildKit pushes a cache as an index of blobs, and every registry that takes it for manifests breaks the cache.
#[test]
fn an_index_may_list_blobs() {
    let entries = json!([
        blob(mt::OCI_LAYER_ZSTD, "layer"),
        blob(mt::OCI_MANIFEST, "image"),
        blob(mt::BUILDKIT_CACHE_CONFIG, "cache"),
        blob("application/vnd.example.manifest+json", "other"),
        with(blob(mt::OCI_NONDISTRIBUTABLE, "far"), json!({"urls": ["https://example.com/far"]})),
        blob(mt::DOCKER_LAYER, "docker"),
    ]);
    let manifest = parse(None, &with(index(), json!({"manifests": entries})));
    assert_eq!(digests(manifest.children()), ["image", "other"].map(digest));
    assert_eq!(digests(manifest.blobs()), ["layer", "cache", "docker"].map(digest));
}

#[test]
fn the_old_artifact_manifest_gives_blobs() {
    let document = json!({
        "mediaType": mt::OCI_ARTIFACT,
        "artifactType": "application/vnd.example.sbom",
        "blobs": [blob("text/plain", "one")],
        "subject": blob(mt::OCI_MANIFEST, "subject"),
    });
    let manifest = parse(Some(mt::OCI_ARTIFACT), &document);
    assert_eq!(digests(manifest.blobs()), [digest("one")]);
    assert_eq!(manifest.subject.as_ref().unwrap().digest, digest("subject"));
    assert_eq!(manifest.referrer_artifact_type(), Some("application/vnd.example.sbom"));
}

#[test]
fn a_referrer_gives_subject_artifact_type_and_annotations() {
    let document = with(
        image(),
        json!({
            "artifactType": "application/vnd.example.signature",
            "config": blob(mt::OCI_EMPTY, "{}"),
            "subject": blob(mt::OCI_MANIFEST, "subject"),
            "annotations": {"b": "2", "a": "1"},
        }),
    );
    let manifest = parse(Some(mt::OCI_MANIFEST), &document);
    assert_eq!(manifest.subject, Some(Descriptor::new(mt::OCI_MANIFEST, digest("subject"), 7)));
    assert_eq!(manifest.referrer_artifact_type(), Some("application/vnd.example.signature"));
    assert_eq!(
        manifest.annotations.into_iter().collect::<Vec<_>>(),
        [("a", "1"), ("b", "2")].map(|(k, v)| (k.into(), v.into()))
    );
    let index = parse(None, &with(index(), json!({"artifactType": "a/b", "subject": blob(mt::OCI_MANIFEST, "s")})));
    assert_eq!(index.referrer_artifact_type(), Some("a/b"));
    assert_eq!(index.subject.unwrap().digest, digest("s"));
}

#[test]
fn the_type_comes_from_header_body_or_shape() {
    let untyped = |mut document: Value| {
        document.as_object_mut().unwrap().remove("mediaType");
        document
    };
    let both = parse(Some(&format!(" {} ; charset=utf-8", mt::OCI_MANIFEST)), &image());
    assert_eq!(both.media_type, mt::OCI_MANIFEST);
    assert_eq!(parse(None, &image()).media_type, mt::OCI_MANIFEST);
    assert_eq!(parse(Some(""), &image()).media_type, mt::OCI_MANIFEST);
    assert_eq!(parse(Some(mt::OCI_MANIFEST), &untyped(image())).media_type, mt::OCI_MANIFEST);
    assert_eq!(parse(None, &untyped(image())).media_type, mt::OCI_MANIFEST);
    assert_eq!(parse(None, &untyped(index())).media_type, mt::OCI_INDEX);
    assert_eq!(parse(None, &with(image(), json!({"mediaType": ""}))).media_type, mt::OCI_MANIFEST);
}

#[test]
fn go_writes_null_for_nothing() {
    let nothing = json!({"layers": null, "annotations": null, "subject": null, "artifactType": "", "manifests": null});
    let manifest = parse(None, &with(image(), nothing));
    assert_eq!(digests(manifest.blobs()), [digest("config")]);
    assert_eq!(parse(None, &with(index(), json!({"manifests": null}))).children().count(), 0);
    assert_eq!(parse(None, &with(image(), json!({"layers": []}))).blobs().count(), 1);
}

#[test]
fn unknown_fields_are_allowed_everywhere() {
    let mut document = with(image(), json!({"x": {"mediaType": 1, "layers": [[]]}, "\u{e9}": null, "": 0}));
    document["layers"][0]["x"] = json!([1, {"digest": 2}]);
    assert_eq!(parse(None, &document).blobs().count(), 3);
}

#[test]
fn a_layer_may_repeat() {
    let layer = blob(mt::OCI_LAYER, "same");
    let manifest = parse(None, &with(image(), json!({"layers": [layer, layer, layer]})));
    assert_eq!(digests(manifest.blobs()), ["config", "same", "same", "same"].map(digest));
}

#[test]
fn a_layer_from_elsewhere_need_not_be_here() {
    let elsewhere = |media_type: &str, urls: Value| with(blob(media_type, "far"), json!({"urls": urls}));
    let blobs = |layer: Value| parse(None, &with(image(), json!({"layers": [layer]}))).blobs().count() - 1;
    let types = [
        mt::OCI_NONDISTRIBUTABLE,
        mt::OCI_NONDISTRIBUTABLE_GZIP,
        mt::OCI_NONDISTRIBUTABLE_ZSTD,
        mt::DOCKER_FOREIGN_LAYER,
    ];
    for media_type in types {
        assert_eq!(blobs(elsewhere(media_type, json!(["https://example.com/far"]))), 0, "{media_type}");
        assert_eq!(blobs(elsewhere(media_type, json!([]))), 1, "{media_type} without urls");
        assert_eq!(blobs(blob(media_type, "far")), 1, "{media_type} without urls");
    }
    assert_eq!(blobs(elsewhere(mt::OCI_LAYER, json!(["https://example.com/far"]))), 1, "an ordinary layer");
}

#[test]
fn any_other_type_is_taken_for_what_it_looks_like() {
    let other = Some("application/vnd.example.thing.v1+json; charset=utf-8");
    let manifest =
        parse(other, &json!({"config": blob("a/b", "c"), "layers": [blob("a/b", "l")], "blobs": [blob("a/b", "b")]}));
    assert_eq!(manifest.media_type, "application/vnd.example.thing.v1+json");
    assert_eq!(digests(manifest.blobs()), ["c", "l", "b"].map(digest));
    let manifest = parse(other, &json!({"blobs": [blob("a/b", "b")], "subject": blob("a/b", "s"), "schemaVersion": 7}));
    assert_eq!(digests(manifest.blobs()), [digest("b")]);
    assert_eq!(manifest.subject.unwrap().digest, digest("s"));
    let manifest = parse(other, &json!({"manifests": [blob("a/b", "m")], "layers": null}));
    assert_eq!(digests(manifest.children()), [digest("m")]);
}

#[test]
fn what_does_not_look_like_it_is_let_alone_in_other_types() {
    for fields in [
        json!({}),
        json!({"layers": 3, "blobs": "x", "manifests": {"digest": 1}, "config": ["digest"], "subject": "s"}),
        json!({"layers": [1, {"digest": "x"}], "config": {"a": {"digest": "x"}}, "manifests": [null], "Layers": []}),
    ] {
        let manifest = parse(Some("application/vnd.example+json"), &fields);
        assert_eq!((manifest.blobs().count(), manifest.children().count(), manifest.subject), (0, 0, None), "{fields}");
    }
}

#[test]
fn a_descriptor_keeps_the_fields_of_the_spec() {
    let text = json!({
        "mediaType": "text/plain; charset=utf-8",
        "digest": digest("x"),
        "size": i64::MAX,
        "urls": ["https://example.com"],
        "annotations": {"k": "v"},
        "data": "eA==",
        "platform": {"architecture": "arm64", "os": "linux", "os.version": "1", "os.features": ["f"], "variant": "v8", "features": ["g"]},
        "artifactType": "a/b",
    });
    let descriptor: Descriptor = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(descriptor.size, i64::MAX as u64);
    assert_eq!(descriptor.platform.as_ref().unwrap().variant.as_deref(), Some("v8"));
    assert_eq!(serde_json::to_value(&descriptor).unwrap(), text);
    let small = Descriptor::new("a/b", digest("x"), 0);
    assert_eq!(serde_json::to_value(&small).unwrap(), json!({"mediaType": "a/b", "digest": digest("x"), "size": 0}));
}

#[test]
fn the_most_descriptors_are_accepted() {
    let layers = vec![blob(mt::OCI_LAYER, "same"); MAX_DESCRIPTORS];
    assert_eq!(parse(None, &with(image(), json!({"layers": layers}))).blobs().count(), MAX_DESCRIPTORS + 1);
}

#[test]
fn the_deepest_nesting_is_accepted() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let text = |levels| image().to_string().replacen('{', &format!("{{\"x\":{},", deep(levels)), 1);
    assert!(Manifest::parse(None, text(63).as_bytes()).is_ok());
    assert!(Manifest::parse(None, text(64).as_bytes()).is_err());
}

#[test]
fn brackets_in_strings_do_not_nest() {
    let brackets = format!("\"{}\\", "[{".repeat(100));
    assert_eq!(parse(None, &with(image(), json!({"x": [brackets, "\\", brackets]}))).blobs().count(), 3);
}

/// Descriptors with any of the optional fields.
fn descriptors() -> impl Strategy<Value = Descriptor> {
    let media_type = "[a-z]{1,8}/[a-z0-9][a-z0-9.+-]{0,20}";
    let optional = (
        prop::collection::vec("[ -~]{0,20}", 0..3),
        prop::collection::btree_map(any::<String>(), any::<String>(), 0..3),
        prop::option::of("[A-Za-z0-9+/]{4}"),
        prop::option::of("[a-z]{1,8}/[a-z]{1,8}"),
    );
    (media_type, crate::digests(), 0..=i64::MAX as u64, optional).prop_map(
        |(media_type, digest, size, (urls, annotations, data, artifact_type))| Descriptor {
            urls,
            annotations,
            data,
            artifact_type,
            ..Descriptor::new(media_type, digest, size)
        },
    )
}

proptest! {
    #[test]
    fn descriptors_survive_their_json(descriptor in descriptors()) {
        let text = serde_json::to_string(&descriptor).unwrap();
        prop_assert_eq!(serde_json::from_str::<Descriptor>(&text).unwrap(), descriptor);
    }

    #[test]
    fn an_image_is_read_as_it_was_written(
        config in descriptors(),
        layers in prop::collection::vec(descriptors(), 0..6),
        subject in prop::option::of(descriptors()),
        annotations in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    ) {
        let document = json!({
            "schemaVersion": 2, "mediaType": mt::OCI_MANIFEST, "config": config, "layers": layers, "subject": subject,
            "annotations": annotations,
        });
        let manifest = parse(Some(mt::OCI_MANIFEST), &document);
        prop_assert_eq!(manifest.kind, Kind::Image { config, layers });
        prop_assert_eq!((manifest.subject, manifest.annotations), (subject, annotations));
    }

    #[test]
    fn a_cut_document_is_refused(cut in 0..600usize) {
        let text = image().to_string();
        prop_assume!(cut < text.len());
        prop_assert!(Manifest::parse(None, &text.as_bytes()[..cut]).is_err());
    }
}
