//! The schema of the registry's metadata.
//!
//! Conventions: digests are one algorithm byte and the raw hash; ids are UUIDv7 bytes; times are milliseconds
//! since the Unix epoch; JSON is opaque text; every reference is a foreign key, so that a batch that would
//! leave something dangling is refused by the engine itself. A repository that is deleted and made again has a
//! new id, and whatever names the old id is refused.
//!
//! The tables of the engine contract itself (`guard`, `operation`, `schema_version`) stand in [`crate::base`].
//! A migration, once released, never changes; the schema changes by adding one. While a fleet is upgraded programs of two
//! versions run on one database, so a change that is not an addition is made in two: one release expands (a table, a
//! column with a default, an index; [`Migration::beside`] the programs before it), and a later one, whose programs do not
//! use what was there before, contracts.

use crate::Migration;

mod identities;

/// All migrations, oldest first.
pub const MIGRATIONS: &[Migration] = &[
    Migration::new(1, "registry", REGISTRY_SQLITE),
    Migration::new(2, "referrers by type", REFERRERS_BY_TYPE_SQLITE),
    Migration::new(3, "what may be collected", COLLECTION_SQLITE),
    Migration::new(4, "what nothing holds", UNTAGGED_SQLITE),
    Migration::new(5, "what scrub found", SCRUB_SQLITE),
    Migration::new(6, "who began a scrub", BY_HAND_SQLITE),
    Migration::new(7, "who else names it", NAMED_BY_SQLITE),
    Migration::new(8, "running processes", INSTANCES_SQLITE),
    Migration::new(9, "who may do what", identities::SQLITE).beside(8),
    Migration::new(10, "tokens by their end", identities::ENDS_SQLITE).beside(8),
    Migration::new(11, "who vouches for users", identities::SOURCES_SQLITE).beside(8),
    Migration::new(12, "what tokens came of", identities::ORIGINS_SQLITE).beside(8),
    Migration::new(13, "whom a source means", identities::SUBJECTS_SQLITE).beside(8),
];

// untagged_since: when something last let the manifest go (a push without a tag, a tag that moved, an index or a
// subject that was deleted). A hint: whether anything holds it is decided by the references themselves.
const UNTAGGED_SQLITE: &[&str] = &[
    "ALTER TABLE manifest ADD COLUMN untagged_since BIGINT",
    // Nobody knows when those that are without a tag now lost it: their time begins today.
    "UPDATE manifest SET untagged_since = (SELECT applied_at FROM schema_version WHERE version = 4) WHERE NOT EXISTS \
        (SELECT 1 FROM tag t WHERE t.repository_id = manifest.repository_id AND t.digest = manifest.digest)",
    "CREATE INDEX manifest_untagged ON manifest (untagged_since, repository_id, digest) WHERE untagged_since IS NOT NULL",
];

// A page of one artifact type costs what it shows, however many referrers of other types a subject has.
const REFERRERS_BY_TYPE_SQLITE: &[&str] =
    &["CREATE INDEX referrer_by_type ON referrer (repository_id, subject, artifact_type, digest)"];

// Where the collector looks, so that it costs what there is to collect. unused_since: since when no manifest of the
// repository names the blob; NULL while one does. blob.doomed_at: since when no repository links it. Both are hints:
// what is collected is decided by the references themselves.
const COLLECTION_SQLITE: &[&str] = &[
    "ALTER TABLE repository_blob ADD COLUMN unused_since BIGINT",
    "UPDATE repository_blob SET unused_since = touched_at WHERE NOT EXISTS (SELECT 1 FROM manifest_blob m \
        WHERE m.repository_id = repository_blob.repository_id AND m.blob = repository_blob.digest)",
    "CREATE INDEX repository_blob_unused ON repository_blob (unused_since, repository_id, digest) \
        WHERE unused_since IS NOT NULL",
    "UPDATE blob SET doomed_at = touched_at WHERE NOT EXISTS (SELECT 1 FROM repository_blob l WHERE l.digest = blob.digest)",
    "CREATE INDEX blob_doomed ON blob (doomed_at, digest) WHERE doomed_at IS NOT NULL",
];

// beat changes with every sign of life; who watched it stay the same for long enough may take what the process owns.
const INSTANCES_SQLITE: &[&str] = &[
    "CREATE TABLE instance (
        id BLOB NOT NULL PRIMARY KEY,
        address TEXT NOT NULL,
        version TEXT NOT NULL,
        region TEXT NOT NULL,
        started_at BIGINT NOT NULL,
        beat BIGINT NOT NULL,
        beat_at BIGINT NOT NULL)",
    "CREATE INDEX instance_by_beat ON instance (beat_at)",
    // Which process does a kind of background work.
    "CREATE TABLE lease (
        name TEXT NOT NULL PRIMARY KEY,
        owner BLOB NOT NULL REFERENCES instance (id),
        taken_at BIGINT NOT NULL)",
    "CREATE INDEX lease_by_owner ON lease (owner)",
];

