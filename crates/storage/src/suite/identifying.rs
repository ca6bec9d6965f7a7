//! Identity: one installation per store.

use futures::future::join_all;
use uuid::Uuid;

use super::Subject;
use super::objects::{content, key, names, write};
use crate::{ErrorKind, IDENTITY_KEY, Identity};

const CLUSTER: Uuid = Uuid::from_u128(0xC1);
const LOCATION: Uuid = Uuid::from_u128(0x10);

pub(super) async fn an_empty_store_is_claimed_once(subject: &dyn Subject) {
    let (engine, other) = (subject.open().await, subject.open().await);
    let mine = Identity::new(CLUSTER, LOCATION);
    assert!(engine.probe().await.is_err(), "a store without identity is not healthy");
    assert!(Identity::verify(engine.as_ref(), &mine).await.is_err());
    assert_eq!(Identity::claim(engine.as_ref(), &mine).await.unwrap(), mine);
    assert_eq!(names(engine.as_ref(), "").await, [IDENTITY_KEY]);
    engine.probe().await.unwrap();
    write(engine.as_ref(), "blobs/x", &content(1, 10)).await.unwrap();
    for engine in [engine, other] {
        assert_eq!(Identity::claim(engine.as_ref(), &mine).await.unwrap(), mine);
        assert_eq!(Identity::verify(engine.as_ref(), &mine).await.unwrap(), mine);
    }
}

pub(super) async fn racing_claims_have_one_winner(subject: &dyn Subject) {
    let engine = subject.open().await;
    let claims = join_all((0..12).map(|number| {
        let engine = engine.clone();
        // Three installations, four processes each.
        let want = Identity::new(Uuid::from_u128(number % 3), LOCATION);
        tokio::spawn(async move { Identity::claim(engine.as_ref(), &want).await })
    }));
    let claims: Vec<_> = claims.await.into_iter().map(Result::unwrap).collect();
    if subject.races_are_open() {
        // Who claims once more, as the next start does, meets what is there.
        let there = Identity::found(engine.as_ref()).await.unwrap().unwrap();
        for number in 0..3 {
            let want = Identity::new(Uuid::from_u128(number), LOCATION);
            assert_eq!(Identity::claim(engine.as_ref(), &want).await.is_ok(), want == there);
        }
        return;
    }
    let won: Vec<Uuid> = claims.iter().flatten().map(|identity| identity.cluster).collect();
    assert_eq!(won.len(), 4, "all processes of one installation");
    assert!(won.iter().all(|cluster| *cluster == won[0]));
    for error in claims.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::Foreign, "{error}");
    }
}

pub(super) async fn a_foreign_store_is_refused_with_the_way_out(subject: &dyn Subject) {
    let engine = subject.open().await;
    let mine = Identity::new(CLUSTER, LOCATION);
    write(engine.as_ref(), "somebody/elses", &content(1, 10)).await.unwrap();
    let refuse = async |want: &Identity, kind: ErrorKind, words: &[&str]| {
        for result in [Identity::claim(engine.as_ref(), want).await, Identity::verify(engine.as_ref(), want).await] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            let text = error.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    };
    let error = Identity::claim(engine.as_ref(), &mine).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Foreign);
    assert!(error.to_string().contains("start on an empty one"), "{error}");
    assert_eq!(names(engine.as_ref(), "").await, ["somebody/elses"]);

    let put = async |json: String| engine.put_small(&key(IDENTITY_KEY), json.into(), false).await.unwrap();
    let other = Identity::new(Uuid::from_u128(0xC2), Uuid::from_u128(0x20));
    put(serde_json::to_string(&other).unwrap()).await;
    let words = ["c1", "c2", "of one installation together", "an empty one"];
    refuse(&mine, ErrorKind::Foreign, &words).await;
    refuse(&Identity { location: LOCATION, ..other.clone() }, ErrorKind::Foreign, &["10", "20", "swapped"]).await;
    for newer in [Identity { layout: 9, writer: 7, ..mine.clone() }, Identity { layout: 9, reader: 7, ..mine.clone() }]
    {
        put(serde_json::to_string(&newer).unwrap()).await;
        refuse(&mine, ErrorKind::Foreign, &["9", "7", "1", "newer"]).await;
    }
    // Newer, but made so that this version may still read and write it.
    let newer = Identity { layout: 9, ..mine.clone() };
    put(serde_json::to_string(&newer).unwrap()).await;
    assert_eq!(Identity::claim(engine.as_ref(), &mine).await.unwrap(), newer);
    put("{".to_owned()).await;
    refuse(&mine, ErrorKind::Corrupt, &["roadstead.json", "from a backup", "c1", "10"]).await;
}
