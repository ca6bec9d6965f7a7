//! The issuer as a server: what it says of itself (OpenID Connect Discovery 1.0), and its keys, which are kept.
//!
//! It is asked when keys are wanted that are not there, or are old: by one task for all who wait, which ends whether or not
//! they do, and so rarely that nobody makes us a nuisance to it by tokens that name keys which there are not. Keys that are
//! old are asked for by the clock, too, whatever others use that up for. What was known goes on while it is away, for a day.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use reqwest::{Client, Url};
use roadstead_registry::Clock;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::statement::{Key, Wanted};

/// How long all of asking may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Keys that were asked for longer ago are asked for again, so that one that was withdrawn does not stay for ever.
const OLD: Duration = Duration::from_secs(3_600);
/// Keys that the issuer did not confirm for so long count no more: nobody knows what it withdrew.
const LAST: Duration = Duration::from_secs(24 * 3_600);
/// How often it is looked whether keys are old, or could not be had.
const LOOK: Duration = Duration::from_secs(60);
/// Five times at once, then once in ten seconds.
const EVERY: Duration = Duration::from_secs(10);
const BURST: u32 = 5;
/// No answer is longer, in bytes.
const LARGEST: usize = 1 << 20;
/// So many characters are kept of why it cannot be asked: part of that is what it says itself.
const TOLD: usize = 200;

/// The issuer.
pub(super) struct Provider {
    issuer: String,
    client: Client,
    clock: Arc<dyn Clock>,
    known: RwLock<Option<Arc<Known>>>,
    /// Keys that it published once and does not any more, and when that was seen: as long as anything that was made by
    /// them may be good.
    withdrawn: RwLock<Vec<(u64, Duration)>>,
    asking: Mutex<Asking>,
    /// Why the last time nothing came of it.
    failed: RwLock<Option<String>>,
}

struct Known {
    keys: Vec<Key>,
    at: Duration,
}

/// Why there are no newer keys.
enum NoAnswer {
    /// It was asked too often.
    NotAsked,
    /// It was asked, and this came of it.
    Failed(String),
}

#[derive(Default)]
struct Asking {
    /// When all times so far will be forgotten, by the monotonic clock.
    debt: Duration,
    /// Ends when whoever asks now, or asked last, has its answer.
    current: Option<watch::Receiver<()>>,
}

/// On whose account it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// Of somebody who shows a token: so often and no more.
    Caller,
    /// Of the clock.
    Clock,
}

/// Whether there is a key.
pub(super) enum Found<T> {
    /// This is it.
    Key(T),
    /// The issuer has none such.
    None,
    /// It cannot be known now, and why.
    Unknown(String),
}

