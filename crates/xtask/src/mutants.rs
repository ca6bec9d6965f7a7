//! Patches that break an invariant on purpose; a test must go red for each.
//!
//! `mutants/*.patch` are unified diffs under two header lines, `# invariant:` and `# test:`; `mutants/README.md` says
//! how to write one. Before any of them the tests are run on the tree as it is, where they must pass: a test that is red
//! anyway would call every patch killed. Each patch is then applied to a copy of the tree, built, and its test command run. *killed* is what it should
//! be; *survived* means that no test guards the line; *broken* that the patch no longer applies or compiles, which
//! proves nothing and fails too.
//!
//! The copy lives in the target directory and shares it: third-party crates are not built again.

mod patch;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use self::patch::Patch;
use crate::process::{capture, last_lines, output, unlike_a_build};
use crate::stage::{Context, Failure, Outcome};
use crate::tidy::tracked;

/// Seconds to build in: a cold build of what a crate stands on, on a busy machine.
const BUILD: &str = "1200";
/// Seconds to test in, many times what any of them takes. A test that a patch makes hang has noticed it too.
const TEST: &str = "120";
/// What `timeout` answers when the time is over.
const TIMED_OUT: i32 = 124;

/// All of them take an hour. The gate takes so many, others for each commit; `cargo xtask mutants` takes all.
pub(crate) const TAKEN_BY_THE_GATE: usize = 16;

/// What became of a patch.
enum Fate {
    Killed,
    Survived,
    Broken(String),
}

pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    let mut patches = read_all(&context.root.join("mutants"))?;
    if let Some(unknown) = context.mutants.iter().find(|name| !patches.iter().any(|patch| patch.name == **name)) {
        return Err(Failure::new(format!("no patch named {unknown:?} in mutants/")));
    }
    patches.retain(|patch| context.mutants.is_empty() || context.mutants.contains(&patch.name));
    if let Some(count) = context.mutants_taken {
        let commit = capture(Command::new("git").current_dir(&context.root).args(["rev-parse", "HEAD"]))?;
        take(&mut patches, count, &commit);
    }
    let tree = context.target.join("mutants");
    mirror(&context.root, &tree)?;
    control(context, &tree, &patches)?;
    let mut alive = 0;
    for patch in &patches {
        let started = Instant::now();
        let fate = try_one(context, &tree, patch)?;
        let word = match &fate {
            Fate::Killed => "killed".to_owned(),
            Fate::Survived => format!("SURVIVED `{}`", patch.test),
            Fate::Broken(why) => format!("BROKEN: {why}"),
        };
        alive += usize::from(!matches!(fate, Fate::Killed));
        println!("{:<40} {:>6.1} s  {word}  ({})", patch.name, started.elapsed().as_secs_f64(), patch.invariant);
    }
    match alive {
        0 => Ok(Outcome::Passed(format!("{} killed", patches.len()))),
        _ => Err(Failure::new(format!("{alive} of {} not killed", patches.len()))),
    }
}

/// Leaves `count` of them in their order: which, the seed says.
fn take(patches: &mut Vec<Patch>, count: usize, seed: &str) {
    let place = |patch: &Patch| {
        let mut hasher = DefaultHasher::new();
        (seed, &patch.name).hash(&mut hasher);
        hasher.finish()
    };
    let mut places: Vec<u64> = patches.iter().map(place).collect();
    places.sort_unstable();
    if let Some(last) = places.get(count) {
        patches.retain(|patch| place(patch) < *last);
    }
}

/// The patches that do not apply to the tree any more, each with the reason. Found at once, not after an hour.
pub(crate) fn stale(root: &Path) -> Result<Vec<String>, Failure> {
    let mut stale = Vec::new();
    for patch in read_all(&root.join("mutants"))? {
        let mut git = Command::new("git");
        if let Err(failure) = capture(git.current_dir(root).args(["apply", "--check"]).arg(&patch.file)) {
            stale.push(format!("mutants/{}.patch does not apply: {failure}", patch.name));
        }
    }
    Ok(stale)
}

fn read_all(folder: &Path) -> Result<Vec<Patch>, Failure> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "patch"));
    let mut patches = files.iter().map(|file| Patch::read(file)).collect::<Result<Vec<_>, _>>()?;
    if patches.is_empty() {
        return Err(Failure::new(format!("{} holds no patch", folder.display())));
    }
    // Those of one crate one after the other: each change of a crate builds again what depends on it.
    patches.sort_by(|a, b| (&a.changes, &a.name).cmp(&(&b.changes, &b.name)));
    Ok(patches)
}

