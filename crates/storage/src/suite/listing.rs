//! Listing: ASCII order of whole keys, in pages.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Subject;
use super::objects::{content, key, names, write};
use crate::{Engine, Listed};

/// Keys whose order by directory would differ from their order by bytes.
const KEYS: [&str; 14] =
    ["A", "a-b", "a.b", "a/b", "a/b-", "a/b.c", "a/c/d", "a0", "a_", "b/0", "b/00", "b/1/2/3/4", "b/1/2/3/5", "b0/x"];

async fn fill(engine: &dyn Engine) {
    // Written in an order that is not the expected one.
    for (number, name) in KEYS.iter().enumerate().rev() {
        write(engine, name, &content(1, number)).await.unwrap();
    }
}

/// All pages of `limit` keys.
async fn pages(engine: &dyn Engine, prefix: &str, limit: usize) -> Vec<Listed> {
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let page = engine.list(prefix, all.last().map(|listed| &listed.key), limit).await.unwrap();
        assert!(page.len() <= limit);
        let last = page.len() < limit;
        all.extend(page);
        if last {
            return all;
        }
    }
}

pub(super) async fn keys_come_in_ascii_order(subject: &dyn Subject) {
    let engine = subject.open().await;
    assert_eq!(names(engine.as_ref(), "").await, [""; 0]);
    fill(engine.as_ref()).await;
    assert!(KEYS.is_sorted());
    assert_eq!(names(engine.as_ref(), "").await, KEYS);
    for (number, listed) in engine.list("", None, 100).await.unwrap().into_iter().enumerate() {
        assert_eq!(listed.size, number as u64, "the size of {}", listed.key);
    }
}

pub(super) async fn pages_join_without_gap_or_repetition(subject: &dyn Subject) {
    let engine = subject.open().await;
    fill(engine.as_ref()).await;
    for limit in [1, 2, 3, 7, 13, 14, 15] {
        let joined: Vec<_> = pages(engine.as_ref(), "", limit).await.into_iter().map(|l| l.key.to_string()).collect();
        assert_eq!(joined, KEYS, "pages of {limit}");
    }
    assert_eq!(engine.list("", None, 0).await.unwrap(), []);
    // What comes after a key that is not there, or lies outside the prefix.
    let after = |after: &str, prefix: &'static str| {
        let (engine, after) = (engine.clone(), key(after));
        async move {
            let listed = engine.list(prefix, Some(&after), 100).await.unwrap();
            listed.into_iter().map(|listed| listed.key.to_string()).collect::<Vec<_>>()
        }
    };
    assert_eq!(after("a/b-5", "").await, KEYS[5..]);
    assert_eq!(after("A", "b").await, KEYS[9..]);
    assert_eq!(after("z", "").await, [""; 0]);
    assert_eq!(after("b/1", "b/").await, ["b/1/2/3/4", "b/1/2/3/5"]);
    assert_eq!(after("b/1/2/3/4/5", "b/").await, ["b/1/2/3/5"]);
}

pub(super) async fn prefixes_cut_anywhere(subject: &dyn Subject) {
    let engine = subject.open().await;
    fill(engine.as_ref()).await;
    for prefix in
        ["a", "a/", "a/b", "a/b.", "b", "b/", "b/0", "b/1/2/3/", "b/1/2/3/4", "b0", "x", "a/b/c", "b/1/2/3/45"]
    {
        let expected: Vec<_> = KEYS.iter().filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(names(engine.as_ref(), prefix).await.iter().collect::<Vec<_>>(), expected, "prefix {prefix:?}");
    }
}

pub(super) async fn strange_prefixes_match_nothing(subject: &dyn Subject) {
    let engine = subject.open().await;
    fill(engine.as_ref()).await;
    for prefix in ["/", "../", "a/../", "a//", "./", "a/./b", "\0", "é", "/etc/", "a/b\n"] {
        assert_eq!(names(engine.as_ref(), prefix).await, [""; 0], "prefix {prefix:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(String, usize),
    Delete(String),
    List { prefix: String, after: Option<String>, limit: usize },
}

/// Components at the first two levels are directories and at the third objects, so that no key is below another.
fn some_key() -> impl Strategy<Value = String> {
    prop_oneof![
        ("[ab.-]{1,2}", "[a0_-]{1,2}", "[xy]{1,2}").prop_map(|(a, b, c)| format!("d{a}/d{b}/f{c}")),
        ("[ab.-]{1,2}", "[xy]{1,2}").prop_map(|(a, c)| format!("d{a}/f{c}")),
        "[xy-]{1,2}".prop_map(|c| format!("f{c}")),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let cut = (some_key(), 0..9usize).prop_map(|(key, at)| key[..at.min(key.len())].to_owned());
    prop_oneof![
        4 => (some_key(), 0..100usize).prop_map(|(key, size)| Step::Put(key, size)),
        1 => some_key().prop_map(Step::Delete),
        2 => (cut, proptest::option::of(some_key()), 0..9usize)
            .prop_map(|(prefix, after, limit)| Step::List { prefix, after, limit }),
    ]
}

/// Puts, deletes and lists at random, against a sorted set.
pub(super) async fn a_model_agrees(subject: &dyn Subject) {
    let engine = subject.open().await;
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Handle::current();
    let run = || {
        runner.run(&proptest::collection::vec(step(), 1..40), |steps| {
            runtime.block_on(async {
                for Listed { key, .. } in engine.list("", None, usize::MAX).await.unwrap() {
                    engine.delete(&key).await.unwrap();
                }
                let mut model = BTreeSet::new();
                for step in steps {
                    play(engine.as_ref(), &mut model, step).await;
                }
            });
            Ok(())
        })
    };
    // The runner is synchronous: it blocks a thread that may block.
    tokio::task::block_in_place(run).unwrap();
}

async fn play(engine: &dyn Engine, model: &mut BTreeSet<String>, step: Step) {
    match step {
        Step::Put(name, size) => {
            engine.put_small(&key(&name), Bytes::from(vec![0; size]), false).await.unwrap();
            model.insert(name);
        }
        Step::Delete(name) => {
            engine.delete(&key(&name)).await.unwrap();
            model.remove(&name);
        }
        Step::List { prefix, after, limit } => {
            let listed = engine.list(&prefix, after.as_deref().map(key).as_ref(), limit).await.unwrap();
            let after = after.as_deref().unwrap_or("");
            let wanted = |name: &&String| name.starts_with(&prefix) && name.as_str() > after;
            let expected: Vec<&String> = model.iter().filter(wanted).take(limit).collect();
            let listed: Vec<String> = listed.into_iter().map(|listed| listed.key.to_string()).collect();
            assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
        }
    }
}
