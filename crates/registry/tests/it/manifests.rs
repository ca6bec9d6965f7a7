//! Manifests, tags, lists.

use bytes::Bytes;
use roadstead_oci::{Algorithm, Digest, Page, Tag};
use roadstead_registry::{Error, Precondition, PutManifest, ReferrersQuery, Wanted};
use serde_json::json;

use crate::guards::lose;
use crate::rig::{ME, Rig, image, name, noise, reference, sha256};

#[tokio::test]
async fn a_manifest_pulls_by_tag_and_digest_byte_for_byte() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let layer = rig.push("a/b", &noise(1, 300)).await;
    // Real manifests repeat a layer.
    let json = image((&config, 2), &[(&layer, 300), (&layer, 300)]);
    let pushed = rig.put("a/b", "v1", &json).await.unwrap();
    for by in ["v1", &pushed.digest.to_string()] {
        let found = rig.registry.manifest(&ME, &name("a/b"), &reference(by)).await.unwrap();
        assert_eq!(found.bytes, Bytes::from(json.to_string()));
        assert_eq!(found.info.digest, sha256(&found.bytes));
        assert_eq!(found.info, rig.registry.manifest_info(&ME, &name("a/b"), &reference(by)).await.unwrap());
    }
}

#[tokio::test]
async fn everything_missing_is_listed_and_nothing_is_stored() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let (one, two) = (sha256(b"1"), sha256(b"2"));
    let refused = rig.put("a/b", "v1", &image((&config, 2), &[(&one, 1), (&two, 1)])).await;
    let Err(Error::ManifestBlobUnknown(missing)) = refused else { panic!("{refused:?}") };
    assert_eq!(missing.iter().map(|d| d.digest).collect::<Vec<_>>(), [one, two]);
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": one, "size": 1}],
    });
    assert!(matches!(rig.put("a/b", "v1", &index).await, Err(Error::ManifestBlobUnknown(m)) if m.len() == 1));
    assert_eq!(rig.count("SELECT count(*) FROM manifest").await, 0);
    assert_eq!(rig.count("SELECT count(*) FROM manifest_content").await, 0);
}

#[tokio::test]
async fn a_blob_whose_copy_was_lost_is_asked_for_and_comes_back_by_a_push() {
    let rig = Rig::new().await;
    let [config, layer] = [rig.push("a/b", b"{}").await, rig.push("a/b", b"layer").await];
    let json = image((&config, 2), &[(&layer, 5)]);
    rig.put("a/b", "v1", &json).await.unwrap();
    lose(&rig, &layer).await;
    for tag in ["v1", "v2"] {
        let refused = rig.put("a/b", tag, &json).await;
        let Err(Error::ManifestBlobUnknown(missing)) = refused else { panic!("{refused:?}") };
        assert_eq!(missing.iter().map(|d| d.digest).collect::<Vec<_>>(), [layer]);
    }
    // As a client does that was told so.
    rig.push("a/b", b"layer").await;
    rig.put("a/b", "v2", &json).await.unwrap();
    assert_eq!(rig.pull("a/b", &layer).await.unwrap(), b"layer");
}

#[tokio::test]
async fn an_entry_of_an_index_that_may_be_either_is_found_as_manifest_or_blob() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let blob = rig.push("a/b", b"blob").await;
    let child = rig.put("a/b", "child", &image((&config, 2), &[])).await.unwrap().digest;
    let size = image((&config, 2), &[]).to_string().len();
    let entry = |media_type: &str, digest, size| json!({"mediaType": media_type, "digest": digest, "size": size});
    let index = |entries: &[serde_json::Value]| {
        json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
        })
    };
    let ours = "application/vnd.example.thing+json";
    let entries = [entry(ours, &child, size), entry(ours, &blob, 4)];
    rig.put("a/b", "index", &index(&entries)).await.unwrap();
    // Both are now held by the index.
    let held = rig.registry.delete_manifest(&ME, &name("a/b"), &reference(&child.to_string())).await;
    assert!(matches!(held, Err(Error::InUse(_))), "{held:?}");
    let held = rig.registry.delete_blob(&ME, &name("a/b"), &blob).await;
    assert!(matches!(held, Err(Error::InUse(_))), "{held:?}");
    // What is neither is missing, and what says that it is a manifest is not looked for among blobs.
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    for absent in [entry(ours, &sha256(b"neither"), 7), entry(manifest, &blob, 4)] {
        let refused = rig.put("a/b", "index", &index(&[absent])).await;
        assert!(matches!(&refused, Err(Error::ManifestBlobUnknown(missing)) if missing.len() == 1), "{refused:?}");
    }
}

