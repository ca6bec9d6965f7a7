//! What no compiler checks: size and names of files, left-overs, links, numbering of decisions, patches that no longer
//! apply.
//!
//! Works on the files git knows or would add, so that it says the same in a fresh clone and in a working tree.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::capture;
use crate::stage::{Context, Failure, Outcome};

/// A room; above this the file is listed.
const LONG: usize = 400;
/// Above this it fails.
const TOO_LONG: usize = 600;

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc", "stuff"];

/// What must not stand in code, and why. Written in halves, so that this file does not find itself.
const LEFT_OVERS: &[(&str, &str)] = &[
    (concat!("todo", "!("), "a stub"),
    (concat!("unimplemented", "!("), "a stub"),
    (concat!("dbg", "!("), "left over from debugging"),
    (concat!("#[", "ignore"), "a test that does not run"),
];

/// The reasons for which a test may stand aside: another test starts it as a process of its own, or it only measures.
const ASIDE: [&str; 2] = ["= \"runs in the child process", "= \"a measurement"];

/// Paths of one person's machine, which mean nothing on another.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// Written by tools, not by hands.
const GENERATED: &[&str] = &["Cargo.lock", "LICENSE"];

pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    let files = tracked(&context.root)?;
    let mut faults = Vec::new();
    let mut long = 0;
    for file in &files {
        faults.extend(name_faults(file));
        let Ok(text) = std::fs::read_to_string(context.root.join(file)) else { continue };
        long += usize::from(report_length(file, &text, &mut faults));
        faults.extend(text_faults(file, &text));
        faults.extend(dead_links(&context.root, file, &text));
    }
    faults.extend(decision_faults(&files));
    faults.extend(crate::mutants::stale(&context.root)?);
    if faults.is_empty() {
        return Ok(Outcome::Passed(format!("{} files, {long} over {LONG} lines", files.len())));
    }
    faults.iter().for_each(|fault| println!("{fault}"));
    Err(Failure::new(format!("{} untidy places", faults.len())))
}

/// Files git tracks or would add, relative to the root, in order.
pub(crate) fn tracked(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let mut files: Vec<PathBuf> = capture(&mut git)?.lines().map(PathBuf::from).collect();
    files.sort();
    files.dedup();
    files.retain(|file| root.join(file).is_file());
    Ok(files)
}

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}

/// Lists a long file, faults a too long one; true when it is either.
fn report_length(file: &Path, text: &str, faults: &mut Vec<String>) -> bool {
    let lines = text.lines().count();
    if !is_rust(file) || lines <= LONG {
        return false;
    }
    match lines > TOO_LONG {
        true => {
            faults.push(format!("{}: {lines} lines, more than {TOO_LONG}: split it by what it holds", file.display()))
        }
        false => println!("{}: {lines} lines", file.display()),
    }
    true
}

fn name_faults(file: &Path) -> Option<String> {
    let component = |part: &std::path::Component<'_>| {
        Path::new(part.as_os_str()).file_stem().map(|s| s.to_string_lossy().into_owned())
    };
    let mut parts = file.components();
    let empty = parts.find_map(|part| component(&part).filter(|stem| EMPTY_NAMES.contains(&stem.as_str())))?;
    (is_rust(file)).then(|| format!("{}: {empty:?} does not say what is in it", file.display()))
}

/// Left-overs, machine paths, and a crate root without its head.
fn text_faults(file: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if GENERATED.iter().any(|name| file.ends_with(name)) {
        return faults;
    }
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}", file.display(), number + 1);
        let aside = ASIDE.iter().any(|reason| line.contains(reason));
        let left_over = LEFT_OVERS.iter().filter(|(needle, _)| is_rust(file) && line.contains(needle) && !aside);
        faults.extend(left_over.map(|(needle, why)| format!("{place}: {needle}: {why}")));
        let machine = MACHINE_PATHS.iter().filter(|needle| line.contains(**needle));
        faults.extend(machine.map(|needle| format!("{place}: {needle} is a path of one machine")));
    }
    if file.ends_with("src/lib.rs") && !text.starts_with("//!") {
        faults.push(format!("{}: a crate's root starts with its role (//!)", file.display()));
    }
    faults
}

