//! Upload sessions (end-4, end-5, end-6): start, status, chunks, finish, cancel.
//!
//! A session's token is signed and costs nothing; its row is made when the first bytes are acknowledged. The row names
//! the staged parts, the offset and the running hash, so that any instance continues any upload, after any crash, at
//! the last acknowledged offset. Bytes beyond that offset do not exist.

mod attempt;
mod finish;
mod sessions;
mod stage;
mod token;

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::records::upload::{self, UploadRecord};
use roadstead_oci::{Algorithm, ContentRange, RepositoryName};

use crate::clock::new_id;
use crate::commit::ROUNDS;
use crate::ingest::forget_objects;
use crate::{Action, Caller, Error, Registry, Result};

pub(crate) use attempt::on_its_own;
pub(crate) use sessions::Sessions;
pub use stage::{staged_at, staged_session, staging_prefix};
use token::Token;

/// A token without a row is good for so long. Closed sessions are remembered longer than this, so that a token never
/// comes back to life after its upload was finished or cancelled.
pub const SESSION_LIFE: Duration = Duration::from_secs(3600);

/// What a PATCH or PUT says about its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chunk {
    /// `Content-Range`: where the chunk belongs.
    pub range: Option<ContentRange>,
    /// `Content-Length` in bytes; `None` for a body sent without one.
    pub length: Option<u64>,
}

impl Chunk {
    /// How many bytes the body will have, if one of them says so.
    fn announced(&self) -> Option<u64> {
        self.length.or(self.range.map(|range| range.len()))
    }
}

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadProgress {
    /// The session's token: the last component of its Location.
    pub session: String,
    /// Bytes acknowledged.
    pub received: u64,
}

/// A session as a request finds it.
struct Session {
    token: Token,
    text: String,
    name: RepositoryName,
    row: Option<UploadRecord>,
}

impl Session {
    fn received(&self) -> u64 {
        self.row.as_ref().map_or(0, |row| row.received)
    }

    fn progress(&self) -> UploadProgress {
        UploadProgress { session: self.text.clone(), received: self.received() }
    }

    /// The chunk must start where the session stands (416 otherwise), and its two lengths must agree.
    fn check(&self, chunk: &Chunk) -> Result<()> {
        let Some(range) = chunk.range else { return Ok(()) };
        if range.start != self.received() {
            return Err(Error::RangeInvalid { session: self.text.clone(), received: self.received() });
        }
        match chunk.length {
            Some(actual) if actual != range.len() => {
                Err(Error::SizeInvalid { what: "Content-Range".to_owned(), stated: range.len(), actual })
            }
            _ => Ok(()),
        }
    }
}

impl Registry {
    /// Starts a session (end-4a). `algorithm` is the one the final digest will most likely use.
    pub async fn start_upload(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<UploadProgress> {
        let name = self.access(caller, Action::Push, name).await?;
        self.writable()?;
        let token = Token { id: new_id(&*self.clock), algorithm };
        Ok(UploadProgress { session: token.sign(&self.sessions.key, &name), received: 0 })
    }

    /// Where a session stands (end-13).
    pub async fn upload_status(&self, caller: &Caller, name: &RepositoryName, session: &str) -> Result<UploadProgress> {
        let name = self.access(caller, Action::Push, name).await?;
        Ok(self.session(&name, session).await?.progress())
    }

    /// Ends a session without a blob. Its token answers `UploadUnknown` from now on.
    pub async fn cancel_upload(self: &Arc<Self>, caller: &Caller, name: &RepositoryName, session: &str) -> Result<()> {
        let name = self.access(caller, Action::Push, name).await?;
        let id = self.session(&name, session).await?.token.id;
        let _turn = self.sessions.enter(id).await;
        for _ in 0..ROUNDS {
            if self.close(&self.session(&name, session).await?).await? {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// Closes a session and frees its parts; `Ok(false)` when it moved meanwhile.
    async fn close(&self, session: &Session) -> Result<bool> {
        let mut batch = self.batch();
        let (at, location) = (batch.at, self.preferred());
        match &session.row {
            Some(row) => batch.push(upload::guard(row)).push(upload::close(row.id, at)),
            None => batch.push(upload::create_closed(session.token.id, session.name.as_str(), location.id, at)),
        };
        let closed = self.try_commit(batch).await?;
        if let (true, Some(row)) = (closed, &session.row)
            && let Some(location) = self.locations.by_id(row.location)
        {
            drop(forget_objects(
                &self.tasks,
                location.engine.clone(),
                row.parts.iter().map(|part| part.key.clone()).collect(),
            ));
        }
        Ok(closed)
    }

    /// Reads a token and its row; `UploadUnknown` unless it names an open session of this repository.
    async fn session(&self, name: &RepositoryName, text: &str) -> Result<Session> {
        let token = Token::open(text, &self.sessions.key, name).ok_or(Error::UploadUnknown)?;
        let row = upload::get(&*self.sql, token.id).await?;
        match &row {
            Some(row) if row.closed_at.is_some() => return Err(Error::UploadUnknown),
            None if self.clock.now() - token.started_at() > SESSION_LIFE.as_millis() as i64 => {
                return Err(Error::UploadUnknown);
            }
            _ => {}
        }
        Ok(Session { token, text: text.to_owned(), name: name.clone(), row })
    }
}