#[tokio::test]
async fn a_blob_of_another_repository_does_not_count() {
    let rig = Rig::new().await;
    let config = rig.push("a/other", b"{}").await;
    assert!(matches!(rig.put("a/b", "v1", &image((&config, 2), &[])).await, Err(Error::ManifestBlobUnknown(_))));
}

#[tokio::test]
async fn a_descriptor_with_the_wrong_size_is_refused() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let refused = rig.put("a/b", "v1", &image((&config, 3), &[])).await;
    assert!(matches!(refused, Err(Error::SizeInvalid { stated: 3, actual: 2, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_large_manifest_is_kept_as_a_blob_and_pulls_the_same() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let mut json = image((&config, 2), &[]);
    json["annotations"] = json!({"large": "A".repeat(3 << 20)});
    let pushed = rig.put("a/b", "v1", &json).await.unwrap();
    let found = rig.registry.manifest(&ME, &name("a/b"), &reference("v1")).await.unwrap();
    assert_eq!((found.info.digest, found.bytes), (pushed.digest, Bytes::from(json.to_string())));
    rig.registry.delete_manifest(&ME, &name("a/b"), &reference(&pushed.digest.to_string())).await.unwrap();
    assert!(matches!(rig.registry.manifest(&ME, &name("a/b"), &reference("v1")).await, Err(Error::ManifestUnknown(_))));
}

/// The most a manifest may name, each digest as long as they get, with the most tags and annotations to show.
#[tokio::test]
async fn the_largest_manifest_there_may_be_fits_into_one_commit() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let digests: Vec<Digest> = (0..10_000).map(|n| Digest::of(Algorithm::Sha512, format!("{n}").as_bytes())).collect();
    rig.link_all("a/b", &digests).await;
    let mut json = image((&config, 2), &digests.iter().map(|digest| (digest, 1)).collect::<Vec<_>>());
    json["subject"] = json!({"mediaType": "x/y", "digest": sha256(b"subject"), "size": 3});
    json["annotations"] = json!({"large": "A".repeat(1 << 20), "note": "shown", "some": "B".repeat(60 << 10)});
    assert!(json.to_string().len() < 4 << 20);
    let tags = (0..50).map(|n| format!("{n:0128}").parse().unwrap()).collect();
    let bytes = Bytes::from(json.to_string());
    let put = PutManifest {
        reference: reference("v1"),
        content_type: None,
        tags,
        bytes: bytes.clone(),
        precondition: Precondition::default(),
    };
    for _ in 0..2 {
        rig.registry.put_manifest(&ME, &name("a/b"), put.clone()).await.unwrap();
        assert_eq!(rig.count("SELECT count(*) FROM manifest_blob").await, 10_002);
    }
    assert_eq!(rig.registry.manifest(&ME, &name("a/b"), &reference("v1")).await.unwrap().bytes, bytes);
    // Too much to show is left out as a whole.
    let query = ReferrersQuery::default();
    let found = rig.registry.referrers(&ME, &name("a/b"), &sha256(b"subject"), &query).await.unwrap();
    let shown: Vec<&str> = found.manifests[0].annotations.keys().map(String::as_str).collect();
    assert_eq!(shown, ["note", "some"]);
}

#[tokio::test]
async fn a_large_manifest_that_is_refused_leaves_no_object() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let before = rig.objects("").await;
    let mut json = image((&config, 2), &[(&sha256(b"missing"), 1)]);
    json["annotations"] = json!({"large": "A".repeat(100 << 10)});
    assert!(matches!(rig.put("a/b", "v1", &json).await, Err(Error::ManifestBlobUnknown(_))));
    assert_eq!(rig.objects("").await, before);
    json["layers"] = json!([]);
    rig.commit("CREATE TRIGGER broken BEFORE INSERT ON tag BEGIN INSERT INTO absent VALUES (1); END").await;
    assert!(matches!(rig.put("a/b", "v1", &json).await, Err(Error::Internal(_))));
    assert_eq!(rig.objects("").await, before, "a commit that failed did not happen");
}

#[tokio::test]
async fn tags_move_and_their_history_stays() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let layer = rig.push("a/b", b"layer").await;
    let first = rig.put("a/b", "v1", &image((&config, 2), &[])).await.unwrap().digest;
    rig.put("a/b", "v1", &image((&config, 2), &[])).await.unwrap();
    assert_eq!(rig.count("SELECT version FROM tag").await, 1);
    rig.put("a/b", "v1", &image((&config, 2), &[(&layer, 5)])).await.unwrap();
    assert_eq!(rig.count("SELECT version FROM tag").await, 2);
    rig.registry.delete_manifest(&ME, &name("a/b"), &reference("v1")).await.unwrap();
    assert!(rig.tags("a/b").await.is_empty());
    // The manifest outlives its tag, and the version goes on counting.
    rig.registry.manifest_info(&ME, &name("a/b"), &reference(&first.to_string())).await.unwrap();
    rig.put("a/b", "v1", &image((&config, 2), &[])).await.unwrap();
    assert_eq!(rig.count("SELECT version FROM tag").await, 4);
    assert_eq!(rig.count("SELECT count(*) FROM tag_history").await, 4);
    assert_eq!(rig.count("SELECT count(*) FROM tag_history WHERE digest IS NULL").await, 1);
}