// Which manifests name a blob, and which indexes a manifest: with the namer in the index, the question is answered from
// it alone. Without, SQLite preferred the primary key, and read all that the manifests of the repository name.
const NAMED_BY_SQLITE: &[&str] = &[
    "DROP INDEX manifest_blob_by_blob",
    "CREATE INDEX manifest_blob_by_blob ON manifest_blob (repository_id, blob, manifest)",
    "DROP INDEX manifest_child_by_child",
    "CREATE INDEX manifest_child_by_child ON manifest_child (repository_id, child, manifest)",
];

// Whether somebody asked for the run; else it began because it was due.
const BY_HAND_SQLITE: &[&str] = &["ALTER TABLE scrub ADD COLUMN by_hand BIGINT NOT NULL DEFAULT 0"];

// What scrub knows of a location. An object in `damage` is named by no placement, but for kind 3. kind: 0 missing,
// 1 of another size, 2 of another digest, 3 cannot be read, 4 orphan, 5 orphan handed to the reaper. digest: NULL for an
// orphan whose key does not tell. No reference to blob: an orphan's may never have been known.
// scrub is the last run of each location: rate NULL is the configured one, after the last key that was settled, ended_at
// NULL while it runs, the hash of an object under way in hashing_*. step changes with every commit of the run.
const SCRUB_SQLITE: &[&str] = &[
    "CREATE TABLE damage (
        location_id BLOB NOT NULL REFERENCES location (id),
        object_key TEXT NOT NULL,
        digest BLOB,
        kind BIGINT NOT NULL,
        found_at BIGINT NOT NULL,
        PRIMARY KEY (location_id, object_key))",
    "CREATE INDEX damage_by_kind ON damage (location_id, kind, found_at, object_key)",
    "CREATE INDEX damage_by_digest ON damage (digest, location_id)",
    "CREATE TABLE scrub (
        location_id BLOB NOT NULL PRIMARY KEY REFERENCES location (id),
        run BLOB NOT NULL,
        step BIGINT NOT NULL,
        deep BIGINT NOT NULL,
        rate BIGINT,
        phase BIGINT NOT NULL,
        after TEXT NOT NULL,
        hashing_key TEXT,
        hashing_again BIGINT NOT NULL,
        hashing_state BLOB,
        started_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        ended_at BIGINT,
        stopped BIGINT NOT NULL,
        objects BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        missing BIGINT NOT NULL,
        wrong_size BIGINT NOT NULL,
        wrong_hash BIGINT NOT NULL,
        unreadable BIGINT NOT NULL,
        orphans BIGINT NOT NULL,
        repaired BIGINT NOT NULL)",
];

