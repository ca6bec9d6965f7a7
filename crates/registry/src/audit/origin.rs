//! The request in which something is done, for events noted where no request is known.

use std::net::IpAddr;

tokio::task_local! {
    static CURRENT: Origin;
}

/// From where a request came, and its id.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address.
    pub remote: Option<IpAddr>,
    /// The request's id.
    pub request: Box<str>,
}

impl Origin {
    /// Does `work` in this request: events noted meanwhile, on the same task, have its address and id.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// The request that is under way on this task.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }
}