/// Relative links in Markdown that lead nowhere.
fn dead_links(root: &Path, file: &Path, text: &str) -> Vec<String> {
    if file.extension().is_none_or(|extension| extension != "md") {
        return Vec::new();
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let dead = link_targets(text).into_iter().filter(|target| !root.join(folder).join(target).exists());
    dead.map(|target| format!("{}: the link to {target} leads nowhere", file.display())).collect()
}

/// Targets of `[text](target)` that are paths of this repository, without their anchor.
fn link_targets(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let paths = targets.filter_map(|target| target.split('#').next());
    paths.filter(|path| !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:")).collect()
}

/// Decisions are `docs/adr/NNNN-what.md`, numbered without a gap and without a number given twice.
fn decision_faults(files: &[PathBuf]) -> Vec<String> {
    let folder = Path::new("docs/adr");
    let names = files.iter().filter(|file| file.parent() == Some(folder) && !file.ends_with("README.md"));
    let names: Vec<String> = names.filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect();
    let expected = |index: usize| format!("{:04}-", index + 1);
    let wrong = names.iter().enumerate().filter(|(index, name)| !name.starts_with(&expected(*index)));
    wrong
        .map(|(index, name)| format!("docs/adr/{name}: expected a name that starts with {}", expected(index)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_inside() {
        assert!(name_faults(Path::new("crates/oci/src/util.rs")).is_some());
        assert!(name_faults(Path::new("crates/oci/src/helpers/mod.rs")).is_some());
        assert!(name_faults(Path::new("crates/oci/src/digest.rs")).is_none());
    }

    #[test]
    fn long_is_listed_and_too_long_is_a_fault() {
        let file = Path::new("a.rs");
        let mut faults = Vec::new();
        assert!(!report_length(file, &"x\n".repeat(400), &mut faults));
        assert!(report_length(file, &"x\n".repeat(600), &mut faults));
        assert!(faults.is_empty());
        assert!(report_length(file, &"x\n".repeat(601), &mut faults));
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn left_overs_are_found_with_their_line() {
        for (needle, _) in LEFT_OVERS {
            let text = format!("fn f() {{\n    {needle}\n}}\n");
            assert!(text_faults(Path::new("a.rs"), &text)[0].starts_with("a.rs:2: "));
            assert!(text_faults(Path::new("a.md"), &text).is_empty());
        }
        assert_eq!(text_faults(Path::new("a.md"), &format!("see {}here", MACHINE_PATHS[0])).len(), 1);
        assert_eq!(text_faults(Path::new("crates/oci/src/lib.rs"), "mod digest;\n").len(), 1);
    }

    #[test]
    fn only_a_child_process_of_a_test_may_stand_aside() {
        let ignored = |reason: &str| format!("{}{reason}]", LEFT_OVERS[3].0);
        assert_eq!(text_faults(Path::new("a.rs"), &ignored(" = \"slow\"")).len(), 1);
        assert!(text_faults(Path::new("a.rs"), &ignored(&format!(" {}es of the crash tests\"", ASIDE[0]))).is_empty());
    }

    #[test]
    fn links_of_the_repository_are_followed() {
        let text = "[a](docs/a.md#part) [b](https://example.org) [c](#here) [d](b.md)";
        assert_eq!(link_targets(text), ["docs/a.md", "b.md"]);
        assert_eq!(dead_links(Path::new("/nonexistent"), Path::new("README.md"), text).len(), 2);
        assert!(dead_links(Path::new("/nonexistent"), Path::new("a.rs"), text).is_empty());
    }

    #[test]
    fn decisions_are_numbered_without_gaps() {
        let paths = |names: &[&str]| names.iter().map(|n| Path::new("docs/adr").join(n)).collect::<Vec<_>>();
        assert!(decision_faults(&paths(&["0001-a.md", "0002-b.md", "README.md"])).is_empty());
        assert_eq!(decision_faults(&paths(&["0001-a.md", "0003-b.md"])).len(), 1);
        assert_eq!(decision_faults(&paths(&["0001-a.md", "0001-b.md"])).len(), 1);
    }
}