const REGISTRY_SQLITE: &[&str] = &[
    // Users and organizations share one space of names. kind: 0 system, 1 user, 2 organization.
    "CREATE TABLE namespace (
        id BLOB NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        kind BIGINT NOT NULL,
        created_at BIGINT NOT NULL)",
    // name as shown: one-component names belong to the namespace `library`.
    "CREATE TABLE repository (
        id BLOB NOT NULL PRIMARY KEY,
        namespace_id BLOB NOT NULL REFERENCES namespace (id),
        name TEXT NOT NULL UNIQUE,
        created_at BIGINT NOT NULL)",
    "CREATE INDEX repository_by_namespace ON repository (namespace_id)",
    // touched_at: last time a push relied on the bytes being here. doomed_at: the collector's mark.
    "CREATE TABLE blob (
        digest BLOB NOT NULL PRIMARY KEY,
        size BIGINT NOT NULL,
        touched_at BIGINT NOT NULL,
        doomed_at BIGINT)",
    // A repository's link to a blob: what a pull through this repository may read.
    "CREATE TABLE repository_blob (
        repository_id BLOB NOT NULL REFERENCES repository (id),
        digest BLOB NOT NULL REFERENCES blob (digest),
        size BIGINT NOT NULL,
        touched_at BIGINT NOT NULL,
        PRIMARY KEY (repository_id, digest))",
    "CREATE INDEX repository_blob_by_digest ON repository_blob (digest, repository_id)",
    // encoding: 0 as is, 1 zstd, 2 kept as a blob of the same digest (bytes is NULL).
    "CREATE TABLE manifest_content (
        digest BLOB NOT NULL PRIMARY KEY,
        size BIGINT NOT NULL,
        encoding BIGINT NOT NULL,
        bytes BLOB)",
    "CREATE TABLE manifest (
        repository_id BLOB NOT NULL REFERENCES repository (id),
        digest BLOB NOT NULL REFERENCES manifest_content (digest),
        media_type TEXT NOT NULL,
        size BIGINT NOT NULL,
        subject BLOB,
        pushed_at BIGINT NOT NULL,
        PRIMARY KEY (repository_id, digest))",
    "CREATE INDEX manifest_by_digest ON manifest (digest)",
    "CREATE TABLE manifest_blob (
        repository_id BLOB NOT NULL,
        manifest BLOB NOT NULL,
        blob BLOB NOT NULL,
        PRIMARY KEY (repository_id, manifest, blob),
        FOREIGN KEY (repository_id, manifest) REFERENCES manifest (repository_id, digest) ON DELETE CASCADE,
        FOREIGN KEY (repository_id, blob) REFERENCES repository_blob (repository_id, digest))",
    "CREATE INDEX manifest_blob_by_blob ON manifest_blob (repository_id, blob)",
    "CREATE TABLE manifest_child (
        repository_id BLOB NOT NULL,
        manifest BLOB NOT NULL,
        child BLOB NOT NULL,
        PRIMARY KEY (repository_id, manifest, child),
        FOREIGN KEY (repository_id, manifest) REFERENCES manifest (repository_id, digest) ON DELETE CASCADE,
        FOREIGN KEY (repository_id, child) REFERENCES manifest (repository_id, digest))",
    "CREATE INDEX manifest_child_by_child ON manifest_child (repository_id, child)",
    // The subject may be absent: it is no foreign key.
    "CREATE TABLE referrer (
        repository_id BLOB NOT NULL,
        subject BLOB NOT NULL,
        digest BLOB NOT NULL,
        artifact_type TEXT NOT NULL,
        annotations TEXT NOT NULL,
        PRIMARY KEY (repository_id, subject, digest),
        FOREIGN KEY (repository_id, digest) REFERENCES manifest (repository_id, digest) ON DELETE CASCADE)",
    "CREATE INDEX referrer_by_digest ON referrer (repository_id, digest)",
    "CREATE TABLE tag (
        repository_id BLOB NOT NULL,
        name TEXT NOT NULL,
        digest BLOB NOT NULL,
        version BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (repository_id, name),
        FOREIGN KEY (repository_id, digest) REFERENCES manifest (repository_id, digest))",
    "CREATE INDEX tag_by_digest ON tag (repository_id, digest)",
    // Append-only: every move of a tag; digest NULL is its deletion.
    "CREATE TABLE tag_history (
        repository_id BLOB NOT NULL REFERENCES repository (id),
        name TEXT NOT NULL,
        version BIGINT NOT NULL,
        digest BLOB,
        at BIGINT NOT NULL,
        PRIMARY KEY (repository_id, name, version))",
    // A configured instance of a storage engine. replica: 0 when all instances reach it, else the one that does.
    "CREATE TABLE location (
        id BLOB NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        replica BIGINT NOT NULL,
        created_at BIGINT NOT NULL)",
    // Where the bytes of a blob are: authoritative.
    "CREATE TABLE placement (
        digest BLOB NOT NULL REFERENCES blob (digest),
        location_id BLOB NOT NULL REFERENCES location (id),
        object_key TEXT NOT NULL,
        size BIGINT NOT NULL,
        verified_at BIGINT NOT NULL,
        PRIMARY KEY (digest, location_id))",
    "CREATE INDEX placement_by_location ON placement (location_id, object_key)",
    // Copies still to be made: only the queue, the truth is policies minus placements.
    "CREATE TABLE owed (
        location_id BLOB NOT NULL REFERENCES location (id),
        digest BLOB NOT NULL REFERENCES blob (digest),
        attempts BIGINT NOT NULL,
        not_before BIGINT NOT NULL,
        owner BLOB,
        beat BIGINT NOT NULL,
        PRIMARY KEY (location_id, digest))",
    "CREATE INDEX owed_by_time ON owed (location_id, not_before)",
    "CREATE INDEX owed_by_digest ON owed (digest)",
    // Objects that nothing names any more and that are still to be deleted.
    "CREATE TABLE reap (
        location_id BLOB NOT NULL REFERENCES location (id),
        object_key TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        not_before BIGINT NOT NULL,
        PRIMARY KEY (location_id, object_key))",
    "CREATE INDEX reap_by_time ON reap (location_id, not_before)",
    // An upload session that has received bytes. parts: JSON, in order. closed_at: finished or cancelled.
    "CREATE TABLE upload (
        id BLOB NOT NULL PRIMARY KEY,
        repository TEXT NOT NULL,
        location_id BLOB NOT NULL REFERENCES location (id),
        epoch BIGINT NOT NULL,
        received BIGINT NOT NULL,
        hash_state BLOB NOT NULL,
        parts TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        closed_at BIGINT)",
    "CREATE INDEX upload_open ON upload (updated_at) WHERE closed_at IS NULL",
    "CREATE INDEX upload_closed ON upload (closed_at) WHERE closed_at IS NOT NULL",
    // What the whole installation agrees on, such as the key that signs upload sessions.
    "CREATE TABLE setting (
        name TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL,
        updated_at BIGINT NOT NULL)",
];
