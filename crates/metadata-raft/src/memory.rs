//! How much memory this process may use.

// Files of the kernel; no blob engine reaches them.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::Path;

/// The smallest of what the machine has and what the control groups that this process is in allow; `None` when nothing
/// says.
pub fn allowed() -> Option<u64> {
    allowed_at(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
}

fn allowed_at(proc: &Path, groups: &Path) -> Option<u64> {
    let total = fs::read_to_string(proc.join("meminfo")).ok().and_then(|text| total(&text));
    let membership = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    membership.lines().filter_map(|line| limit(line, groups)).chain(total).min()
}

/// `MemTotal:       24683036 kB`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What a group and those above it allow, by a line `hierarchy:controllers:path` that names it. Both generations of
/// control groups: many machines still have the first.
fn limit(line: &str, groups: &Path) -> Option<u64> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (mounts, file): (&[&str], _) = match controllers {
        "" => (&["", "unified"], "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => (&["memory"], "memory.limit_in_bytes"),
        _ => return None,
    };
    // Inside a container the path may be one of the machine's; then the mount itself is the group.
    let paths = Path::new(path.trim_start_matches('/')).ancestors();
    let files = paths.flat_map(|path| mounts.iter().map(move |mount| groups.join(mount).join(path).join(file)));
    // "max", where nothing is limited, is no number.
    files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree:  5 kB\n";

    /// What is allowed to a process of these groups, given files and what stands in them.
    fn with(membership: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        let own = [("proc/meminfo", MEMINFO), ("proc/self/cgroup", membership)];
        for (path, text) in own.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        allowed_at(&root.path().join("proc"), &root.path().join("groups"))
    }

    #[test]
    fn the_tightest_limit_counts() {
        assert_eq!(with("0::/\n", &[]), Some(1_024_000));
        let nested = [("groups/a/memory.max", "70000\n"), ("groups/a/b/memory.max", "max\n")];
        assert_eq!(with("0::/a/b\n", &nested), Some(70_000));
        assert_eq!(with("0::/a/b\n", &[("groups/a/b/memory.max", "9000000\n")]), Some(1_024_000));
        // A container's own, under a path that it does not see.
        assert_eq!(with("0::/docker/1234\n", &[("groups/memory.max", "60000\n")]), Some(60_000));
        assert_eq!(with("1:cpu:/\n0::/a\n", &[("groups/unified/a/memory.max", "50000\n")]), Some(50_000));
        let first = [("groups/memory/a/memory.limit_in_bytes", "40000\n"), ("groups/cpu/memory.max", "1\n")];
        assert_eq!(with("4:cpuset,memory:/a/b\n1:cpu:/\n0::/\n", &first), Some(40_000));
    }

    #[test]
    fn a_machine_that_says_nothing_is_no_fault() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(allowed_at(root.path(), root.path()), None);
    }
}
