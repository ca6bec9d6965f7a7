//! How often something may be tried: some at once, then one every so often.

use std::convert::Infallible;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;

/// How many tries pass.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// One more passes after so long.
    pub every: Duration,
    /// So many pass at once.
    pub burst: u32,
}

/// When all tries so far will be forgotten, by the monotonic clock.
type Debt = Arc<Mutex<Duration>>;

/// The tries of late, of each key. Of many keys those are forgotten that nobody tries.
#[derive(Debug)]
pub struct Tries<K>(Cache<K, Debt>);

/// A try that passed. It counts unless it is given back.
#[derive(Debug)]
pub struct Try(Debt, Rate);

impl<K: Hash + Eq + Clone> Tries<K> {
    /// Remembers so many keys.
    pub fn new(keys: usize) -> Self {
        Self(Cache::new(keys))
    }

    /// One more at `now`, by the monotonic clock, or how long to wait before the next one.
    pub fn begin(&self, key: &K, rate: Rate, now: Duration) -> Result<Try, Duration> {
        let debt = match self.0.get_or_insert_with(key, || Ok::<_, Infallible>(Debt::default())) {
            Ok(debt) => debt,
            Err(never) => match never {},
        };
        let passed = Try(debt.clone(), rate);
        let mut debt = debt.lock();
        let after = (*debt).max(now) + rate.every;
        let most = now + rate.every * rate.burst;
        if after > most {
            return Err(after - most);
        }
        *debt = after;
        Ok(passed)
    }
}

impl Try {
    /// It does not count.
    pub fn give_back(self) {
        let mut debt = self.0.lock();
        *debt = debt.saturating_sub(self.1.every);
    }
}

/// What is bounded in place of an address: a machine has all of an IPv6 network of 64 bits to choose from. IPv4 is the same
/// when it comes mapped.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}
