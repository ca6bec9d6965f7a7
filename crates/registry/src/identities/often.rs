//! How often passwords are set: each costs a slow hash. Bounded by the account of who sets them, after it is known that it
//! may and that what it gives can be one. Beside the bounds of logins, which nobody uses up here for others.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{IdentityError, Outcome};
use crate::rate::{Rate, Tries, Try};
use crate::{Caller, Clock};

/// Guesses at the present password of one's own account, by access token: ten at once, then ten a minute.
const GUESSES: Rate = Rate { every: Duration::from_secs(6), burst: 10 };
/// One's own password: as often.
const OWN: Rate = Rate { every: Duration::from_secs(6), burst: 10 };
/// Those of others, which only system admins set, of many at a time: 120 at once, then two a second.
const OTHERS: Rate = Rate { every: Duration::from_millis(500), burst: 120 };
/// Accounts that are remembered.
const ACCOUNTS: usize = 20_000;

/// What a password is hashed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum For {
    /// To see whether it is the present one.
    Guess,
    /// To be the new one of who sets it.
    Own,
    /// To be that of somebody else.
    Others,
}

/// What was set and guessed of late.
#[derive(Debug)]
pub(super) struct Often {
    clock: Arc<dyn Clock>,
    tries: Tries<(Uuid, For)>,
}

impl Often {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tries: Tries::new(ACCOUNTS) }
    }

    /// One more by `caller`, or `TooOften`. The operator is not bounded: nobody else comes by the socket.
    pub(super) fn begin(&self, caller: &Caller, purpose: For) -> Outcome<Option<Try>> {
        let Caller::Known(identity) = caller else { return Ok(None) };
        let rate = match purpose {
            For::Guess => GUESSES,
            For::Own => OWN,
            For::Others => OTHERS,
        };
        let begun = self.tries.begin(&(identity.subject.id(), purpose), rate, self.clock.monotonic());
        begun.map(Some).map_err(IdentityError::TooOften)
    }
}
