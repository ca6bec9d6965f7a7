//! Real servers, clients and ledgers for tests.
