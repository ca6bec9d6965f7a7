//! `roadstead serve`: reads the configuration, starts everything, and ends it in order.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use roadstead_http::{Bound, Ended, Server, Stop, Tls};
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::time::timeout;

use super::descriptors::Descriptors;
use super::{Exit, complain, config, print, signals};
use crate::compose::{self, Composed};
use crate::config::Settings;
use crate::logging::{self, Logging};

/// How long uploads may take to be acknowledged, and background work to end its step, once nobody is served any more.
const WORK_ENDS: Duration = Duration::from_secs(3);
/// How long the metadata engine may take to stop; one whose core is dead may never. With the one above and the
/// defaults of `http.drain_delay` and `http.draintimeout` it is 29 s: Kubernetes kills after 30.
const METADATA_ENDS: Duration = Duration::from_secs(9);
/// How long telling the others may take, where there may be others: over metadata that takes no time to stop.
const LEAVES: Duration = Duration::from_secs(2);
/// How long both may take together after a second signal.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What the command line asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_CONFIG")]
    config: Option<PathBuf>,
    /// The directory for blobs and metadata, unless the configuration names directories for them
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// The address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Open metadata that lost acknowledged commits, once, when there is no backup to restore
    #[arg(long)]
    accept_lost_commits: bool,
}

/// Serves until told to stop.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let file = arguments.config.as_deref();
    let Some(settings) = config::read(file, arguments.data_dir.as_deref(), arguments.listen.as_deref()) else {
        return Exit::Usage;
    };
    keep_private();
    let logging = logging::start(&settings.log);
    let descriptors = Descriptors::share(settings.http.max_connections);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("roadstead").build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start threads: {error}")),
    };
    let exit = runtime.block_on(serve(&settings, descriptors, arguments.accept_lost_commits, &logging));
    // What still runs is abandoned: everything acknowledged is on disk.
    runtime.shutdown_background();
    exit
}

/// What is written here, by the embedded database, too, is for the user of this process alone: among it are private
/// repositories and the keys that sign tokens. Whoever started it may have taken away more.
fn keep_private() {
    let others = Mode::RWXG | Mode::RWXO;
    let before = umask(others);
    umask(before | others);
}

fn failed(text: &str) -> Exit {
    complain(&format!("error: {text}\n"));
    Exit::Failed
}

async fn serve(settings: &Settings, descriptors: Descriptors, accept_lost_commits: bool, logging: &Logging) -> Exit {
    let mut stops = match signals::stops() {
        Ok(stops) => stops,
        Err(error) => return failed(&format!("cannot listen for signals: {error}")),
    };
    let composed = tokio::select! {
        composed = compose::compose(settings, descriptors, accept_lost_commits) => composed,
        // A start can take minutes, when a long log is read. Nothing is served yet: to leave it is as safe as a crash.
        Some(_) = stops.next() => return Exit::Done,
    };
    let composed = match composed {
        Ok(composed) => composed,
        Err(error) => {
            let exit = failed(&error.to_string());
            return if error.refuses_data() { Exit::Refused } else { exit };
        }
    };
    composed.app.metrics().show_lost_log_lines(logging.dropped());
    let (exit, hurried) =
        match Server::new(compose::listener(settings, descriptors, composed.tls.clone()), composed.app.clone())
            .bind()
            .await
        {
            Ok(bound) => {
                announce(settings, &bound, composed.tls.as_ref(), composed.password.as_deref());
                composed.instances.listens(known_as(settings, bound.local_addr()));
                until_stopped(bound, &mut stops, &composed).await
            }
            Err((addr, error)) => (failed(&cannot_listen(addr, &error)), false),
        };
    if !unless_hurried(end(&composed), stops, hurried).await {
        tracing::warn!("stopped at once; the next start reads the metadata's log again");
    }
    exit
}

/// Ends everything behind the server, in order: what requests left behind and background work, then the metadata
/// that both write to.
async fn end(composed: &Composed) {
    let (settled, _) = tokio::join!(timeout(WORK_ENDS, composed.registry.settled()), composed.workers.stop(WORK_ENDS));
    if settled.is_err() {
        tracing::warn!("uploads were not acknowledged in time; they go on from their last step");
    }
    // The audit needs the store only.
    tokio::join!(end_audit(composed), end_metadata(composed));
}

async fn end_metadata(composed: &Composed) {
    match timeout(LEAVES, composed.instances.leave()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "other instances learn only by its silence that this one has ended"),
        Err(_) => tracing::warn!("other instances learn only by its silence that this one has ended"),
    }
    if timeout(METADATA_ENDS, composed.metadata.shutdown()).await.is_err() {
        tracing::warn!("metadata did not stop in time; the next start reads its log again");
    }
}

