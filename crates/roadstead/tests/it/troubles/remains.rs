//! What is left when everything has ended: what was acknowledged, and what the workers clear away when its time comes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_metadata_postgres::{Options, PostgresSql};
use roadstead_storage_cloud::S3Options;
use roadstead_testkit::Server;
use roadstead_workers::{PurgeUploads, Reaper, Scrub, SweepTemporary, Worker};

use super::stand::Stand;
use crate::s3::{self, in_days_to_come, options};

/// A server over what remains.
pub(super) struct Remains {
    pub(super) server: Server,
    pub(super) told: String,
    /// It goes on as long as it is looked at.
    _stand: (roadstead_testkit::servers::S3Server, roadstead_testkit::servers::Postgres),
}

/// Stops both instances and does what the workers of the next ones would do in the days to come; then bucket and database
/// hold what was acknowledged and nothing else.
pub(super) fn clean(stand: Stand) -> Remains {
    let Stand { bucket, postgres, database, servers, launch, .. } = stand;
    let postgres = postgres.into_inner().unwrap();
    for server in servers {
        let (status, _) = server.terminate();
        assert_eq!(status.code(), Some(0));
    }
    let begin = Instant::now();
    let rows = |sql: &str| postgres.sql(database.name(), sql);
    let named =
        || -> BTreeSet<String> { rows("SELECT object_key FROM placement").lines().map(str::to_owned).collect() };
    let left = || -> BTreeSet<String> { s3::content(&bucket).into_iter().collect() };
    let (names, objects) = (named(), left());
    let missing: Vec<_> = names.difference(&objects).collect();
    assert!(missing.is_empty(), "named and not there: {missing:?}");
    let strangers = objects.difference(&names).count();
    let open = rows("SELECT count(*) FROM upload WHERE closed_at IS NULL");
    let damage = "SELECT count(*) FROM damage WHERE kind < 4";
    assert_eq!(rows(damage).trim(), "0", "trouble on the way is no damage");

    let options = options(&bucket);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let waiting = "SELECT (SELECT count(*) FROM damage) + (SELECT count(*) FROM reap) + (SELECT count(*) FROM upload)";
    runtime.block_on(age(&options, &database.url, || left() == named() && rows(waiting).trim() == "0"));
    let (names, objects) = (named(), left());
    assert_eq!(objects.symmetric_difference(&names).collect::<Vec<_>>(), Vec::<&String>::new());
    for (table, why) in [("upload", "sessions"), ("reap", "objects to be deleted"), ("damage", "damage")] {
        assert_eq!(rows(&format!("SELECT count(*) FROM {table}")).trim(), "0", "{why} are left");
    }
    let (kept, parts) = (objects.len(), bucket.unfinished().len());
    let told = format!(
        "{kept} objects left, all of them named; {strangers} others, {} open uploads and {parts} unfinished parts before, \
         cleared away in {:.1} s",
        open.trim(),
        begin.elapsed().as_secs_f32(),
    );
    Remains { server: launch.start(), told, _stand: (bucket, postgres) }
}

/// Does the background work of some days, until there is no more to do.
async fn age(bucket: &S3Options, url: &str, clean: impl Fn() -> bool) {
    let day = Duration::from_secs(24 * 3_600);
    let metadata = Arc::new(PostgresSql::open(Options::new(url)).await.unwrap());
    let (registry, clock) = in_days_to_come(metadata.clone(), bucket).await;
    let purge = PurgeUploads::new(registry.clone(), day).with_period(Duration::ZERO);
    let scrub = Scrub::new(registry.clone());
    let reaper = Reaper::new(registry.clone());
    let sweep = SweepTemporary::new(registry.clone());
    for _ in 0..8 {
        // The first look at the clock trusts it only at the second.
        for _ in 0..2 {
            while purge.step().await.unwrap().done > 0 {}
        }
        scrub.begin(false, None).await.unwrap();
        for _ in 0..1_000 {
            let step = scrub.step().await.unwrap();
            if step.done == 0 && !step.more {
                break;
            }
        }
        scrub.let_orphans_go().await.unwrap();
        while reaper.step().await.unwrap().done > 0 {}
        sweep.step().await.unwrap();
        registry.settled().await;
        clock.put_forward(2 * day);
        if clean() {
            break;
        }
    }
    metadata.shutdown();
}
