//! Who there is and who may do what: users, organizations, teams, robots, their tokens, and grants.
//!
//! The id of a user is that of its namespace, so a user and its namespace come and go together. Deleting a namespace, a
//! team, a robot or a membership takes along what hangs on it, but for repositories, which refuse it.

/// Migration 9.
pub(super) const SQLITE: &[&str] = &[
    // visibility: 0 private, 1 public. What was there before is private: an upgrade opens nothing.
    "ALTER TABLE repository ADD COLUMN visibility BIGINT NOT NULL DEFAULT 0",
    // A tag that is there neither moves nor goes.
    "ALTER TABLE repository ADD COLUMN immutable_tags BIGINT NOT NULL DEFAULT 0",
    "CREATE INDEX repository_public ON repository (name) WHERE visibility = 1",
    "CREATE INDEX repository_in_namespace ON repository (namespace_id, name)",
    "CREATE INDEX namespace_by_kind ON namespace (kind, name)",
    // A user. password_hash: argon2id in PHC form; NULL for one who has none. password_changed_at is also the epoch of the
    // tokens made for it: those of another are refused.
    "CREATE TABLE account (
        namespace_id BLOB NOT NULL PRIMARY KEY REFERENCES namespace (id) ON DELETE CASCADE,
        password_hash TEXT,
        admin BIGINT NOT NULL,
        active BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        password_changed_at BIGINT NOT NULL)",
    "CREATE INDEX account_by_power ON account (admin, active)",
    // role: 0 member, 1 owner.
    "CREATE TABLE organization_member (
        organization_id BLOB NOT NULL REFERENCES namespace (id) ON DELETE CASCADE,
        user_id BLOB NOT NULL REFERENCES account (namespace_id) ON DELETE CASCADE,
        role BIGINT NOT NULL,
        since BIGINT NOT NULL,
        PRIMARY KEY (organization_id, user_id))",
    "CREATE INDEX organization_member_by_role ON organization_member (organization_id, role, user_id)",
    "CREATE INDEX organization_member_by_user ON organization_member (user_id, role, organization_id)",
    "CREATE TABLE team (
        id BLOB NOT NULL PRIMARY KEY,
        organization_id BLOB NOT NULL REFERENCES namespace (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        UNIQUE (organization_id, name))",
    // Who leaves the organization leaves its teams.
    "CREATE TABLE team_member (
        team_id BLOB NOT NULL REFERENCES team (id) ON DELETE CASCADE,
        user_id BLOB NOT NULL,
        organization_id BLOB NOT NULL,
        since BIGINT NOT NULL,
        PRIMARY KEY (team_id, user_id),
        FOREIGN KEY (organization_id, user_id) REFERENCES organization_member (organization_id, user_id) ON DELETE CASCADE)",
    "CREATE INDEX team_member_by_user ON team_member (user_id, team_id)",
    "CREATE INDEX team_member_by_membership ON team_member (organization_id, user_id)",
    // An account of a program, shown as namespace+name. It has no password, only tokens.
    "CREATE TABLE robot (
        id BLOB NOT NULL PRIMARY KEY,
        namespace_id BLOB NOT NULL REFERENCES namespace (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        UNIQUE (namespace_id, name))",
    // Stands in place of a password. secret: SHA-256 of what its owner was shown once. scope NULL: all that its owner may.
    "CREATE TABLE access_token (
        id BLOB NOT NULL PRIMARY KEY,
        user_id BLOB REFERENCES account (namespace_id) ON DELETE CASCADE,
        robot_id BLOB REFERENCES robot (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        secret BLOB NOT NULL,
        scope TEXT,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        CHECK ((user_id IS NULL) <> (robot_id IS NULL)))",
    "CREATE INDEX access_token_by_user ON access_token (user_id, id)",
    "CREATE INDEX access_token_by_robot ON access_token (robot_id, id)",
    // access: 1 read-only, 2 read-write, 3 admin. subject_id is the one of the three that is given, so that one index
    // answers for all. repository: its name, which never changes, so that what somebody may see is listed in its order.
    "CREATE TABLE repository_grant (
        repository_id BLOB NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
        subject_id BLOB NOT NULL,
        team_id BLOB REFERENCES team (id) ON DELETE CASCADE,
        user_id BLOB REFERENCES account (namespace_id) ON DELETE CASCADE,
        robot_id BLOB REFERENCES robot (id) ON DELETE CASCADE,
        repository TEXT NOT NULL,
        access BIGINT NOT NULL,
        granted_at BIGINT NOT NULL,
        PRIMARY KEY (repository_id, subject_id),
        CHECK (subject_id = coalesce(team_id, user_id, robot_id)))",
    "CREATE INDEX repository_grant_by_subject ON repository_grant (subject_id, repository)",
    "CREATE INDEX repository_grant_by_team ON repository_grant (team_id)",
    "CREATE INDEX repository_grant_by_user ON repository_grant (user_id)",
    "CREATE INDEX repository_grant_by_robot ON repository_grant (robot_id)",
    // The same for all repositories of a namespace, those to come included.
    "CREATE TABLE namespace_grant (
        namespace_id BLOB NOT NULL REFERENCES namespace (id) ON DELETE CASCADE,
        subject_id BLOB NOT NULL,
        team_id BLOB REFERENCES team (id) ON DELETE CASCADE,
        user_id BLOB REFERENCES account (namespace_id) ON DELETE CASCADE,
        robot_id BLOB REFERENCES robot (id) ON DELETE CASCADE,
        access BIGINT NOT NULL,
        granted_at BIGINT NOT NULL,
        PRIMARY KEY (namespace_id, subject_id),
        CHECK (subject_id = coalesce(team_id, user_id, robot_id)))",
    "CREATE INDEX namespace_grant_by_subject ON namespace_grant (subject_id, namespace_id)",
    "CREATE INDEX namespace_grant_by_team ON namespace_grant (team_id)",
    "CREATE INDEX namespace_grant_by_user ON namespace_grant (user_id)",
    "CREATE INDEX namespace_grant_by_robot ON namespace_grant (robot_id)",
    // Keys that sign short-lived tokens. A retired one is still told to those who verify, until its last token has expired.
    "CREATE TABLE signing_key (
        id BLOB NOT NULL PRIMARY KEY,
        algorithm TEXT NOT NULL,
        private_key BLOB NOT NULL,
        public_key BLOB NOT NULL,
        created_at BIGINT NOT NULL,
        not_before BIGINT NOT NULL,
        retired_at BIGINT)",
    // Exchanged once for a new short-lived token. access_token_id: with which token its owner had logged in, if with one;
    // epoch: the owner's password_changed_at then.
    "CREATE TABLE refresh_token (
        id BLOB NOT NULL PRIMARY KEY,
        user_id BLOB REFERENCES account (namespace_id) ON DELETE CASCADE,
        robot_id BLOB REFERENCES robot (id) ON DELETE CASCADE,
        access_token_id BLOB REFERENCES access_token (id) ON DELETE CASCADE,
        epoch BIGINT NOT NULL,
        secret BLOB NOT NULL,
        service TEXT NOT NULL,
        scope TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        used_at BIGINT,
        CHECK ((user_id IS NULL) <> (robot_id IS NULL)))",
    "CREATE INDEX refresh_token_by_expiry ON refresh_token (expires_at, id)",
    "CREATE INDEX refresh_token_by_user ON refresh_token (user_id)",
    "CREATE INDEX refresh_token_by_robot ON refresh_token (robot_id)",
    "CREATE INDEX refresh_token_by_access_token ON refresh_token (access_token_id)",
    // One row. Its number is raised in every batch that may change who may do what.
    "CREATE TABLE access_state (
        id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
        revision BIGINT NOT NULL)",
    "INSERT INTO access_state (id, revision) VALUES (1, 1)",
];

