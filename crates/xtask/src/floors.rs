//! A crate depends only on crates of lower floors: never upward, never on a sibling.
//!
//! The table below is the whole rule. Tests may use `roadstead-testkit` (a development dependency on it is allowed
//! everywhere); otherwise development dependencies obey the same table, so that a crate is tested without compiling
//! what stands above it.

use cargo_metadata::DependencyKind;

use crate::stage::{Context, Failure, Outcome};

/// Floor and name of every crate of the workspace. A crate that is not here is an error, and so is a row whose crate
/// is gone, unless that crate is still to come.
const FLOORS: &[(u8, &str)] = &[
    (0, "roadstead-oci"),
    (1, "roadstead-storage"),
    (1, "roadstead-metadata"),
    (1, "roadstead-upstream"),
    (2, "roadstead-storage-cloud"),
    (2, "roadstead-metadata-raft"),
    (2, "roadstead-metadata-postgres"),
    (2, "roadstead-registry"),
    (3, "roadstead-sources"),
    (3, "roadstead-workers"),
    (4, "roadstead-http"),
    (5, "roadstead"),
    (TESTS, TESTKIT),
    (GATE, "xtask"),
];

/// Above every floor: never part of the product.
const TESTS: u8 = 100;
/// The gate stands on the testkit.
const GATE: u8 = 101;
const TESTKIT: &str = "roadstead-testkit";

/// A dependency between two members of the workspace.
struct Edge {
    from: String,
    to: String,
    development: bool,
}

pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    let members: Vec<&str> = context.metadata.workspace_packages().iter().map(|p| p.name.as_str()).collect();
    let faults = faults(&members, &edges(context));
    if faults.is_empty() {
        return Ok(Outcome::Passed(format!("{} crates", members.len())));
    }
    faults.iter().for_each(|fault| println!("{fault}"));
    Err(Failure::new(format!("{} dependencies break the floors", faults.len())))
}

fn edges(context: &Context) -> Vec<Edge> {
    let packages = context.metadata.workspace_packages();
    let edges = packages.iter().flat_map(|package| {
        package.dependencies.iter().filter(|dependency| dependency.path.is_some()).map(|dependency| Edge {
            from: package.name.to_string(),
            to: dependency.name.clone(),
            development: dependency.kind == DependencyKind::Development,
        })
    });
    edges.collect()
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, known)| *known == name).map(|(floor, _)| *floor)
}

/// Everything that breaks the rule, in words.
fn faults(members: &[&str], edges: &[Edge]) -> Vec<String> {
    let unknown = members
        .iter()
        .filter(|name| floor(name).is_none())
        .map(|name| format!("{name} has no floor: add it to the table in crates/xtask/src/floors.rs"));
    let broken = edges.iter().filter_map(|edge| {
        let (from, to) = (floor(&edge.from)?, floor(&edge.to)?);
        let allowed = to < from || (edge.development && edge.to == TESTKIT);
        (!allowed).then(|| match from == to {
            true => format!("{} depends on its sibling {} (floor {from})", edge.from, edge.to),
            false => format!("{} (floor {from}) depends upward on {} (floor {to})", edge.from, edge.to),
        })
    });
    unknown.chain(broken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, development: bool) -> Vec<Edge> {
        vec![Edge { from: from.to_owned(), to: to.to_owned(), development }]
    }

    #[test]
    fn downward_is_allowed() {
        assert!(faults(&[], &edge("roadstead-http", "roadstead-registry", false)).is_empty());
    }

    #[test]
    fn upward_and_sideways_are_not() {
        assert!(faults(&[], &edge("roadstead-oci", "roadstead-http", false))[0].contains("upward"));
        assert!(faults(&[], &edge("roadstead-storage", "roadstead-metadata", false))[0].contains("sibling"));
        assert!(faults(&[], &edge("roadstead-registry", "roadstead-workers", true))[0].contains("upward"));
    }

    #[test]
    fn the_testkit_serves_tests_only() {
        assert!(faults(&[], &edge("roadstead-oci", TESTKIT, true)).is_empty());
        assert_eq!(faults(&[], &edge("roadstead-oci", TESTKIT, false)).len(), 1);
    }

    #[test]
    fn a_crate_without_a_floor_is_named() {
        assert!(faults(&["roadstead-attic"], &[])[0].starts_with("roadstead-attic has no floor"));
    }
}