#[tokio::test]
async fn further_tags_of_a_push_are_set_in_the_same_commit() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let bytes = Bytes::from(image((&config, 2), &[]).to_string());
    let tags: Vec<Tag> = ["x", "y", "x"].iter().map(|tag| tag.parse().unwrap()).collect();
    let put = PutManifest {
        reference: reference(&sha256(&bytes).to_string()),
        content_type: None,
        tags,
        bytes,
        precondition: Precondition::default(),
    };
    rig.registry.put_manifest(&ME, &name("a/b"), put).await.unwrap();
    assert_eq!(rig.tags("a/b").await, ["x", "y"]);
}

#[tokio::test]
async fn deleting_a_manifest_removes_its_tags_but_not_one_an_index_names() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let child = rig.put("a/b", "child", &image((&config, 2), &[])).await.unwrap().digest;
    let size = image((&config, 2), &[]).to_string().len();
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": child, "size": size}],
    });
    let parent = rig.put("a/b", "all", &index).await.unwrap().digest;
    let refused = rig.registry.delete_manifest(&ME, &name("a/b"), &reference(&child.to_string())).await;
    assert!(matches!(&refused, Err(Error::InUse(why)) if why.contains(&parent.to_string())), "{refused:?}");
    assert_eq!(rig.tags("a/b").await, ["all", "child"]);
    for digest in [parent, child] {
        rig.registry.delete_manifest(&ME, &name("a/b"), &reference(&digest.to_string())).await.unwrap();
        let again = rig.registry.delete_manifest(&ME, &name("a/b"), &reference(&digest.to_string())).await;
        assert!(matches!(again, Err(Error::ManifestUnknown(_))), "{again:?}");
    }
    assert!(rig.tags("a/b").await.is_empty());
    assert_eq!(rig.count("SELECT count(*) FROM manifest_content").await, 0);
}

fn only_over(digests: &[Digest]) -> Precondition {
    Precondition { matches: Some(Wanted::These(digests.to_vec())), ..Precondition::default() }
}

fn only_new() -> Precondition {
    Precondition { matches_none: Some(Wanted::Anything), ..Precondition::default() }
}