/// Migration 10: tokens that ended are found without a look at the others.
pub(super) const ENDS_SQLITE: &[&str] = &[
    "CREATE INDEX access_token_by_expiry ON access_token (expires_at, id) WHERE expires_at IS NOT NULL",
    "CREATE INDEX access_token_by_revocation ON access_token (revoked_at, id) WHERE revoked_at IS NOT NULL",
];

/// Migration 11: users whose passwords somebody else keeps. NULL: we do. Programs from before see a user without a
/// password, whom they let in by nothing but access tokens.
pub(super) const SOURCES_SQLITE: &[&str] = &["ALTER TABLE account ADD COLUMN source TEXT"];

/// Migration 12: with which access token another was made, and of which login a refresh token comes; NULL where older
/// programs made them.
pub(super) const ORIGINS_SQLITE: &[&str] = &[
    "ALTER TABLE access_token ADD COLUMN parent_id BLOB REFERENCES access_token (id) ON DELETE SET NULL",
    "CREATE INDEX access_token_by_parent ON access_token (parent_id)",
    // family_id: the first refresh token of the login, NULL in that one. replayed_at: when one of the family was shown
    // although it had been used, by which all of them ended.
    "ALTER TABLE refresh_token ADD COLUMN family_id BLOB",
    "ALTER TABLE refresh_token ADD COLUMN replayed_at BIGINT",
    "CREATE INDEX refresh_token_by_family ON refresh_token (family_id)",
];

/// Migration 13: what a source calls its user, beside the name, which it may give to another. NULL: it did not say so yet;
/// programs from before neither set nor look at it.
pub(super) const SUBJECTS_SQLITE: &[&str] = &["ALTER TABLE account ADD COLUMN subject TEXT"];
