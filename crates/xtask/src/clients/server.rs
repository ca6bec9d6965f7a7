//! A server process of our own for one run: any free port, its own data directory, stopped at the end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::stage::Failure;

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    host: String,
}

impl Server {
    /// Starts the binary on an empty directory and reads from its first lines where it listens.
    pub(crate) fn start(binary: &Path, data: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data-dir").arg(data).args(["--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| Failure::new(format!("{}: {e}", binary.display())))?;
        let Some(stdout) = child.stdout.take() else {
            return Err(Failure::new("the server has no standard output"));
        };
        let mut lines = BufReader::new(stdout).lines();
        let host = lines.by_ref().map_while(Result::ok).find_map(|line| address(&line));
        // What it prints later is read and dropped, so that it never blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut server = Self { child, host: String::new() };
        match host {
            Some(host) => server.host = host,
            None => return Err(Failure::new(format!("the server ended before it listened: {}", server.child.wait()?))),
        }
        Ok(server)
    }

    /// `HOST:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Asks it to stop as an operator would; it must leave with 0.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        crate::process::capture(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format!("the server left with {status} after SIGTERM")))
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone after `stop`; then both are errors that tell nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `HOST:PORT` of a line that contains a URL.
fn address(line: &str) -> Option<String> {
    let rest = line.split_once("http://")?.1;
    let host: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || ".:[]-".contains(*c)).collect();
    host.contains(':').then_some(host)
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_is_read_from_the_first_line_with_a_url() {
        assert_eq!(address("listening on http://127.0.0.1:41233 (data in ./x)").as_deref(), Some("127.0.0.1:41233"));
        assert_eq!(address("listening on http://[::1]:5000/v2/").as_deref(), Some("[::1]:5000"));
        assert_eq!(address("starting"), None);
    }
}
