//! What ends with a token: what was made with it, however far down.
//!
//! The token itself ends first, in a commit of one row, and with it what its owner made with it, which is judged by it. The
//! rest is marked in steps, so that nobody keeps a token alive by making very many with it. When a step fails, ending the
//! token once more goes on; what is its owner's is also marked by the worker that purges credentials.

use std::collections::HashMap;

use roadstead_metadata::Freshness;
use roadstead_metadata::records::access::Subject;
use roadstead_metadata::records::access_token::{self, Made};
use roadstead_metadata::records::robot;
use uuid::Uuid;

use super::deed::Deed;
use super::{Identities, Outcome};
use crate::{Caller, Identity};

/// Tokens that are looked at, and marked, at a time.
const STEP: usize = 500;
/// Of so many that end in one step the audit has the ids.
const TOLD: usize = 16;

/// What ends with a token of what was made for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Nothing.
    Stay,
    /// What the caller could end by itself.
    EndIfManaged,
}

impl Identities {
    /// Whether somebody may have to do with the tokens of `subject`: its own, those of robots of what it owns, as an admin
    /// all.
    pub(super) async fn manages(&self, caller: &Caller, subject: Subject) -> Outcome<bool> {
        let power = self.power(caller, "/").await?;
        if power.admin || power.subject == Some(subject) {
            return Ok(true);
        }
        let Subject::Robot(id) = subject else { return Ok(false) };
        match robot::by_id(&*self.sql, Freshness::Latest, id).await? {
            Some((_, namespace)) => Ok(self.power(caller, &format!("{namespace}/")).await?.owns()),
            None => Ok(false),
        }
    }

    /// Ends what was made with `token`, of `owner`, which has ended. The caller was let to end that one; of what it came
    /// with itself nothing needs to be good any more, because that may be among what ends.
    pub(super) async fn end_made_with(
        &self,
        caller: &Caller,
        token: Uuid,
        owner: Subject,
        others: Others,
    ) -> Outcome<()> {
        let lasting = match caller {
            Caller::Known(identity) => Caller::from(Identity { token: None, ..(**identity).clone() }),
            other => other.clone(),
        };
        let mut managed = HashMap::new();
        // Those whose children are to be looked for; each was marked before, so that it gets no more.
        let mut ended = vec![(token, owner)];
        while !ended.is_empty() {
            let parents: HashMap<Uuid, Subject> =
                ended.split_off(ended.len().saturating_sub(STEP)).into_iter().collect();
            let ids: Vec<Uuid> = parents.keys().copied().collect();
            let mut after = Uuid::nil();
            loop {
                let page = access_token::made_with(&*self.sql, &ids, after, STEP as i64).await?;
                let Some(last) = page.last() else { break };
                after = last.id;
                let mut ending = Vec::with_capacity(page.len());
                for made in page {
                    let own = parents.get(&made.parent) == Some(&made.subject);
                    if own || others == Others::EndIfManaged && self.once(&mut managed, &lasting, made.subject).await? {
                        ending.push(made);
                    }
                }
                self.mark(caller, token, &ending).await?;
                ended.extend(ending.iter().map(|made| (made.id, made.subject)));
            }
        }
        Ok(())
    }

    /// As [`Identities::manages`], asked once for each.
    async fn once(&self, known: &mut HashMap<Subject, bool>, caller: &Caller, subject: Subject) -> Outcome<bool> {
        if let Some(managed) = known.get(&subject) {
            return Ok(*managed);
        }
        let managed = self.manages(caller, subject).await?;
        known.insert(subject, managed);
        Ok(managed)
    }

    /// Marks those that are good still, and tells of it.
    async fn mark(&self, caller: &Caller, token: Uuid, ending: &[Made]) -> Outcome<()> {
        let living: Vec<Uuid> = ending.iter().filter(|made| !made.revoked).map(|made| made.id).collect();
        if living.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = living.iter().take(TOLD).map(Uuid::to_string).collect();
        let more = match living.len().saturating_sub(TOLD) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let detail = format!("{} made with it: {}{more}", living.len(), shown.join(", "));
        let deed = Deed::new(caller, "token.revoke", token).with(detail);
        self.change(deed, access_token::end(living, self.clock.now())).await.map(drop)
    }
}
