//! What the servers keep their data in: a directory, or a bucket of MinIO with PostgreSQL beside it.
//!
//! MinIO and not the small S3 server of the tests, which lacks what the peer needs (`ListMultipartUploads`). Each run has
//! a fresh one, so that nothing of the run before is still being tidied up.

use std::path::Path;

use roadstead_testkit::servers::{Database, Postgres, S3Server, minio_below};

use crate::stage::Failure;

/// Where one server keeps what it is given.
pub(super) enum Stores {
    /// Its own directory.
    Directory,
    /// A bucket, and a database for who needs one.
    Bucket { s3: Box<S3Server>, database: Option<(Postgres, Database)> },
}

impl Stores {
    /// An empty bucket whose server has its data below `directory`.
    pub(super) fn bucket(directory: &Path, database: bool) -> Result<Self, Failure> {
        let s3 =
            minio_below(directory).ok_or_else(|| Failure::new("MinIO is not installed: cargo xtask servers list"))?;
        let lacking = || Failure::new("PostgreSQL is not installed: apt-get install postgresql");
        let started = || {
            // As an operator would run it: what it acknowledges is on the disk.
            let server = Postgres::start(true).ok_or_else(lacking)?;
            let database = server.database();
            Ok::<_, Failure>((server, database))
        };
        let database = if database { Some(started()?) } else { None };
        Ok(Self::Bucket { s3: Box::new(s3), database })
    }

    /// What tells our server of them.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let Self::Bucket { s3, database } = self else { return Vec::new() };
        let mut variables = s3.variables();
        variables.push(("ROADSTEAD_STORAGE__REDIRECT__DISABLE", "true".to_owned()));
        if let Some((_, database)) = database {
            variables.push(("ROADSTEAD_METADATA__POSTGRES__URL", database.url.clone()));
        }
        variables
    }

    /// The part of the peer's configuration that tells it of them; `data` is its directory. It may remember what it knows
    /// of blobs where to ask is dear, as in the configuration that Debian ships.
    pub(super) fn of_the_peer(&self, data: &Path) -> String {
        match self {
            Self::Directory => format!("  filesystem:\n    rootdirectory: {}\n", data.display()),
            Self::Bucket { s3, .. } => format!(
                "  s3:\n    region: us-east-1\n    regionendpoint: {}\n    bucket: {}\n    accesskey: {}\n    \
                 secretkey: {}\n    secure: false\n    v4auth: true\n  redirect:\n    disable: true\n  cache:\n    \
                 blobdescriptor: inmemory\n",
                s3.endpoint, s3.bucket, s3.access_key, s3.secret_key
            ),
        }
    }
}
