//! The store of blobs: opened, and made sure to be this installation's.

use std::path::Path;

use roadstead_metadata::records::location;
use roadstead_metadata::{Millis, Sql};
use roadstead_metadata_raft::memory;
use roadstead_storage::{Engine, IDENTITY_KEY, Identity};
use roadstead_storage_cloud::{Encryption, S3, S3Options, Secret};
use uuid::Uuid;

use super::{ComposeError, LOCATION, metadata};
use crate::config::Settings;
use crate::config::s3::Bucket;
use crate::config::settings::Blobs;

/// Refuses to make new metadata beside blobs that have some: an empty directory is then what an unmounted filesystem
/// leaves. Nothing is written before that is known.
pub(super) async fn check_mounted(
    settings: &Settings,
    bucket: Option<&S3>,
    metadata: &Path,
) -> Result<(), ComposeError> {
    let claimed = async |directory: &Path| tokio::fs::try_exists(directory.join(IDENTITY_KEY)).await.unwrap_or(false);
    let blobs_claimed = match (&settings.blobs, bucket) {
        (Blobs::Filesystem(directory), _) => claimed(directory).await,
        (Blobs::S3(_), Some(bucket)) => Identity::found(bucket).await?.is_some(),
        (Blobs::S3(_), None) => false,
    };
    if blobs_claimed && !claimed(metadata).await {
        let mut entries = tokio::fs::read_dir(metadata).await;
        let first = match &mut entries {
            Ok(entries) => entries.next_entry().await.ok().flatten(),
            Err(_) => None,
        };
        // One that holds something else is refused for that.
        if first.is_none() {
            let (metadata, blobs) = (metadata.to_owned(), settings.blobs.to_string());
            return Err(ComposeError::Unmounted { metadata, blobs });
        }
    }
    Ok(())
}

pub(super) async fn open_bucket(bucket: &Bucket) -> Result<S3, roadstead_storage::Error> {
    let quarter = || memory::allowed().map(|bytes| usize::try_from(bytes / 4).unwrap_or(usize::MAX));
    let options = S3Options {
        root: bucket.root.clone(),
        endpoint: bucket.endpoint.clone(),
        credentials: bucket.keys.as_ref().map(|(access, secret)| (Secret::new(access), Secret::new(secret))),
        session_token: bucket.session_token.as_ref().map(Secret::new),
        virtual_host: bucket.virtual_host,
        skip_verify: bucket.skip_verify,
        part_size: bucket.part_size,
        memory: bucket.memory.or_else(quarter).unwrap_or(S3Options::MEMORY),
        encryption: match (bucket.encrypt, &bucket.encryption_key) {
            (false, _) => None,
            (true, None) => Some(Encryption::Store),
            (true, key) => Some(Encryption::Kms(key.clone())),
        },
        storage_class: bucket.storage_class.clone(),
        timeout: bucket.timeout,
        write_timeout: bucket.write_timeout,
        ..S3Options::new(&bucket.bucket, &bucket.region)
    };
    S3::open_bucket(&options).await
}

/// Makes an empty store ours, or checks that it is, and answers the location's permanent id: the one that metadata
/// knows; before that the one on the store, where a start that was cut short may have put it; else a new one.
///
/// Which one it is to be is settled in metadata before it is put on the store: not every object store lets one of several
/// writers win, and then instances that start at once must at least write the same.
pub(super) async fn claim(
    engine: &dyn Engine,
    sql: &dyn Sql,
    cluster: Uuid,
    now: Millis,
) -> Result<Uuid, ComposeError> {
    let known = location::all(sql).await?.into_iter().find(|location| location.name == LOCATION);
    if let Some(known) = known {
        // An empty root is now a filesystem that is not mounted.
        Identity::verify(engine, &Identity::new(cluster, known.id)).await?;
        return Ok(known.id);
    }
    let found = Identity::found(engine).await?.filter(|found| found.cluster == cluster);
    let fresh = found.map_or_else(Uuid::now_v7, |found| found.location);
    let id = metadata::drawn(sql, &format!("location:{LOCATION}"), fresh, now).await?;
    Identity::claim(engine, &Identity::new(cluster, id)).await?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use roadstead_metadata::{Memory as Metadata, migrate, schema};
    use roadstead_registry::{Clock as _, SystemClock};
    use roadstead_storage::{Faults, Faulty, Memory, Operation};

    use super::*;

    #[tokio::test]
    async fn instances_that_start_at_once_agree_where_the_store_lets_none_of_them_win() -> Result<(), ComposeError> {
        let (sql, clock, cluster) = (Metadata::open()?, SystemClock::new(), Uuid::now_v7());
        migrate(&sql, schema::MIGRATIONS, clock.now()).await?;
        let faults = Faults::new();
        let engine = Faulty::new(Memory::default(), faults.clone());
        let slow = faults.hold(Operation::PutSmall, 1);
        faults.replace(1);
        let claimed = async || claim(&engine, &sql, cluster, clock.now()).await;
        // The first found nothing, and writes when the second has written and read.
        let (first, second) = futures::join!(claimed(), async {
            slow.arrived().await;
            let second = claimed().await;
            slow.release();
            second
        });
        let (first, second) = (first?, second?);
        assert_eq!(first, second);
        assert_eq!(Identity::found(&engine).await?, Some(Identity::new(cluster, first)));
        assert_eq!(faults.pending(), 0);
        Ok(())
    }
}
