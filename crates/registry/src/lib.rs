//! The registry's use cases: no HTTP, no concrete engine.
