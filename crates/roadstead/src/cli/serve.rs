//! `roadstead serve`: reads the configuration, starts everything, and ends it in order.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use roadstead_http::{Bound, Server, Stop};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::{Exit, complain, config, print};
use crate::compose::{self, Composed};
use crate::config::Settings;
use crate::logging::{self, Logging};

/// How long background work may take to end its step once nobody is served any more.
const WORKERS_END: Duration = Duration::from_secs(5);
/// How long the metadata engine may take to stop; one whose core is dead may never.
const METADATA_END: Duration = Duration::from_secs(20);
/// Descriptors that are not connections: files of blobs, metadata, the log.
const OTHER_FILES: u64 = 1_024;

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
    let logging = logging::start(&settings.log);
    raise_file_limit(settings.http.max_connections as u64);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("roadstead").build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start threads: {error}")),
    };
    let exit = runtime.block_on(serve(&settings, arguments.accept_lost_commits, &logging));
    // What still runs is abandoned: everything acknowledged is on disk.
    runtime.shutdown_background();
    exit
}

fn failed(text: &str) -> Exit {
    complain(&format!("error: {text}\n"));
    Exit::Failed
}

async fn serve(settings: &Settings, accept_lost_commits: bool, logging: &Logging) -> Exit {
    let mut stops = match stops() {
        Ok(stops) => pin!(stops),
        Err(error) => return failed(&format!("cannot listen for signals: {error}")),
    };
    let composed = tokio::select! {
        composed = compose::compose(settings, accept_lost_commits) => composed,
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
    let exit = match Server::new(compose::listener(settings), composed.app.clone()).bind().await {
        Ok(bound) => {
            announce(settings, &bound);
            until_stopped(bound, stops, &composed).await
        }
        Err(error) => {
            failed(&format!("cannot listen on {}: {error}; is another server running?", settings.http.listen))
        }
    };
    composed.workers.stop(WORKERS_END).await;
    if timeout(METADATA_END, composed.metadata.shutdown()).await.is_err() {
        tracing::warn!("metadata did not stop in time; the next start reads its log again");
    }
    exit
}

/// Serves until a signal has been followed through, or metadata has stopped for good.
async fn until_stopped(bound: Bound, stops: impl Stream<Item = Stop>, composed: &Composed) -> Exit {
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
            Exit::Done
        }
        reason = reason => {
            tracing::error!(%reason, "metadata has stopped for good; the process ends, a new start may recover");
            Exit::Metadata
        }
    }
}

/// SIGTERM drains with the wait that load balancers need, SIGINT without it.
fn stops() -> std::io::Result<impl Stream<Item = Stop>> {
    Ok(stream::select(on(SignalKind::terminate(), Stop::Drain)?, on(SignalKind::interrupt(), Stop::Promptly)?))
}

fn on(kind: SignalKind, stop: Stop) -> std::io::Result<impl Stream<Item = Stop>> {
    let next = move |mut signals: Signal| async move { signals.recv().await.map(|()| (stop, signals)) };
    Ok(stream::unfold(signal(kind)?, next))
}

/// Tells a person, and scripts that wait for the address, that the server is there. The address comes last: who has
/// read it has read the rest.
fn announce(settings: &Settings, bound: &Bound) {
    let addr = bound.local_addr();
    let host = settings.http.host.as_deref().and_then(|host| host.split_once("://")).map(|(_, host)| host.to_owned());
    let pushed_to = host.unwrap_or_else(|| addr.to_string());
    // Nobody may be reading; the server serves all the same.
    let _ = print(&format!(
        "blobs in {}, metadata in {}\npush with: docker push {pushed_to}/NAME\nlistening on http://{addr}\n",
        settings.blobs.display(),
        settings.metadata.display(),
    ));
}

/// Raises the soft limit of open files to the hard one, which every system that needs a low one sets low.
fn raise_file_limit(connections: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if granted < connections + OTHER_FILES {
        tracing::warn!(
            limit = granted,
            connections,
            "the limit of open files is below http.max_connections; raise it (LimitNOFILE=, ulimit -n) or lower the key"
        );
    }
}