/// Makes the copy equal to the tree. A file is written only when it differs, so that cargo builds only what changed.
fn mirror(root: &Path, tree: &Path) -> Result<(), Failure> {
    let files = tracked(root)?;
    for file in &files {
        let bytes = std::fs::read(root.join(file))?;
        let copy = tree.join(file);
        if std::fs::read(&copy).is_ok_and(|old| old == bytes) {
            continue;
        }
        if let Some(folder) = copy.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&copy, bytes)?;
    }
    // What was deleted here must not stay there: a test file could be found and run.
    let mut find = Command::new("find");
    find.arg(tree).args(["-type", "f", "-not", "-path", "*/target/*", "-printf", "%P\\n"]);
    for stale in capture(&mut find)?.lines().filter(|path| !files.iter().any(|file| file == Path::new(path))) {
        std::fs::remove_file(tree.join(stale))?;
    }
    Ok(())
}

/// Runs the test of every patch on the unchanged tree.
fn control(context: &Context, tree: &Path, patches: &[Patch]) -> Result<(), Failure> {
    let started = Instant::now();
    let mut commands: Vec<&Patch> = patches.iter().collect();
    commands.sort_by_key(|patch| &patch.test);
    commands.dedup_by_key(|patch| &patch.test);
    for patch in &commands {
        let ran = output(&mut cargo_test(context, tree, patch, BUILD))?;
        let said = String::from_utf8_lossy(&ran.stdout);
        if !ran.status.success() {
            return Err(Failure::new(format!("`{}` fails without any patch: {}", patch.test, last_lines(&said, 6))));
        }
        if !said.lines().any(|line| line.starts_with("test ") && line.ends_with("... ok")) {
            return Err(Failure::new(format!("`{}` of {} runs no test", patch.test, patch.name)));
        }
    }
    println!("{} tests pass without any patch ({:.1} s)", commands.len(), started.elapsed().as_secs_f64());
    Ok(())
}

fn try_one(context: &Context, tree: &Path, patch: &Patch) -> Result<Fate, Failure> {
    if let Err(failure) = apply(tree, &patch.file, &[]) {
        return Ok(Fate::Broken(failure.0));
    }
    let fate = fate(context, tree, patch);
    apply(tree, &patch.file, &["--reverse"])?;
    fate
}

/// `git apply` outside of any repository, so that paths count from the copy's root.
fn apply(tree: &Path, patch: &Path, flags: &[&str]) -> Result<(), Failure> {
    let mut git = Command::new("git");
    git.current_dir(tree).env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
    capture(git.arg("apply").args(flags).arg(patch)).map(drop)
}

fn fate(context: &Context, tree: &Path, patch: &Patch) -> Result<Fate, Failure> {
    let built = output(cargo_test(context, tree, patch, BUILD).arg("--no-run"))?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        return Ok(Fate::Broken(format!("does not build: {}", last_lines(&said, 6))));
    }
    let ran = output(&mut cargo_test(context, tree, patch, TEST))?;
    let said = String::from_utf8_lossy(&ran.stdout);
    if ran.status.code() == Some(TIMED_OUT) {
        return Ok(Fate::Killed);
    }
    Ok(match (ran.status.success(), said.contains("test result: FAILED")) {
        (true, _) => Fate::Survived,
        (false, true) => Fate::Killed,
        (false, false) => Fate::Broken(format!("no test failed, yet {}: {}", ran.status, last_lines(&said, 3))),
    })
}

fn cargo_test(context: &Context, tree: &Path, patch: &Patch, seconds: &str) -> Command {
    let mut command = Command::new("timeout");
    command.current_dir(tree).env("CARGO_TARGET_DIR", &context.target).args([
        "--kill-after=10",
        seconds,
        "cargo",
        "test",
    ]);
    command.args(patch.arguments());
    unlike_a_build(&mut command);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patches() -> Vec<Patch> {
        let named = |number: usize| Patch {
            name: format!("patch-{number:02}"),
            file: PathBuf::new(),
            invariant: String::new(),
            test: String::new(),
            changes: String::new(),
        };
        (0..40).map(named).collect()
    }

    #[test]
    fn the_gate_takes_some_and_others_for_another_commit() {
        let taken = |seed: &str, count: usize| {
            let mut patches = patches();
            take(&mut patches, count, seed);
            patches.into_iter().map(|patch| patch.name).collect::<Vec<_>>()
        };
        let first = taken("a commit", 16);
        assert_eq!(first.len(), 16);
        assert!(first.is_sorted(), "in their order");
        assert_eq!(taken("a commit", 16), first);
        assert_ne!(taken("another", 16), first);
        assert_eq!(taken("a commit", 100).len(), 40);
        let all: std::collections::BTreeSet<_> = (0..30).flat_map(|seed| taken(&seed.to_string(), 16)).collect();
        assert_eq!(all.len(), 40, "each comes in its turn");
    }
}
