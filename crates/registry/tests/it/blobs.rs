//! Blobs: push, pull, mount, delete.

use std::time::Duration;

use futures::StreamExt;
use roadstead_oci::{Algorithm, Digest, Page};
use roadstead_registry::{Error, Mount};
use roadstead_storage::ObjectKey;
use roadstead_testkit::ThreadLog;

use crate::rig::{ME, Rig, body, image, length, name, noise, sha256};

#[tokio::test]
async fn a_pushed_blob_pulls_whole_and_in_ranges() {
    let rig = Rig::new().await;
    let content = noise(1, 5000);
    let digest = rig.push("a/b", &content).await;
    assert_eq!(rig.pull("a/b", &digest).await.unwrap(), content);
    let open = rig.registry.open_blob(&ME, &name("a/b"), &digest).await.unwrap();
    assert_eq!(open.size, 5000);
    let part: Vec<_> = open.read(Some(4990..5000)).await.unwrap().map(|chunk| chunk.unwrap()).collect().await;
    assert_eq!(part.concat(), content[4990..]);
}

#[tokio::test]
async fn an_empty_blob_and_sha512_are_blobs_too() {
    let rig = Rig::new().await;
    let empty = rig.push("a/b", b"").await;
    assert_eq!(rig.pull("a/b", &empty).await.unwrap(), b"");
    let digest = Digest::of(Algorithm::Sha512, b"long");
    rig.registry.push_blob(&ME, &name("a/b"), digest, Some(4), body(b"long")).await.unwrap();
    assert_eq!(rig.pull("a/b", &digest).await.unwrap(), b"long");
}

#[tokio::test]
async fn bytes_that_are_not_what_was_announced_leave_nothing() {
    let rig = Rig::new().await;
    let announced = sha256(b"right");
    let wrong = rig.registry.push_blob(&ME, &name("a/b"), announced, None, body(b"wrong")).await;
    assert!(matches!(wrong, Err(Error::DigestInvalid { .. })), "{wrong:?}");
    let short = rig.registry.push_blob(&ME, &name("a/b"), announced, Some(9), body(b"right")).await;
    assert!(matches!(short, Err(Error::SizeInvalid { stated: 9, actual: 5, .. })), "{short:?}");
    assert_eq!(rig.objects("").await, Vec::<String>::new());
    assert!(matches!(rig.registry.blob_stat(&ME, &name("a/b"), &announced).await, Err(Error::NameUnknown(_))));
}

#[tokio::test]
async fn a_blob_is_seen_only_through_repositories_that_link_it() {
    let rig = Rig::new().await;
    let digest = rig.push("a/b", b"mine").await;
    rig.push("a/c", b"other").await;
    assert!(matches!(rig.registry.blob_stat(&ME, &name("a/c"), &digest).await, Err(Error::BlobUnknown(_))));
    assert!(matches!(rig.registry.blob_stat(&ME, &name("a/d"), &digest).await, Err(Error::NameUnknown(_))));
}

#[tokio::test]
async fn a_second_push_of_the_same_bytes_takes_the_place_of_the_first_and_reaps_it() {
    let rig = Rig::new().await;
    rig.push("a/b", b"same").await;
    let digest = rig.push("a/c", b"same").await;
    assert_eq!(rig.count("SELECT count(*) FROM placement").await, 1);
    assert_eq!(rig.count("SELECT count(*) FROM reap").await, 1);
    let both = "SELECT count(*) FROM reap r JOIN placement p ON p.object_key = r.object_key";
    assert_eq!(rig.count(both).await, 0, "the object that is in use is to be deleted");
    let now = roadstead_registry::Clock::now(&*rig.clock);
    assert!(rig.count("SELECT not_before FROM reap").await > now, "a reader may have just looked up the old key");
    for repository in ["a/b", "a/c"] {
        assert_eq!(rig.pull(repository, &digest).await.unwrap(), b"same");
    }
}

