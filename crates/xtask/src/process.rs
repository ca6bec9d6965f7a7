//! Running other programs: shown before they run, stdin closed, an error that names the command.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::stage::{Context, Failure};

/// Cargo, as the one that started this program, in the workspace's root.
pub(crate) fn cargo(context: &Context, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&context.root).args(arguments);
    unlike_a_build(&mut command);
    command
}

/// Takes away what `cargo run` put into this program's environment about its own package: build scripts watch some of
/// it, and would run again for a cargo that is started from here and once more for one that is not.
pub(crate) fn unlike_a_build(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_CRATE_NAME" {
            command.env_remove(&name);
        }
    }
}

/// The command as a person would type it.
pub(crate) fn words(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs a command with its output shown; a non-zero exit is a failure.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    println!("$ {}", words(command));
    let status = command.stdin(Stdio::null()).status().map_err(|e| Failure::new(format!("{}: {e}", words(command))))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{}: {status}", words(command)))) }
}

/// Runs a command and keeps its output, whatever its exit.
pub(crate) fn output(command: &mut Command) -> Result<Output, Failure> {
    command.stdin(Stdio::null()).output().map_err(|e| Failure::new(format!("{}: {e}", words(command))))
}

/// Standard output of a command that must succeed, without trailing white space; what it wrote to standard error is in
/// the failure.
pub(crate) fn capture(command: &mut Command) -> Result<String, Failure> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{}: {}: {}", words(command), output.status, last_lines(&said, 6))))
}

/// Where on PATH a program is.
pub(crate) fn which(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program.as_ref())).find(|file| file.is_file())
}

/// The last `n` lines of a text, joined by ` | `, so that they fit a row of a table.
pub(crate) fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(n)..].join(" | ")
}
