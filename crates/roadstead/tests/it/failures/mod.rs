//! Each failure that storage can have, provoked for real under a running server: what its clients are answered, what
//! health says, that nothing acknowledged is lost, and that it comes back by itself.
//!
//! Each test runs itself again inside `unshare --mount`, so that nothing it mounts outlives it. Where that, or what else
//! it needs, is not allowed, it is skipped by name, and fails when `CI` is set.

mod denied;
mod full;
mod handles;
mod hanging;
mod memory;
mod read_only;
mod stand;
mod vanished;

use std::path::Path;
use std::process::Command;

use stand::{Push, Stand};

/// Set for the run inside: a directory to mount on.
const INSIDE: &str = "ROADSTEAD_TEST_FAILURES";

/// What a test asks of the machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// To mount a tmpfs, in a user namespace if need be.
    Tmpfs,
    /// To be root, with loop devices.
    Root,
    /// To make a control group with a limit of memory.
    Group,
}

impl Needs {
    fn unshare(self) -> Command {
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if self == Needs::Tmpfs {
            command.arg("--map-root-user");
        }
        command
    }

    fn are_met(self) -> bool {
        let ok = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let more = match self {
            Needs::Tmpfs => true,
            Needs::Root => rustix::process::geteuid().is_root() && ok(Command::new("losetup").arg("-f")),
            Needs::Group => memory::Group::make(1 << 30).is_ok(),
        };
        more && ok(self.unshare().arg("true"))
    }
}

/// Runs `test`, called `name` (its path below this module), in a mount namespace.
fn inside(name: &str, needs: Needs, test: impl FnOnce(&Path)) {
    if let Some(directory) = std::env::var_os(INSIDE) {
        return test(Path::new(&directory));
    }
    if !needs.are_met() {
        let lacking = match needs {
            Needs::Tmpfs => "`unshare --mount`",
            Needs::Root => "root and loop devices",
            Needs::Group => "root and control groups of memory",
        };
        assert!(std::env::var_os("CI").is_none(), "failures::{name} needs {lacking}, which this machine refuses");
        println!("skipped: failures::{name} ({lacking} refused)");
        return;
    }
    let scratch = tempfile::Builder::new().prefix("roadstead-failures-").tempdir().unwrap();
    let mut command = needs.unshare();
    command.arg(std::env::current_exe().unwrap()).args(["--exact", &format!("failures::{name}"), "--nocapture"]);
    let output = command.env(INSIDE, scratch.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    said.lines().filter(|line| line.starts_with("failures: ")).for_each(|line| println!("{line}"));
}

/// Runs a command that must succeed.
fn run(words: &[&str], path: &Path) {
    let output = Command::new(words[0]).args(&words[1..]).arg(path).output().unwrap();
    assert!(output.status.success(), "{words:?} {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
}

fn tmpfs(options: &str, directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    run(&["mount", "-t", "tmpfs", "-o", options, "tmpfs"], directory);
}

/// Makes an ext4 of so many megabytes in a file beside `directory`, and mounts it there.
fn ext4(megabytes: u64, directory: &Path) {
    let image = directory.with_extension("img");
    std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
    run(&["mkfs.ext4", "-q"], &image);
    std::fs::create_dir_all(directory).unwrap();
    mount_image(directory);
}

fn mount_image(directory: &Path) {
    let image = directory.with_extension("img");
    run(&["mount", "-o", "loop", image.to_str().unwrap()], directory);
}

fn umount(directory: &Path) {
    run(&["umount"], directory);
}

/// Takes all space of a filesystem but `spare` bytes, until the answer is removed.
fn fill(directory: &Path, spare: u64) -> std::path::PathBuf {
    let space = rustix::fs::statvfs(directory).unwrap();
    let bytes = (space.f_bavail * space.f_frsize).saturating_sub(spare);
    let filler = directory.join("filler");
    let file = std::fs::File::create(&filler).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap();
    filler
}
