//! What of a request the audit is told: pulls, pushes, mounts and deletions, and what was refused.
//!
//! Not told: HEAD, lists and the steps of an upload, unless they are refused; and 401, by which clients learn that they need
//! credentials, or a token for more, or a new one. That somebody's credentials are wrong is told where they are looked at.

use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use http::{Response, StatusCode};
use roadstead_oci::{Reference, Route, RouteError};
use roadstead_registry::Caller;
use roadstead_registry::audit::{Actor, Audit, AuditAction, AuditOutcome, Event};

use super::call::CONTENT_DIGEST;
use crate::exchange::Exchange;

/// Which answers the audit is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// All.
    Always,
    /// What was done and what was not, but not that it was begun.
    Done,
    /// Refusals.
    Refused,
}

/// A request that the audit may be told of once it is answered.
#[derive(Debug)]
pub(super) struct Audited {
    audit: Arc<Audit>,
    /// Until it is told.
    event: Option<Box<Event>>,
    told: Told,
}

impl Audited {
    /// Of a request that came just now, and is nobody's yet.
    pub(super) fn of(
        audit: Option<&Arc<Audit>>,
        routed: &Result<Route, RouteError>,
        head: &Parts,
        exchange: &Exchange,
    ) -> Option<Self> {
        let (audit, route) = (audit?, routed.as_ref().ok()?);
        let (action, told) = kind(route, head)?;
        let mut event = Event::new(action, AuditOutcome::Unknown, Actor::Caller(Caller::Anonymous));
        event.remote = Some(exchange.remote.ip());
        event.request = Some(exchange.id.as_str().into());
        event.repository = route.repository().cloned();
        (event.tag, event.digest) = match route {
            Route::GetBlob { digest, .. } | Route::HeadBlob { digest, .. } | Route::DeleteBlob { digest, .. } => {
                (None, Some(*digest))
            }
            Route::GetManifest { reference, .. }
            | Route::HeadManifest { reference, .. }
            | Route::PutManifest { reference, .. }
            | Route::DeleteManifest { reference, .. } => match reference {
                Reference::Tag(tag) => (Some(tag.clone()), None),
                Reference::Digest(digest) => (None, Some(*digest)),
            },
            _ => (None, None),
        };
        Some(Self { audit: audit.clone(), event: Some(Box::new(event)), told })
    }

    /// Says whose it is.
    pub(super) fn by(&mut self, caller: &Caller) {
        if let Some(event) = &mut self.event {
            event.actor = Actor::Caller(caller.clone());
        }
    }

    /// It was answered so.
    pub(super) fn answered(mut self, response: &Response<Body>) {
        let Some(mut event) = self.event.take() else { return };
        let status = response.status();
        event.outcome = match status {
            StatusCode::UNAUTHORIZED => return,
            StatusCode::FORBIDDEN => AuditOutcome::Denied,
            StatusCode::ACCEPTED if self.told == Told::Done => return,
            status if status.is_client_error() || status.is_server_error() => AuditOutcome::Failed,
            _ => AuditOutcome::Ok,
        };
        if self.told == Told::Refused && event.outcome != AuditOutcome::Denied {
            return;
        }
        if event.digest.is_none() {
            let digest = response.headers().get(CONTENT_DIGEST).and_then(|digest| digest.to_str().ok());
            event.digest = digest.and_then(|digest| digest.parse().ok());
        }
        event.status = Some(status.as_u16());
        self.audit.note(*event);
    }
}

/// The client went before the answer. What it wanted to be changed may have been changed all the same.
impl Drop for Audited {
    fn drop(&mut self) {
        if let Some(event) = self.event.take()
            && self.told != Told::Refused
            && event.action != AuditAction::Pull
        {
            self.audit.note(*event);
        }
    }
}

fn kind(route: &Route, head: &Parts) -> Option<(AuditAction, Told)> {
    Some(match route {
        Route::GetBlob { .. } | Route::GetManifest { .. } => (AuditAction::Pull, Told::Always),
        Route::HeadBlob { .. } | Route::HeadManifest { .. } => (AuditAction::Pull, Told::Refused),
        Route::PutManifest { .. } | Route::FinishUpload { .. } => (AuditAction::Push, Told::Always),
        Route::StartUpload { .. } => {
            let wanted = |name: &str| {
                let pairs = head.uri.query().unwrap_or_default().split('&');
                pairs.filter_map(|pair| pair.split_once('=')).any(|(found, _)| found == name)
            };
            (if wanted("mount") { AuditAction::Mount } else { AuditAction::Push }, Told::Done)
        }
        Route::AppendUpload { .. } | Route::UploadStatus { .. } | Route::CancelUpload { .. } => {
            (AuditAction::Push, Told::Refused)
        }
        Route::DeleteBlob { .. } | Route::DeleteManifest { .. } => (AuditAction::Delete, Told::Always),
        Route::ListTags { .. } | Route::Referrers { .. } | Route::Catalog => (AuditAction::List, Told::Refused),
        Route::Base => return None,
    })
}
