//! Who may see the metrics: they tell what is going on in all repositories.

use http::HeaderMap;
use roadstead_registry::{Caller, Error, Scope};

use super::{Auth, Visitor};
use crate::error_table::Failure;
use crate::exchange::Exchange;

impl Auth {
    /// Lets a system admin in, by its password or by an access token that is for everything or for metrics.
    pub(crate) async fn may_scrape(&self, headers: &HeaderMap, exchange: &Exchange) -> Result<(), Failure> {
        let visitor = self.visitor(headers, exchange.remote.ip());
        let caller = match exchange.origin().scope(visitor).await? {
            Visitor::Owner(caller) => caller,
            Visitor::Nobody | Visitor::Bearer(_) => return Err(Error::Unauthorized.into()),
        };
        let scoped = match &caller {
            Caller::Known(identity) => identity.scope.as_ref().is_none_or(Scope::is_for_metrics),
            Caller::Anonymous | Caller::Operator => true,
        };
        // As pulls are decided: also while the metadata cannot be asked, which is when metrics are looked at.
        match self.registry().sees_all(&caller).await? && scoped {
            true => Ok(()),
            false => Err(Error::Denied(
                "metrics are for system admins, and for their access tokens with the scope metrics or none; \
                 metrics.anonymous: true shows them to everybody"
                    .to_owned(),
            )
            .into()),
        }
    }
}