#[tokio::test]
async fn a_tag_is_moved_and_removed_only_from_what_the_caller_has_seen() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let layers = [rig.push("a/b", b"0").await, rig.push("a/b", b"1").await];
    let put = async |tag: &str, layer: usize, precondition| {
        let bytes = Bytes::from(image((&config, 2), &[(&layers[layer], 1)]).to_string());
        let put = PutManifest { reference: reference(tag), content_type: None, tags: vec![], bytes, precondition };
        rig.registry.put_manifest(&ME, &name("a/b"), put).await.map(|pushed| pushed.digest)
    };
    let any = || Precondition { matches: Some(Wanted::Anything), ..Precondition::default() };
    assert!(matches!(put("v1", 0, any()).await, Err(Error::PreconditionFailed(None))));
    let first = put("v1", 0, only_new()).await.unwrap();
    let refused = put("v1", 1, only_new()).await;
    assert!(matches!(refused, Err(Error::PreconditionFailed(Some(now))) if now == first), "{refused:?}");
    let second = put("v1", 1, only_over(&[sha256(b"another"), first])).await.unwrap();
    assert!(matches!(put("v1", 0, only_over(&[first])).await, Err(Error::PreconditionFailed(Some(_)))));
    let by_digest = second.to_string();
    assert!(matches!(put(&by_digest, 1, only_new()).await, Err(Error::PreconditionFailed(Some(_)))));
    put(&by_digest, 1, only_over(&[second])).await.unwrap();

    let delete = async |what: &str, precondition| {
        rig.registry.delete_manifest_if(&ME, &name("a/b"), &reference(what), &precondition).await
    };
    for what in ["v1", &by_digest] {
        assert!(matches!(delete(what, only_over(&[first])).await, Err(Error::PreconditionFailed(Some(_)))));
        assert!(matches!(delete(what, only_new()).await, Err(Error::PreconditionFailed(Some(_)))));
        delete(what, only_over(&[second])).await.unwrap();
        assert!(matches!(delete(what, only_over(&[first])).await, Err(Error::ManifestUnknown(_))));
    }
}

/// Of those who have all seen the same, one wins.
#[tokio::test]
async fn of_conditional_pushes_at_once_one_happens() {
    for new in [true, false] {
        let rig = Rig::new().await;
        let config = rig.push("a/b", b"{}").await;
        let seen = rig.put("a/b", if new { "other" } else { "v1" }, &image((&config, 2), &[])).await.unwrap().digest;
        let mut puts = Vec::new();
        for n in 0..8 {
            let layer = rig.push("a/b", format!("{n}").as_bytes()).await;
            let bytes = Bytes::from(image((&config, 2), &[(&layer, 1)]).to_string());
            let precondition = if new { only_new() } else { only_over(&[seen]) };
            puts.push(PutManifest {
                reference: reference("v1"),
                content_type: None,
                tags: vec![],
                bytes,
                precondition,
            });
        }
        let push = |put| {
            let registry = rig.registry.clone();
            tokio::spawn(async move { registry.put_manifest(&ME, &name("a/b"), put).await })
        };
        let pushes: Vec<_> = puts.into_iter().map(push).collect();
        let outcomes = futures::future::join_all(pushes).await;
        let won = outcomes.iter().filter(|outcome| outcome.as_ref().unwrap().is_ok()).count();
        let refused = |outcome: &Result<_, Error>| matches!(outcome, Err(Error::PreconditionFailed(Some(_))));
        let lost = outcomes.iter().filter(|outcome| refused(outcome.as_ref().unwrap())).count();
        assert_eq!((won, lost), (1, 7));
    }
}

#[tokio::test]
async fn a_push_sets_no_more_tags_than_its_answer_can_name() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let bytes = Bytes::from(image((&config, 2), &[]).to_string());
    for (count, taken) in [(51, false), (50, true)] {
        let tags: Vec<Tag> = (0..count).map(|n| format!("t{n}").parse().unwrap()).collect();
        let bytes = bytes.clone();
        let precondition = Precondition::default();
        let put = PutManifest { reference: reference("v1"), content_type: None, tags, bytes, precondition };
        let outcome = rig.registry.put_manifest(&ME, &name("a/b"), put).await;
        assert_eq!(outcome.is_ok(), taken, "{outcome:?}");
        assert_eq!(rig.tags("a/b").await.len(), if taken { 51 } else { 0 });
    }
}

