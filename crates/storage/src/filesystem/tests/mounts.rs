//! Full, read-only and vanished filesystems: real ones, mounted in a mount namespace of the test's own.
//!
//! Each test runs itself again inside `unshare --mount`. Where that is not allowed it is skipped by name, and fails
//! when `CI` is set.

use std::process::Command;

use super::*;
use crate::{Identity, identity::IDENTITY_KEY};

/// Set for the run inside: a directory to mount on.
const INSIDE: &str = "ROADSTEAD_TEST_MOUNTS";

/// Runs `test`, called `name`, in a mount namespace.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn inside(name: &str, test: impl AsyncFnOnce(&Path)) {
    if let Some(directory) = std::env::var_os(INSIDE) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(test(Path::new(&directory)));
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user"]);
        command
    };
    if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "{name} needs `unshare --mount`, which this machine refuses");
        eprintln!("skipped: {name} (`unshare --mount` is refused)");
        return;
    }
    let scratch = Scratch::new();
    let mut command = unshare();
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("filesystem::tests::mounts::{name}"), "--nocapture"]);
    let output = command.env(INSIDE, scratch.directory.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn mount(arguments: &[&str], directory: &Path) {
    let output = Command::new("mount").args(arguments).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn umount(directory: &Path) {
    assert!(Command::new("umount").arg(directory).status().unwrap().success());
}

async fn claim(engine: &Filesystem) {
    Identity::claim(engine, &Identity::new(uuid::Uuid::nil(), uuid::Uuid::nil())).await.unwrap();
}

#[test]
fn a_full_filesystem_is_full_and_recovers() {
    inside("a_full_filesystem_is_full_and_recovers", async |directory| {
        mount(&["-t", "tmpfs", "-o", "size=68m", "tmpfs"], directory);
        let engine = Filesystem::open(directory).unwrap();
        claim(&engine).await;
        assert_eq!(write(&engine, "large", vec![1; 6_000_000]).await.unwrap_err().kind(), ErrorKind::Full);
        // In many steps: the failure of a write comes with a later call, and then with every call.
        let mut writer = engine.writer(&key("large")).await.unwrap();
        let mut failed = 0;
        for _ in 0..12 {
            failed += usize::from(writer.write(vec![Bytes::from(vec![1; 600_000])]).await.is_err());
        }
        assert!(failed > 0, "writing stops long before the end");
        assert_eq!(writer.sync().await.unwrap_err().kind(), ErrorKind::Full);
        assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::Full);
        assert_eq!(engine.stat(&key("large")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_nothing_temporary(directory);

        let mut staged = engine.append(&key("staged"), 0).await.unwrap();
        staged.write(vec![Bytes::from(vec![1; 1_000_000])]).await.unwrap();
        staged.sync().await.unwrap();
        staged.write(vec![Bytes::from(vec![2; 6_000_000])]).await.unwrap();
        assert_eq!(staged.sync().await.unwrap_err().kind(), ErrorKind::Full);
        staged.abort().await.unwrap();
        // The space is there again.
        write(&engine, "small", vec![1; 3_500_000]).await.unwrap();
        engine.probe().await.unwrap();
        fs::write(directory.join("somebody else's"), vec![1; 900_000]).unwrap();
        let error = engine.probe().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "below its reserve: {error}");
        let error = write(&engine, "tiny", "1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "what the probe says holds: {error}");
        assert_eq!(read(&engine, "small").await.unwrap().len(), 3_500_000);
    });
}

#[test]
fn a_read_only_filesystem_serves_and_refuses() {
    inside("a_read_only_filesystem_serves_and_refuses", async |directory| {
        mount(&["-t", "tmpfs", "-o", "size=100m", "tmpfs"], directory);
        let engine = Filesystem::open(directory).unwrap();
        claim(&engine).await;
        write(&engine, "a/b", "there").await.unwrap();
        engine.probe().await.unwrap();
        mount(&["-o", "remount,ro"], directory);
        for engine in [engine, Filesystem::open(directory).unwrap()] {
            assert_eq!(read(&engine, "a/b").await.unwrap(), b"there");
            let errors = [
                write(&engine, "a/c", "new").await.unwrap_err(),
                engine.append(&key("a/c"), 0).await.err().unwrap(),
                engine.compose(&[], &key("a/c")).await.unwrap_err(),
                engine.put_small(&key(IDENTITY_KEY), Bytes::new(), false).await.unwrap_err(),
                engine.delete(&key("a/b")).await.unwrap_err(),
                engine.probe().await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
                assert!(error.to_string().contains(&directory.display().to_string()), "{error}");
            }
        }
    });
}

#[test]
fn an_unmounted_filesystem_is_not_taken_for_an_empty_one() {
    inside("an_unmounted_filesystem_is_not_taken_for_an_empty_one", async |directory| {
        mount(&["-t", "tmpfs", "tmpfs"], directory);
        let engine = Filesystem::open(directory).unwrap();
        claim(&engine).await;
        write(&engine, "a/b", "there").await.unwrap();
        engine.probe().await.unwrap();
        umount(directory);
        let errors = [
            engine.stat(&key("a/b")).await.unwrap_err(),
            engine.read(&key("a/b"), None).await.err().unwrap(),
            engine.list("", None, 10).await.unwrap_err(),
            engine.delete(&key("a/b")).await.unwrap_err(),
            write(&engine, "a/c", "lost").await.unwrap_err(),
            engine.put_small(&key("small"), Bytes::new(), false).await.unwrap_err(),
            engine.probe().await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("unmounted"), "{error}");
        }
        assert!(engine.append(&key("u/0"), 0).await.is_err());
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "nothing went to the directory below the mount");
    });
}

/// Another filesystem with the same `roadstead.json` is what one looks like that comes back under another device number.
#[test]
fn a_store_that_is_mounted_again_goes_on_and_an_other_one_does_not() {
    inside("a_store_that_is_mounted_again_goes_on_and_an_other_one_does_not", async |directory| {
        mount(&["-t", "tmpfs", "tmpfs"], directory);
        let engine = Filesystem::open(directory).unwrap();
        claim(&engine).await;
        engine.probe().await.unwrap();
        let ours = fs::read(directory.join(IDENTITY_KEY)).unwrap();
        umount(directory);
        assert_eq!(engine.probe().await.unwrap_err().kind(), ErrorKind::Unavailable);

        mount(&["-t", "tmpfs", "tmpfs"], directory);
        fs::write(directory.join(IDENTITY_KEY), "somebody else's").unwrap();
        assert_eq!(engine.probe().await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(write(&engine, "a/b", "lost").await.is_err());

        fs::write(directory.join(IDENTITY_KEY), ours).unwrap();
        engine.probe().await.unwrap();
        write(&engine, "a/b", "kept").await.unwrap();
        assert_eq!(read(&engine, "a/b").await.unwrap(), b"kept");
    });
}

#[test]
fn a_store_in_which_nothing_can_be_made_is_read_only_until_something_can() {
    inside("a_store_in_which_nothing_can_be_made_is_read_only_until_something_can", async |directory| {
        mount(&["-t", "tmpfs", "tmpfs"], directory);
        let engine = Filesystem::open(directory).unwrap();
        claim(&engine).await;
        write(&engine, "a/b", "there").await.unwrap();
        // As a filesystem does that found an error: the root looks as it did.
        let temporary = directory.join(temporary::DIRECTORY);
        mount(&["-t", "tmpfs", "-o", "ro", "tmpfs"], &temporary);
        engine.probe().await.unwrap();
        assert_eq!(write(&engine, "a/c", "new").await.unwrap_err().kind(), ErrorKind::ReadOnly);
        assert_eq!(engine.probe().await.unwrap_err().kind(), ErrorKind::ReadOnly);
        assert_eq!(read(&engine, "a/b").await.unwrap(), b"there");
        umount(&temporary);
        engine.probe().await.unwrap();
        write(&engine, "a/c", "new").await.unwrap();
        assert_nothing_temporary(directory);
    });
}

#[test]
fn a_root_of_two_filesystems_says_so() {
    inside("a_root_of_two_filesystems_says_so", async |directory| {
        let engine = Filesystem::open(directory).unwrap();
        fs::create_dir(directory.join("tmp")).unwrap();
        mount(&["-t", "tmpfs", "tmpfs"], &directory.join("tmp"));
        let error = write(&engine, "a", "1").await.unwrap_err();
        assert!(error.to_string().contains("must be one filesystem"), "{error}");
        assert_nothing_temporary(directory);
    });
}