async fn end_audit(composed: &Composed) {
    let Some(auditing) = &composed.audit else { return };
    match timeout(METADATA_ENDS, auditing.log.finish()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "not all of the audit is in the storage; the next start takes it there")
        }
        Err(_) => tracing::warn!("not all of the audit is in the storage; the next start takes it there"),
    }
}

/// Does `work`, unless a signal comes first; `hurried` when one more than the first has come already. Answers whether
/// it was done.
async fn unless_hurried(work: impl Future<Output = ()>, mut stops: BoxStream<'_, Stop>, hurried: bool) -> bool {
    tokio::select! {
        biased;
        () = work => true,
        Some(_) = stops.next() => false,
        () = tokio::time::sleep(AT_ONCE), if hurried => false,
    }
}

fn cannot_listen(addr: SocketAddr, error: &io::Error) -> String {
    let way_out = match error.kind() {
        io::ErrorKind::AddrInUse => "; is another server running?",
        io::ErrorKind::AddrNotAvailable => "; http.addr and http.plain.addr must name addresses of this machine",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE)",
        _ => "",
    };
    format!("cannot listen on {addr}: {error}{way_out}")
}

/// Serves until a signal has been followed through, or metadata has stopped for good. The second part of the answer
/// is whether a second signal ended it.
async fn until_stopped(bound: Bound, stops: &mut BoxStream<'_, Stop>, composed: &Composed) -> (Exit, bool) {
    let mut fatal = composed.metadata.fatal();
    let reason = async {
        match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The engine is gone without a reason: it was shut down in order.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = bound.run(stops) => {
            tracing::info!(?ended, "stopped");
            (Exit::Done, matches!(ended, Ended::AtOnce(_)))
        }
        reason = reason => {
            tracing::error!(%reason, "metadata has stopped for good; the process ends, a new start may recover");
            (Exit::Metadata, false)
        }
    }
}

/// Tells a person, and scripts that wait for the address, that the server is there. The address comes last: who has
/// read it has read the rest.
fn announce(settings: &Settings, bound: &Bound, tls: Option<&Tls>, password: Option<&str>) {
    let addr = bound.local_addr();
    let host = settings.http.host.as_deref().and_then(|host| host.split_once("://")).map(|(_, host)| host.to_owned());
    let pushed_to = host.unwrap_or_else(|| reachable(addr).to_string());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut trust = String::new();
    if let Some(authority) = tls.and_then(Tls::authority) {
        trust = format!(
            "clients must trust the certificate authority of this installation: GET /ca, SHA-256 {}\n",
            authority.fingerprint()
        );
    }
    if let Some(plain) = bound.plain_addr() {
        trust += &format!("clients without TLS are sent there from {plain}\n");
    }
    if let Some(password) = password {
        trust += &format!("user admin was made with password {password}, which is shown this once\n");
    }
    // Nobody may be reading; the server serves all the same.
    let _ = print(&format!(
        "blobs in {}, metadata in {}\n{trust}push with: docker push {pushed_to}/NAME\nlistening on {scheme}://{addr}\n",
        settings.blobs, settings.metadata,
    ));
}

/// What this process is called among others: as configured, else by where it listens.
fn known_as(settings: &Settings, addr: SocketAddr) -> String {
    if let Some(address) = &settings.instance.address {
        return address.clone();
    }
    if addr.ip().to_canonical().is_loopback() {
        return addr.to_string();
    }
    format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), addr.port())
}

/// An address that a client on this machine can use.
fn reachable(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, addr.port()).into() } else { addr }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn the_end_is_awaited_unless_somebody_is_in_a_hurry() {
        let never = || stream::pending::<Stop>().boxed();
        let slow = std::future::pending::<()>;
        assert!(unless_hurried(async {}, never(), false).await);
        assert!(!unless_hurried(slow(), never(), true).await);
        assert!(unless_hurried(async {}, never(), true).await);
        let told_again = stream::once(async { Stop::Drain }).chain(never()).boxed();
        assert!(!unless_hurried(slow(), told_again, false).await);
    }

    #[test]
    fn the_way_out_fits_the_error() {
        let text = |kind: io::ErrorKind| cannot_listen(([127, 0, 0, 1], 80).into(), &kind.into());
        assert!(text(io::ErrorKind::AddrInUse).ends_with("is another server running?"));
        assert!(text(io::ErrorKind::AddrNotAvailable).ends_with("addresses of this machine"));
        assert!(!text(io::ErrorKind::PermissionDenied).contains("another server"));
    }

    #[test]
    fn a_client_is_told_an_address_it_can_use() {
        for (listens, told) in [("0.0.0.0:5000", "127.0.0.1:5000"), ("[::]:1", "127.0.0.1:1"), ("[::1]:1", "[::1]:1")] {
            assert_eq!(listens.parse().map(reachable), told.parse(), "{listens}");
        }
    }
}
