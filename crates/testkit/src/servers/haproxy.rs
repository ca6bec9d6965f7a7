//! haproxy, from Debian's package of that name, with a configuration file of the project.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::find;
use super::keeper::Kept;

/// One that does not listen in this time does not start.
const START: Duration = Duration::from_secs(10);

/// A running load balancer. Dropped, it is stopped.
#[derive(Debug)]
pub struct Haproxy {
    _kept: Kept,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Starts haproxy with a configuration that listens at `LISTEN`, which is `addr` here; `variables` are the others that it
/// reads. `None`, after saying so, when it is not installed.
pub fn haproxy(configuration: &Path, addr: SocketAddr, variables: &[(&str, String)]) -> Option<Haproxy> {
    let program = find("haproxy")?;
    let mut kept = Kept::new("haproxy");
    let mut command = Command::new(program);
    command.args(["-db", "-f"]).arg(configuration).env("LISTEN", addr.to_string());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let child = kept.start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    let begin = Instant::now();
    while TcpStream::connect(addr).is_err() {
        let ended = child.try_wait().expect("the state of a child");
        assert!(ended.is_none(), "haproxy ended with {ended:?}: try haproxy -c -f {}", configuration.display());
        assert!(begin.elapsed() < START, "haproxy does not listen at {addr}");
        sleep(Duration::from_millis(20));
    }
    Some(Haproxy { _kept: kept, addr })
}
