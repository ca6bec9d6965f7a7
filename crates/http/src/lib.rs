//! The OCI API, health, metrics and the server they run in.
