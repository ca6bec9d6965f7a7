//! The parsers of the protocol, judged from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod digest;
mod error;
mod hasher;
mod manifest;
mod manifest_refused;
mod names;
mod queries;
mod ranges;
mod route;
mod route_refused;

use proptest::prelude::*;
use roadstead_oci::{Algorithm, Digest, RepositoryName, Tag};

/// Any digest.
fn digests() -> impl Strategy<Value = Digest> {
    let algorithm = prop_oneof![Just(Algorithm::Sha256), Just(Algorithm::Sha512)];
    (algorithm, any::<u64>()).prop_map(|(algorithm, seed)| Digest::of(algorithm, &seed.to_be_bytes()))
}

/// Names of the spec's grammar, often with components that are words of the API.
fn names() -> impl Strategy<Value = RepositoryName> {
    let word = prop::sample::select(vec!["blobs", "manifests", "tags", "uploads", "referrers", "list", "v2"]);
    let component = prop_oneof![word.prop_map(str::to_owned), "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,6}){0,3}"];
    prop::collection::vec(component, 1..6).prop_map(|components| components.join("/").parse().unwrap())
}

/// Any tag.
fn tags() -> impl Strategy<Value = Tag> {
    "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}".prop_map(|tag| tag.parse().unwrap())
}

/// Text that is often nearly right: bits of the grammar, in any order.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop::sample::select(vec![
        "/",
        "//",
        "..",
        ".",
        "%2F",
        "%2e",
        "%00",
        "%",
        "%zz",
        ":",
        "-",
        "_",
        "=",
        "&",
        "a",
        "A",
        "0",
        "9",
        "v2",
        "blobs",
        "uploads",
        "manifests",
        "tags",
        "list",
        "referrers",
        "_catalog",
        "sha256:",
        "sha512:",
        "latest",
        "\u{e9}",
        "\0",
        " ",
        "bytes",
        "18446744073709551616",
        "n",
        "last",
        "+",
    ]);
    prop::collection::vec(scrap, 0..12).prop_map(|scraps| scraps.concat())
}