/// What became of the bytes behind the registry's back: gone, or cut short.
async fn damage(rig: &Rig, lost: bool) {
    for key in rig.objects("blobs/").await {
        let key = ObjectKey::new(key).unwrap();
        rig.store.delete(&key).await.unwrap();
        if !lost {
            rig.store.put_small(&key, bytes::Bytes::from_static(b"by"), false).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_push_heals_a_blob_whose_object_is_lost_or_cut_short() {
    for lost in [true, false] {
        let rig = Rig::new().await;
        let digest = rig.push("a/b", b"bytes").await;
        damage(&rig, lost).await;
        assert!(matches!(rig.pull("a/b", &digest).await, Err(Error::Damaged(_))));
        rig.push("a/b", b"bytes").await;
        assert_eq!(rig.pull("a/b", &digest).await.unwrap(), b"bytes");

        damage(&rig, lost).await;
        let session = rig.registry.start_upload(&ME, &name("a/b"), Algorithm::Sha256).await.unwrap().session;
        rig.registry.append_upload(&ME, &name("a/b"), &session, length(b"bytes"), body(b"bytes")).await.unwrap();
        rig.registry.finish_upload(&ME, &name("a/b"), &session, digest, length(b""), body(b"")).await.unwrap();
        assert_eq!(rig.pull("a/b", &digest).await.unwrap(), b"bytes");
    }
}

/// Clients ask whether they need to push at all.
#[tokio::test]
async fn whoever_may_push_is_told_that_a_lost_blob_is_not_there_and_cannot_mount_it() {
    for lost in [true, false] {
        let rig = Rig::new().await;
        let digest = rig.push("a/b", b"bytes").await;
        let stat = || async { rig.registry.blob_stat(&ME, &name("a/b"), &digest).await };
        let mount = async |from: Option<&str>| {
            let from = from.map(name);
            rig.registry.mount_blob(&ME, &name("a/c"), &digest, from.as_ref()).await.unwrap()
        };
        damage(&rig, lost).await;
        assert!(matches!(stat().await, Err(Error::BlobUnknown(_))));
        assert_eq!([mount(None).await, mount(Some("a/b")).await], [Mount::NotMounted, Mount::NotMounted]);
        rig.push("a/b", b"bytes").await;
        assert_eq!(stat().await.unwrap(), 5);
        assert_eq!(mount(None).await, Mount::Mounted);
    }
}

#[tokio::test]
async fn a_push_heals_a_manifest_that_is_kept_as_a_blob() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let mut json = image((&config, 2), &[]);
    json["annotations"] = serde_json::json!({"large": "A".repeat(100 << 10)});
    rig.put("a/b", "v1", &json).await.unwrap();
    damage(&rig, true).await;
    rig.put("a/b", "v1", &json).await.unwrap();
    let found = rig.registry.manifest(&ME, &name("a/b"), &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(found.bytes, json.to_string());
}

/// The reaper was faster than a reader between its question and its read.
#[tokio::test]
async fn a_reader_whose_copy_was_replaced_and_deleted_finds_the_new_one() {
    for lost in [true, false] {
        let rig = Rig::new().await;
        let digest = rig.push("a/b", b"bytes").await;
        let open = rig.registry.open_blob(&ME, &name("a/b"), &digest).await.unwrap();
        damage(&rig, lost).await;
        for range in [None, Some(1..4)] {
            assert!(matches!(open.read(range).await.map(drop), Err(Error::Damaged(_))));
        }
        rig.push("a/b", b"bytes").await;
        for (range, wanted) in [(None, &b"bytes"[..]), (Some(1..4), b"yte")] {
            let read: Vec<_> = open.read(range).await.unwrap().map(|chunk| chunk.unwrap()).collect().await;
            assert_eq!(read.concat(), wanted);
        }
        rig.registry.delete_blob(&ME, &name("a/b"), &digest).await.unwrap();
        damage(&rig, lost).await;
        assert!(matches!(open.read(None).await.map(drop), Err(Error::BlobUnknown(_))));
    }
}

#[tokio::test]
async fn a_pull_that_meets_the_reaper_is_no_error_and_one_that_meets_a_loss_is() {
    crate::log::begin();
    let rig = Rig::new().await;
    let digest = rig.push("a/b", b"bytes").await;
    let open = rig.registry.open_blob(&ME, &name("a/b"), &digest).await.unwrap();
    damage(&rig, true).await;
    assert!(matches!(open.read(None).await.map(drop), Err(Error::Damaged(_))));
    let told = ThreadLog::take();
    assert!(told.contains("ERROR") && told.contains("copy cannot be read"), "{told}");
    rig.registry.delete_blob(&ME, &name("a/b"), &digest).await.unwrap();
    assert!(matches!(open.read(None).await.map(drop), Err(Error::BlobUnknown(_))));
    assert_eq!(ThreadLog::take(), "");
}

#[tokio::test]
async fn a_pull_that_meets_a_damaged_copy_names_it_to_scrub() {
    for lost in [true, false] {
        let rig = Rig::new().await;
        let digest = rig.push("a/b", b"damaged").await;
        assert_eq!(rig.pull("a/b", &digest).await.unwrap(), b"damaged");
        assert_eq!(rig.registry.suspects().take(10), []);
        let object_key = rig.objects("blobs/").await.remove(0);
        damage(&rig, lost).await;
        assert!(matches!(rig.pull("a/b", &digest).await, Err(Error::Damaged(_))));
        let suspects = rig.registry.suspects().take(10);
        assert_eq!(suspects.len(), 1);
        assert_eq!((&suspects[0].object_key, &suspects[0].digest), (&object_key, &digest));
    }
}

#[tokio::test]
async fn mount_links_without_bytes_with_and_without_a_source() {
    let rig = Rig::new().await;
    let digest = rig.push("a/from", b"layer").await;
    let (to, from, none) = (name("a/to"), name("a/from"), name("a/none"));
    let mount = |to, from| {
        let registry = rig.registry.clone();
        async move { registry.mount_blob(&ME, to, &digest, from).await.unwrap() }
    };
    assert_eq!(mount(&to, Some(&none)).await, Mount::NotMounted);
    assert_eq!(mount(&to, Some(&from)).await, Mount::Mounted);
    assert_eq!(rig.pull("a/to", &digest).await.unwrap(), b"layer");
    assert_eq!(mount(&name("a/third"), None).await, Mount::Mounted);
    assert_eq!(rig.pull("a/third", &digest).await.unwrap(), b"layer");
    let missing = sha256(b"missing");
    assert_eq!(rig.registry.mount_blob(&ME, &to, &missing, None).await.unwrap(), Mount::NotMounted);
}

#[tokio::test]
async fn a_blob_named_by_a_manifest_is_not_unlinked() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    rig.put("a/b", "v1", &image((&config, 2), &[])).await.unwrap();
    let refused = rig.registry.delete_blob(&ME, &name("a/b"), &config).await;
    assert!(matches!(&refused, Err(Error::InUse(why)) if why.contains("sha256:")), "{refused:?}");
    let free = rig.push("a/b", b"free").await;
    rig.registry.delete_blob(&ME, &name("a/b"), &free).await.unwrap();
    assert!(matches!(rig.pull("a/b", &free).await, Err(Error::BlobUnknown(_))));
    assert!(matches!(rig.registry.delete_blob(&ME, &name("a/b"), &free).await, Err(Error::BlobUnknown(_))));
}

#[tokio::test]
async fn head_by_a_pusher_refreshes_what_a_push_will_rely_on() {
    let rig = Rig::new().await;
    let digest = rig.push("a/b", b"old").await;
    rig.clock.advance(Duration::from_secs(20 * 3600));
    rig.registry.blob_stat(&ME, &name("a/b"), &digest).await.unwrap();
    let now = roadstead_registry::Clock::now(&*rig.clock);
    assert_eq!(rig.count("SELECT touched_at FROM blob").await, now);
    assert_eq!(rig.count("SELECT touched_at FROM repository_blob").await, now);
}

#[tokio::test]
async fn library_and_bare_names_are_one_repository_shown_bare() {
    let rig = Rig::new().await;
    let digest = rig.push("library/alpine", b"x").await;
    assert_eq!(rig.pull("alpine", &digest).await.unwrap(), b"x");
    rig.push("library/deep/er", b"y").await;
    let names = rig.registry.catalog(&ME, &Page::default()).await.unwrap();
    assert_eq!(names.names, ["alpine", "library/deep/er"]);
}
