//! An event as it is kept: one JSON object in a line. What the fields are is told in `docs/audit.md`.

use std::borrow::Cow;
use std::net::IpAddr;

use roadstead_metadata::Millis;
use roadstead_metadata::records::access::Subject;
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use super::{Actor, AuditAction, AuditOutcome, Event};
use crate::Caller;
use crate::rate::network;
use crate::registry::canonical;

/// So many events that are alike are told one by one before the others are told by their number.
const APART: u32 = 16;

/// Of so many refusals of one address, or one network of IPv6, each is told; of the others only how many.
const REFUSED: u32 = 200;

#[derive(Serialize)]
struct Line<'a> {
    id: Uuid,
    at: Millis,
    action: &'static str,
    outcome: &'static str,
    actor_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    instance: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// What a line tells, as far as it is looked for.
#[derive(Debug, Deserialize)]
pub struct Told<'a> {
    /// Greater than those of all earlier events of the same process; it begins with the time.
    pub id: Uuid,
    /// When: milliseconds since the epoch.
    pub at: Millis,
    /// What.
    #[serde(borrow)]
    pub action: Cow<'a, str>,
    /// How it ended.
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    /// `user`, `robot`, `anonymous`, `operator`, `system`, or `claimed` for a name that nobody vouches for.
    #[serde(borrow)]
    pub actor_kind: Cow<'a, str>,
    /// Who, if it has a name.
    #[serde(borrow, default)]
    pub actor: Option<Cow<'a, str>>,
    /// Where.
    #[serde(borrow, default)]
    pub repository: Option<Cow<'a, str>>,
}

impl<'a> Told<'a> {
    /// Reads a line. `None` for what is no event: half of one that a crash left.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Makes lines of the events of one process.
#[derive(Debug)]
pub struct Lines {
    instance: Uuid,
    next: u32,
}

impl Lines {
    /// Of the process with this id.
    pub fn of(instance: Uuid) -> Self {
        Self { instance, next: 0 }
    }

    /// Leaves of many events that are alike the first ones, and one that stands for the others. Who floods the
    /// registry with one request does not fill the audit.
    pub fn gather(events: Vec<Event>) -> Vec<Event> {
        let mut gathered: Vec<Event> = Vec::with_capacity(events.len());
        // The last places of what is told often, found by what tells events apart best.
        let mut seen: std::collections::HashMap<u64, (u32, usize)> = std::collections::HashMap::new();
        let mut refused: std::collections::HashMap<Option<IpAddr>, u32> = std::collections::HashMap::new();
        for mut event in events {
            if matches!(event.outcome, AuditOutcome::Denied | AuditOutcome::Failed) {
                let network = event.remote.map(network);
                let times = refused.entry(network).or_default();
                *times += 1;
                if *times > REFUSED {
                    event.without_particulars();
                    event.remote = network;
                }
            }
            if !may_be_many(&event) {
                gathered.push(event);
                continue;
            }
            let place = gathered.len();
            let (times, last) = seen.entry(likeness(&event)).or_insert((0, place));
            match gathered.get_mut(*last).filter(|known| known.is_like(&event)) {
                Some(known) if *times > APART => {
                    known.count = Some(known.count.unwrap_or(1) + 1);
                }
                known => {
                    *times = if known.is_some() { *times + 1 } else { 1 };
                    *last = place;
                    gathered.push(event);
                }
            }
        }
        gathered
    }

    /// Adds the line of an event to `text`.
    pub fn write(&mut self, event: &Event, text: &mut Vec<u8>) {
        let id = self.id(event.at);
        let (actor_kind, actor, token) = shown(&event.actor);
        let repository = event.repository.as_ref().map(canonical);
        let line = Line {
            id,
            at: event.at,
            action: event.action.name(),
            outcome: event.outcome.name(),
            actor_kind,
            actor,
            token,
            remote: event.remote.map(|remote| remote.to_canonical()),
            repository: repository.as_ref().map(|name| name.as_str()),
            tag: event.tag.as_ref().map(|tag| tag.as_str()),
            digest: event.digest.as_ref().map(ToString::to_string),
            object: event.object.as_deref(),
            detail: event.detail.as_deref(),
            status: event.status,
            request_id: event.request.as_deref(),
            instance: self.instance,
            count: event.count,
        };
        let length = text.len();
        match serde_json::to_writer(&mut *text, &line) {
            Ok(()) => text.push(b'\n'),
            // Nothing in it can fail to be written.
            Err(_) => text.truncate(length),
        }
    }

