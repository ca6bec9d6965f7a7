//! The Unix socket that the admin API is served on.
//!
//! Whoever connects must be root or the user that this process runs as: the kernel tells (`SO_PEERCRED`), so that it
//! does not depend on the permissions of the directory alone.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use axum::Router;
use axum::serve::Listener;
use rustix::fs::{Mode, OFlags, chmod, open, unlink};
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};
use tokio_util::task::AbortOnDropHandle;

/// The longest path that is an address as it is, with the zero byte at its end.
const LONGEST: usize = 108;

/// A socket that listens. Its file stays when the process ends; the next start replaces it.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Listens on `path`, in place of a socket that an earlier process left there. The caller has made sure that no
    /// other process serves it. Only the owner may open it.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match unlink(path) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let listener = UnixListener::bind(Addressed::new(path)?.path())?;
        chmod(path, Mode::RUSR | Mode::WUSR)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves `router` while the answer lives.
    pub fn serve(self, router: Router) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            tracing::debug!(path = %self.path.display(), "the admin API listens");
            if let Err(error) = axum::serve(self, router).await {
                tracing::error!(%error, "the admin API ended");
            }
        }))
    }
}

/// Connects to the socket at `path`, to speak HTTP/1.1 over it.
pub async fn connect_admin(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(Addressed::new(path)?.path()).await
}

/// A path that fits into the address of a socket, which takes 107 bytes: a longer one is reached through a handle on
/// its directory.
struct Addressed {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl Addressed {
    fn new(path: &Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a socket"));
        };
        if path.as_os_str().len() < LONGEST {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let directory = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Listener for AdminSocket {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            // axum's own: it waits a moment when there are no descriptors left.
            let (stream, address) = Listener::accept(&mut self.listener).await;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == 0 || peer.uid() == geteuid().as_raw() => return (stream, address),
                Ok(peer) => {
                    tracing::warn!(uid = peer.uid(), "a user who is neither root nor this one asked the admin API")
                }
                Err(error) => tracing::warn!(%error, "who asks the admin API cannot be told"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
