//! Why a database does not open. Each text names the way out.

use std::time::Duration;

/// A database that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options name no database.
    #[error("metadata.postgres: {0}")]
    Options(String),
    /// No server answered in time.
    #[error(
        "PostgreSQL at {hosts} does not answer ({reason}), for {} s. Start it, or correct metadata.postgres.url",
        within.as_secs()
    )]
    Unreachable {
        /// The servers asked.
        hosts: String,
        /// What the last of them said.
        reason: String,
        /// The limit.
        within: Duration,
    },
    /// A server answered that it will not have us.
    #[error(
        "PostgreSQL at {hosts} refuses: {reason}. The role and the database must exist (docs/metadata-postgres.md), and \
         its password stand in the file that metadata.postgres.password_file names"
    )]
    Refused {
        /// The servers asked.
        hosts: String,
        /// What it said.
        reason: String,
    },
    /// A server whose certificate does not say that it is the one.
    #[error(
        "PostgreSQL at {hosts} is not trusted: {reason}. sslmode=verify-full wants a certificate for the host's name as it \
         stands in metadata.postgres.url, signed by an authority in the file that sslrootcert names, or, without \
         sslrootcert, by one that the system trusts"
    )]
    Untrusted {
        /// The servers asked.
        hosts: String,
        /// What is wrong with its certificate.
        reason: String,
    },
    /// The database cannot hold all text.
    #[error(
        "the PostgreSQL database {database} has the encoding {encoding}: create it anew with ENCODING 'UTF8' \
         TEMPLATE template0"
    )]
    Encoding {
        /// The database.
        database: String,
        /// Its encoding.
        encoding: String,
    },
    /// The tables of the engine could not be made.
    #[error(
        "cannot make the first tables in PostgreSQL: {0}. The role must own the database or have CREATE on its schema public"
    )]
    Tables(String),
}
