//! Tries to log in, bounded by account and by address: whoever guesses is refused before a password is hashed.
//!
//! A try counts when it begins and is given back when it succeeds, so that many at once cannot slip through together.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use roadstead_registry::Clock;
use roadstead_registry::rate::{Rate, Tries, Try, network};
use sha2::{Digest as _, Sha256};

/// Of one account from one address: ten at once, then ten a minute.
const GUESSES: Rate = Rate { every: Duration::from_secs(6), burst: 10 };
/// Of one account from all addresses: so many that nobody locks somebody out who has not many addresses.
const ACCOUNT: Rate = Rate { every: Duration::from_secs(1), burst: 100 };
/// From one address, behind which there may be many people: 120 at once, then one a second. Each may cost a hash, and who has
/// several addresses is to leave the processor to pulls.
const ADDRESS: Rate = Rate { every: Duration::from_secs(1), burst: 120 };
/// Accounts and addresses that are remembered, each.
const ENTRIES: usize = 20_000;

/// The tries of late.
#[derive(Debug)]
pub(super) struct Throttle {
    clock: Arc<dyn Clock>,
    accounts: Tries<[u8; 32]>,
    addresses: Tries<IpAddr>,
}

/// A try that passed.
pub(super) struct Attempt(Vec<Try>);

impl Throttle {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, accounts: Tries::new(ENTRIES), addresses: Tries::new(ENTRIES) }
    }

    /// A try to log in to `account` (`None`: by what cannot be guessed), or how long to wait before the next one.
    pub(super) fn begin(&self, account: Option<&str>, remote: IpAddr) -> Result<Attempt, Duration> {
        let now = self.clock.monotonic();
        let network = network(remote);
        let mut begun = Attempt(vec![self.addresses.begin(&network, ADDRESS, now)?]);
        let Some(name) = account else { return Ok(begun) };
        let there = Sha256::new().chain_update(network.to_string()).chain_update(" ").chain_update(name).finalize();
        for (key, rate) in [(there, GUESSES), (Sha256::digest(name), ACCOUNT)] {
            match self.accounts.begin(&key.into(), rate, now) {
                Ok(passed) => begun.0.push(passed),
                Err(wait) => {
                    begun.succeeded();
                    return Err(wait);
                }
            }
        }
        Ok(begun)
    }
}

impl Attempt {
    /// It does not count.
    pub(super) fn succeeded(self) {
        self.0.into_iter().for_each(Try::give_back);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::auth::testing::ManualClock;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn an_account_is_guessed_ten_times_and_then_ten_times_a_minute() {
        let clock = Arc::new(ManualClock::default());
        let throttle = Throttle::new(clock.clone());
        for _ in 0..10 {
            throttle.begin(Some("alice"), address(1)).unwrap();
        }
        let wait = throttle.begin(Some("alice"), address(1)).err().unwrap();
        assert_eq!(wait, Duration::from_secs(6));
        assert!(throttle.begin(Some("alice"), address(2)).is_ok(), "nobody locks it out from elsewhere");
        assert!(throttle.begin(Some("bob"), address(1)).is_ok(), "nobody else waits for it");
        assert!(throttle.begin(None, address(1)).is_ok(), "nor its tokens");
        clock.advance(Duration::from_secs(6));
        assert!(throttle.begin(Some("alice"), address(1)).is_ok());
        assert!(throttle.begin(Some("alice"), address(1)).is_err());
        clock.advance(Duration::from_secs(3_600));
        let again = (0..20).filter(|_| throttle.begin(Some("alice"), address(1)).is_ok()).count();
        assert_eq!(again, 10);
    }

    #[test]
    fn an_account_is_bounded_from_wherever_it_is_guessed() {
        let throttle = Throttle::new(Arc::new(ManualClock::default()));
        let passed = (0..200).filter(|from| throttle.begin(Some("alice"), address(*from)).is_ok()).count();
        assert_eq!(passed, 100);
    }

    #[test]
    fn an_address_is_bounded_whatever_it_tries() {
        let clock = Arc::new(ManualClock::default());
        let throttle = Throttle::new(clock.clone());
        let passed = |throttle: &Throttle, address| {
            (0..500).filter(|number| throttle.begin(Some(&format!("user{number}")), address).is_ok()).count()
        };
        assert_eq!(passed(&throttle, address(1)), 120);
        assert_eq!(passed(&throttle, address(2)), 120);
        // All of one network of IPv6 are one; IPv4 is the same when it comes mapped.
        assert_eq!(passed(&throttle, "2001:db8::1".parse().unwrap()), 120);
        assert_eq!(passed(&throttle, "2001:db8::2".parse().unwrap()), 0);
        assert_eq!(passed(&throttle, "::ffff:192.0.2.1".parse().unwrap()), 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(passed(&throttle, address(1)), 1);
    }

    #[test]
    fn what_succeeds_does_not_count() {
        let throttle = Throttle::new(Arc::new(ManualClock::default()));
        for _ in 0..1_000 {
            throttle.begin(Some("alice"), address(1)).unwrap().succeeded();
        }
        // One that waits for the account was not held against the address.
        (0..10).for_each(|_| drop(throttle.begin(Some("alice"), address(1))));
        (0..1_000).for_each(|_| assert!(throttle.begin(Some("alice"), address(1)).is_err()));
        assert!(throttle.begin(Some("bob"), address(1)).is_ok());
    }
}