impl Provider {
    pub(super) fn new(issuer: &str, client: Client, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.to_owned(),
            client,
            clock,
            known: RwLock::default(),
            withdrawn: RwLock::default(),
            asking: Mutex::default(),
            failed: RwLock::default(),
        })
    }

    /// Whether what is known is what the issuer said when it was asked last.
    pub(super) fn is_current(&self) -> bool {
        self.failed.read().is_none()
    }

    /// Whether the key of this mark may still be one. It is one until it is seen that the issuer has it no more: it may be
    /// one that another instance learnt, or this one before it was started.
    pub(super) fn holds(&self, mark: u64) -> bool {
        let old = self.known.read().as_ref().is_some_and(|known| self.age(known) >= LAST);
        !old && !self.withdrawn.read().iter().any(|(gone, _)| *gone == mark)
    }

    /// Does `with` the key that is wanted.
    pub(super) async fn with_key<T>(self: &Arc<Self>, wanted: &Wanted, with: impl Fn(&Key) -> T) -> Found<T> {
        let known = self.known.read().clone().filter(|known| self.age(known) < LAST);
        let found = known.as_ref().and_then(|known| wanted.find(&known.keys));
        if let (Some(known), Some(key)) = (&known, found)
            // Nobody waits for keys that are only old while somebody else asks for them.
            && (self.age(known) < OLD || self.asking.lock().begun().is_some())
        {
            return Found::Key(with(key));
        }
        match (self.ask_once(For::Caller).await, found) {
            (Ok(now), _) => now.keys_with(wanted).map_or(Found::None, |key| Found::Key(with(key))),
            (Err(_), Some(key)) => Found::Key(with(key)),
            // It may be one of the keys that are not known yet.
            (Err(NoAnswer::NotAsked), None) => Found::Unknown("it was asked too often; it is asked again soon".into()),
            (Err(NoAnswer::Failed(why)), None) => Found::Unknown(why),
        }
    }

    /// Asks for keys at once, so that they are there and what is wrong is logged, and again when they are old.
    pub(super) async fn keep(self: &Arc<Self>) {
        let mut times = interval(LOOK);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            self.refresh().await;
        }
    }

    /// Asks if what is known is old, or is not what the issuer says now.
    pub(super) async fn refresh(self: &Arc<Self>) {
        let fresh = self.known.read().as_ref().is_some_and(|known| self.age(known) < OLD);
        if !fresh || !self.is_current() {
            let _ = self.ask_once(For::Clock).await;
        }
    }

    fn age(&self, known: &Known) -> Duration {
        self.clock.monotonic().saturating_sub(known.at)
    }

    /// Asks, unless somebody else does or may not be asked again so soon. Who goes away meanwhile ends nothing: it was
    /// counted, and others wait for it.
    async fn ask_once(self: &Arc<Self>, whom: For) -> Result<Arc<Known>, NoAnswer> {
        let Some(mut answered) = self.begin(whom) else {
            return match self.last() {
                Ok(_) => Err(NoAnswer::NotAsked),
                failed => failed,
            };
        };
        // Nothing is sent: it fails when the task has ended.
        while answered.changed().await.is_ok() {}
        self.last()
    }

    /// What ends when there is an answer; `None` when it may not be asked now.
    fn begin(self: &Arc<Self>, whom: For) -> Option<watch::Receiver<()>> {
        let mut asking = self.asking.lock();
        if let Some(begun) = asking.begun() {
            return Some(begun);
        }
        if whom == For::Caller && !asking.may(self.clock.monotonic()) {
            return None;
        }
        let (ends, answered) = watch::channel(());
        asking.current = Some(answered.clone());
        let provider = self.clone();
        tokio::spawn(async move {
            let _ends = ends;
            let answer = timeout(WITHIN, provider.ask()).await;
            provider.keep_answer(answer.unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs()))));
        });
        Some(answered)
    }

    fn keep_answer(&self, answer: Result<Vec<Key>, String>) {
        match answer {
            Ok(keys) => {
                let known = Arc::new(Known { keys, at: self.clock.monotonic() });
                let before = self.known.write().replace(known.clone());
                self.withdraw(before.as_deref(), &known);
                if self.failed.write().take().is_some() {
                    tracing::info!(issuer = self.issuer, "the issuer answers again");
                }
            }
            Err(why) => {
                let why: String = why.chars().take(TOLD).collect();
                if self.failed.write().replace(why.clone()).as_ref() != Some(&why) {
                    tracing::error!(issuer = self.issuer, why, "the issuer's keys cannot be had; those known go on");
                }
            }
        }
    }

    /// Notes which keys are none any more. Who was let in by one is not any more; no token is longer good than what is
    /// noted here is kept.
    fn withdraw(&self, before: Option<&Known>, now: &Known) {
        let is_there = |mark: u64| now.keys.iter().any(|key| key.mark() == mark);
        let mut withdrawn = self.withdrawn.write();
        withdrawn.retain(|(mark, at)| !is_there(*mark) && now.at.saturating_sub(*at) < LAST);
        let before = before.map_or(&[][..], |before| &before.keys);
        let gone = before.iter().map(Key::mark).filter(|mark| !is_there(*mark));
        withdrawn.extend(gone.map(|mark| (mark, now.at)));
    }

    /// What came of asking the last time.
    fn last(&self) -> Result<Arc<Known>, NoAnswer> {
        match (self.failed.read().clone(), self.known.read().clone()) {
            (None, Some(known)) => Ok(known),
            (None, None) => Err(NoAnswer::NotAsked),
            (Some(why), _) => Err(NoAnswer::Failed(why)),
        }
    }

    async fn ask(&self) -> Result<Vec<Key>, String> {
        #[derive(Deserialize)]
        struct Itself {
            issuer: String,
            jwks_uri: String,
        }
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let itself: Itself = self.get(&address).await?;
        if itself.issuer != self.issuer {
            let found = itself.issuer;
            return Err(format!(
                "{address} is of issuer {found:?}; write that in auth.oidc.issuer, to the last character"
            ));
        }
        if !may_have_keys_at(&self.issuer, &itself.jwks_uri) {
            return Err(format!("{address} has its keys at {:?}, which is not https", itself.jwks_uri));
        }
        let set: Set = self.get(&itself.jwks_uri).await?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::read).collect();
        match keys.is_empty() {
            true => Err(format!("{} has no key for RS256, ES256 or EdDSA", itself.jwks_uri)),
            false => Ok(keys),
        }
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, address: &str) -> Result<T, String> {
        let failed = |error: reqwest::Error| format!("{address}: {}", causes(&error.without_url()));
        let mut answer = self.client.get(address).header("accept", "application/json").send().await.map_err(failed)?;
        if answer.status().as_u16() != 200 {
            return Err(format!("{address}: answered {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(format!("{address}: the answer has more than {LARGEST} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| format!("{address}: {error}"))
    }
}

impl Known {
    fn keys_with(&self, wanted: &Wanted) -> Option<&Key> {
        wanted.find(&self.keys)
    }
}

impl Asking {
    /// What ends when there is an answer, if somebody asks now.
    fn begun(&self) -> Option<watch::Receiver<()>> {
        self.current.clone().filter(|answered| answered.has_changed().is_ok())
    }

    fn may(&mut self, now: Duration) -> bool {
        let after = self.debt.max(now) + EVERY;
        let may = after <= now + EVERY * BURST;
        if may {
            self.debt = after;
        }
        may
    }
}

/// Whether nobody between reads or changes what is answered there: https, or this machine.
pub(super) fn is_safe(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => url.host_str().is_some_and(is_loopback),
        _ => false,
    }
}

/// Whether an issuer may have its keys there: one elsewhere does not send us to this machine, where its word would be that
/// of whoever has the port.
pub(super) fn may_have_keys_at(issuer: &str, address: &str) -> bool {
    let scheme = |address: &str| Url::parse(address).is_ok_and(|url| url.scheme() == "http");
    is_safe(address) && (!scheme(address) || scheme(issuer))
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// An error with all that caused it: the first says only that something failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
