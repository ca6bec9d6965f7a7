//! TLS of the server: from the settings, and an authority that all instances share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roadstead_http::{Authority, ClientAuth, Oldest, Source, Tls, TlsError, TlsOptions};
use roadstead_metadata::records::setting;
use roadstead_metadata::{Batch, Millis, QueryError, Sql, commit_once};
use roadstead_registry::{Clock, SystemClock};
use uuid::Uuid;

use super::ComposeError;
use crate::config::tls::{self, Minimum, Spoken};

/// The setting that holds the authority, its private key included.
const AUTHORITY: &str = "tls_authority";
/// How long its first start may be in doubt.
const WITHIN: Duration = Duration::from_secs(10);

/// TLS as the settings want it.
pub(super) async fn open(
    spoken: Option<&Spoken>,
    sql: &dyn Sql,
    clock: Arc<dyn Clock>,
) -> Result<Option<Tls>, ComposeError> {
    let Some(spoken) = spoken else { return Ok(None) };
    let source = match &spoken.source {
        tls::Source::Files { certificate, key } => files(certificate, key),
        tls::Source::Made(names) => made(shared_authority(sql, &*clock).await?, names),
    };
    Ok(Some(Tls::open(options(spoken, source), clock).await?))
}

/// What is odd about the files that the settings name, or why they cannot be used. Nothing is kept.
pub(crate) fn check(spoken: &Spoken) -> Result<Vec<String>, TlsError> {
    let clock = SystemClock::new();
    let source = match &spoken.source {
        tls::Source::Files { certificate, key } => files(certificate, key),
        tls::Source::Made(names) => made(Authority::read(&Authority::make(clock.now())?)?, names),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(Tls::check(&options(spoken, source), &clock)),
        Err(error) => Ok(vec![format!("the files of http.tls were not looked at: {error}")]),
    }
}

fn files(certificate: &Path, key: &Path) -> Source {
    Source::Files { certificate: certificate.to_owned(), key: key.to_owned() }
}

fn made(authority: Authority, names: &[String]) -> Source {
    Source::Made { authority: Box::new(authority), names: names.to_vec() }
}

fn options(spoken: &Spoken, source: Source) -> TlsOptions {
    TlsOptions {
        source,
        oldest: match spoken.minimum {
            Minimum::Tls12 => Oldest::Tls12,
            Minimum::Tls13 => Oldest::Tls13,
        },
        clients: ClientAuth { authorities: spoken.client_authorities.clone(), optional: spoken.client_optional },
        strict: spoken.strict,
        host: spoken.host.clone(),
    }
}

/// The authority that the first start of all made. Of several that start at once one is first, and all read what it wrote.
async fn shared_authority(sql: &dyn Sql, clock: &dyn Clock) -> Result<Authority, ComposeError> {
    let kept = match setting::get(sql, AUTHORITY).await? {
        Some(kept) => kept,
        None => keep(sql, &Authority::make(clock.now())?, clock.now()).await?,
    };
    Ok(Authority::read(&kept)?)
}

/// Keeps an authority unless there is one, and answers the one that there is.
async fn keep(sql: &dyn Sql, made: &str, now: Millis) -> Result<String, QueryError> {
    let mut batch = Batch::new(Uuid::now_v7(), now);
    batch.push(setting::add(AUTHORITY, made, now));
    // What failed is not told with what it wrote: that has the key in it.
    commit_once(sql, batch, WITHIN)
        .await
        .map_err(|_| QueryError::Unavailable("the certificate authority could not be kept".into()))?;
    let kept = setting::get(sql, AUTHORITY).await?;
    kept.ok_or_else(|| QueryError::Failed(format!("setting {AUTHORITY} vanished")))
}

#[cfg(test)]
mod tests {
    use futures::future::try_join_all;
    use roadstead_metadata::{Memory, migrate, schema};

    use super::*;

    #[tokio::test]
    async fn of_ten_that_start_at_once_one_makes_the_authority_of_all() -> Result<(), ComposeError> {
        let (sql, clock) = (Memory::open()?, SystemClock::new());
        migrate(&sql, schema::MIGRATIONS, clock.now()).await?;
        // Each has found none, and made one.
        let made = (0..10).map(|_| Authority::make(clock.now())).collect::<Result<Vec<_>, _>>()?;
        let first = keep(&sql, &made[0], clock.now()).await?;
        // The first serves already when the others come to write.
        let kept = try_join_all(made.iter().map(|made| keep(&sql, made, clock.now()))).await?;
        assert!(first == made[0] && kept.iter().all(|one| *one == first));
        let shared = shared_authority(&sql, &clock).await?;
        assert_eq!(shared.fingerprint(), Authority::read(&kept[0])?.fingerprint());
        Ok(())
    }
}
