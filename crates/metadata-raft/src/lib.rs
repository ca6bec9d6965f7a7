//! Metadata in an embedded, replicated SQLite (hiqlite).