    /// The event's time, then in which order this process told events, then which process.
    fn id(&mut self, at: Millis) -> Uuid {
        self.next = (self.next + 1) & 0x3_ffff;
        let mut rest = [0; 10];
        let own = self.instance.as_bytes();
        rest[..2].copy_from_slice(&((self.next >> 6) as u16).to_be_bytes());
        rest[2] = (self.next & 0x3f) as u8;
        rest[3..].copy_from_slice(&own[9..]);
        Builder::from_unix_timestamp_millis(at.max(0) as u64, &rest).into_uuid()
    }
}

/// Kind and name of who it was, and the token it came with.
fn shown(actor: &Actor) -> (&'static str, Option<&str>, Option<Uuid>) {
    match actor {
        Actor::System => ("system", None, None),
        Actor::Claimed(name) => ("claimed", Some(&**name).filter(|name| !name.is_empty()), None),
        Actor::Caller(Caller::Anonymous) => ("anonymous", None, None),
        Actor::Caller(Caller::Operator) => ("operator", None, None),
        Actor::Caller(Caller::Known(identity)) => {
            let kind = match identity.subject {
                Subject::User(_) => "user",
                Subject::Robot(_) => "robot",
            };
            (kind, Some(&identity.name), identity.token)
        }
    }
}

/// What changes nothing may be asked for thousands of times in a second.
fn may_be_many(event: &Event) -> bool {
    match event.action {
        AuditAction::Pull | AuditAction::List | AuditAction::Login => true,
        _ => matches!(event.outcome, AuditOutcome::Denied | AuditOutcome::Failed),
    }
}

/// The same for events that are alike, and hardly ever for others.
fn likeness(event: &Event) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (event.action, event.outcome, event.remote).hash(&mut hasher);
    event.repository.as_ref().map(|name| name.as_str()).hash(&mut hasher);
    event.tag.as_ref().map(|tag| tag.as_str()).hash(&mut hasher);
    event.digest.as_ref().map(|digest| digest.as_bytes()).hash(&mut hasher);
    event.object.hash(&mut hasher);
    match &event.actor {
        Actor::Caller(Caller::Known(identity)) => identity.subject.id().hash(&mut hasher),
        Actor::Claimed(name) => name.hash(&mut hasher),
        Actor::Caller(_) | Actor::System => {}
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_alike_only_where_the_same_was_refused() {
        let refused = |object: &str| {
            let mut event = Event::new(AuditAction::Administer, AuditOutcome::Denied, Actor::Caller(Caller::Anonymous));
            event.object = Some(object.into());
            event
        };
        let many = std::iter::repeat_n("GET /api/v1/users", 40);
        let told = Lines::gather(many.chain(["DELETE /api/v1/users/root"]).map(refused).collect());
        let told = |what: &str| -> u64 {
            let those = told.iter().filter(|event| event.object.as_deref() == Some(what));
            those.map(|event| event.count.unwrap_or(1)).sum()
        };
        assert_eq!((told("GET /api/v1/users"), told("DELETE /api/v1/users/root")), (40, 1));
    }

    /// A machine has all addresses of such a network, and may ask from each for something else.
    #[test]
    fn refusals_of_a_network_of_ipv6_are_bounded_as_those_of_one_address() {
        let refused = |remote: String, number: usize| {
            let mut event = Event::new(AuditAction::Administer, AuditOutcome::Denied, Actor::Caller(Caller::Anonymous));
            event.remote = remote.parse().ok();
            event.object = Some(format!("GET /api/v1/users/user{number}").into());
            event
        };
        let flood = (0..5_000).map(|number| refused(format!("2001:db8:0:1::{number:x}"), number));
        let others = [("2001:db8:0:2::1", 1), ("192.0.2.1", 2), ("::ffff:192.0.2.1", 3)];
        let events = flood.chain(others.map(|(remote, number)| refused(remote.to_owned(), number)));
        let told = Lines::gather(events.collect());
        assert_eq!(told.len(), (REFUSED + APART + 1) as usize + others.len());
        assert_eq!(told.iter().map(|event| event.count.unwrap_or(1)).sum::<u64>(), 5_003);
        let of_network = told.iter().filter(|event| event.remote == "2001:db8:0:1::".parse().ok());
        // The first address of the flood is that of the network, too.
        assert_eq!(of_network.count(), (APART + 1) as usize + 1);
        assert_eq!(told.iter().filter(|event| event.object.is_some()).count(), REFUSED as usize + others.len());
    }
}