#[tokio::test]
async fn lists_page_in_ascii_order() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    for tag in ["b", "A", "a", "_", "B", "1.0", "1-0"] {
        rig.put("a/b", tag, &image((&config, 2), &[])).await.unwrap();
    }
    let page = |n: Option<usize>, last: Option<&str>| Page { n, last: last.map(str::to_owned) };
    let all = rig.registry.tags(&ME, &name("a/b"), &page(None, None)).await.unwrap();
    assert_eq!(all.names, ["1-0", "1.0", "A", "B", "_", "a", "b"]);
    assert!(!all.more);
    let first = rig.registry.tags(&ME, &name("a/b"), &page(Some(3), None)).await.unwrap();
    assert_eq!((first.names.join(" "), first.more), ("1-0 1.0 A".to_owned(), true));
    let rest = rig.registry.tags(&ME, &name("a/b"), &page(Some(4), Some("A"))).await.unwrap();
    assert_eq!((rest.names.join(" "), rest.more), ("B _ a b".to_owned(), false));
    let none = rig.registry.tags(&ME, &name("a/b"), &page(Some(0), None)).await.unwrap();
    assert_eq!((none.names.len(), none.more), (0, true));
    assert!(matches!(rig.registry.tags(&ME, &name("a/none"), &page(None, None)).await, Err(Error::NameUnknown(_))));
    rig.push("a/a", b"x").await;
    let names = rig.registry.catalog(&ME, &page(Some(1), None)).await.unwrap();
    assert_eq!((names.names, names.more), (vec!["a/a".to_owned()], true));
    let names = rig.registry.catalog(&ME, &page(Some(9), Some("a/a"))).await.unwrap();
    assert_eq!((names.names, names.more), (vec!["a/b".to_owned()], false));
}

#[tokio::test]
async fn concurrent_pushes_of_one_tag_leave_one_of_them_and_a_whole_history() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let mut pushes = Vec::new();
    for n in 0..16 {
        let layer = rig.push("a/b", format!("{n}").as_bytes()).await;
        let json = image((&config, 2), &[(&layer, n.to_string().len())]);
        let registry = rig.registry.clone();
        pushes.push(tokio::spawn(async move {
            let bytes = Bytes::from(json.to_string());
            let put = PutManifest {
                reference: reference("latest"),
                content_type: None,
                tags: vec![],
                bytes,
                precondition: Precondition::default(),
            };
            registry.put_manifest(&ME, &name("a/b"), put).await.unwrap()
        }));
    }
    for push in pushes {
        push.await.unwrap();
    }
    assert_eq!(rig.count("SELECT version FROM tag").await, 16);
    assert_eq!(rig.count("SELECT count(*) FROM tag_history").await, 16);
}

/// In a repository that keeps its tags one neither moves nor goes, by whatever path; new ones come.
#[tokio::test]
async fn an_immutable_repository_keeps_its_tags() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"config").await;
    let [one, two] = [1, 2].map(|number| {
        let layer = serde_json::json!({"n": number.to_string()});
        let mut manifest = image((&config, 6), &[]);
        manifest["annotations"] = layer;
        manifest
    });
    let first = rig.put("a/b", "v1", &one).await.unwrap().digest;
    rig.commit("UPDATE repository SET immutable_tags = 1").await;
    let moved = rig.put("a/b", "v1", &two).await;
    let why = "tag v1 cannot be overwritten because a/b is an immutable repository";
    assert!(matches!(&moved, Err(Error::Denied(text)) if text.starts_with(why)), "{moved:?}");
    rig.put("a/b", "v1", &one).await.unwrap();
    let second = rig.put("a/b", "v2", &two).await.unwrap().digest;
    for kept in ["v1".to_owned(), first.to_string()] {
        let deleted = rig.registry.delete_manifest(&ME, &name("a/b"), &reference(&kept)).await;
        let why = "tag v1 cannot be deleted because a/b is an immutable repository";
        assert!(matches!(&deleted, Err(Error::Denied(text)) if text == why), "{kept}: {deleted:?}");
    }
    assert_eq!(rig.tags("a/b").await, ["v1", "v2"]);
    rig.commit("UPDATE repository SET immutable_tags = 0").await;
    rig.put("a/b", "v1", &two).await.unwrap();
    rig.registry.delete_manifest(&ME, &name("a/b"), &reference(&second.to_string())).await.unwrap();
    assert_eq!(rig.tags("a/b").await, Vec::<String>::new());
}
