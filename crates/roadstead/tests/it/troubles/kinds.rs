//! What goes wrong, how it is brought about and lifted, and what the log has to say of it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use roadstead_testkit::Seed;
use roadstead_testkit::servers::Trouble;

use super::stand::Stand;

/// A stall, longer than the timeouts of one instance and shorter than those of the other.
const STALL: Duration = Duration::from_secs(2);
/// What lasts, lasts until it is noticed, and that takes no longer.
const NOTICED: Duration = Duration::from_secs(30);

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    StoreIsCutOff,
    StoreSlowsDown,
    StoreHasAnInternalError,
    StoreStalls,
    StoreRefuses,
    KeysHaveExpired,
    ClocksDiffer,
    DatabaseIsCutOff,
    DatabaseStalls,
    DatabaseRefuses,
    PasswordHasExpired,
    DatabaseIsFull,
    DatabaseIsKilled,
    DatabaseIsRestarted,
    BothAreCutOff,
    BothStall,
    BothRefuse,
}

use Kind::*;

const REFUSED: &[&str] = &["onnection refused"];
const CUT: &[&str] =
    &["onnection", "closed", "reset", "unexpected", "broken pipe", "decoding", "EOF", "eof", "too early"];
const STALLED: &[&str] = &[
    "timeout",
    "timed out",
    "did not answer in time",
    "no answer in time",
    "no answer within",
    "came about in time",
    "in use",
];
const AWAY: &[&str] =
    &["closed", "refused", "reset", "eof", "terminating", "starting up", "shutting down", "no answer within"];

impl Kind {
    pub(super) const ALL: [Kind; 17] = [
        StoreIsCutOff,
        DatabaseIsCutOff,
        StoreSlowsDown,
        DatabaseIsKilled,
        StoreStalls,
        DatabaseStalls,
        KeysHaveExpired,
        PasswordHasExpired,
        StoreRefuses,
        DatabaseRefuses,
        StoreHasAnInternalError,
        DatabaseIsRestarted,
        ClocksDiffer,
        DatabaseIsFull,
        BothAreCutOff,
        BothStall,
        BothRefuse,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            StoreIsCutOff => "bucket cut off",
            StoreSlowsDown => "bucket answers 503",
            StoreHasAnInternalError => "bucket answers 500",
            StoreStalls => "bucket stalls",
            StoreRefuses => "bucket refuses",
            KeysHaveExpired => "keys expired",
            ClocksDiffer => "clocks differ",
            DatabaseIsCutOff => "database cut off",
            DatabaseStalls => "database stalls",
            DatabaseRefuses => "database refuses",
            PasswordHasExpired => "password expired",
            DatabaseIsFull => "database has no connection left",
            DatabaseIsKilled => "database killed",
            DatabaseIsRestarted => "database restarted",
            BothAreCutOff => "both cut off",
            BothStall => "both stall",
            BothRefuse => "both refuse",
        }
    }

    /// What is wrong with the way to the store, and what the log calls it.
    fn of_store(self) -> Option<(Trouble, &'static [&'static str])> {
        let answer = |status, code, message| Trouble::Answer { status, code, message };
        Some(match self {
            StoreIsCutOff | BothAreCutOff => (Trouble::Cut { most: 4 << 20 }, CUT),
            StoreSlowsDown => (answer(503, "SlowDown", "Please reduce your request rate."), &["SlowDown"]),
            StoreHasAnInternalError => (answer(500, "InternalError", "We encountered an error."), &["InternalError"]),
            StoreStalls | BothStall => (Trouble::Stall, STALLED),
            StoreRefuses | BothRefuse => (Trouble::Refuse, REFUSED),
            KeysHaveExpired => (answer(400, "ExpiredToken", "The provided token has expired."), &["ExpiredToken"]),
            ClocksDiffer => {
                (answer(403, "RequestTimeTooSkewed", "The difference is too large."), &["RequestTimeTooSkewed"])
            }
            _ => return None,
        })
    }

    /// The same of the database.
    fn of_database(self) -> Option<(Trouble, &'static [&'static str])> {
        let answer = |code, message| Trouble::Answer { status: 0, code, message };
        Some(match self {
            DatabaseIsCutOff | BothAreCutOff => (Trouble::Cut { most: 64 << 10 }, CUT),
            DatabaseStalls | BothStall => (Trouble::Stall, STALLED),
            DatabaseRefuses | BothRefuse => (Trouble::Refuse, REFUSED),
            PasswordHasExpired => (answer("28P01", "password authentication failed"), &["28P01"]),
            DatabaseIsFull => (answer("53300", "sorry, too many clients already"), &["53300"]),
            DatabaseIsKilled | DatabaseIsRestarted => (Trouble::None, AWAY),
            _ => return None,
        })
    }

    /// Brings it about, waits until it was noticed, and lifts it. How long it lasted.
    pub(super) fn happens(self, stand: &Stand, printed: &[usize; 2], seed: Seed) -> Duration {
        let begin = Instant::now();
        match self {
            DatabaseIsKilled => {
                stand.postgres.lock().unwrap().kill9();
                self.is_noticed(stand, printed);
                stand.postgres.lock().unwrap().serve();
            }
            DatabaseIsRestarted => {
                let mut postgres = stand.postgres.lock().unwrap();
                postgres.stop();
                postgres.serve();
            }
            StoreStalls | DatabaseStalls | BothStall => {
                for _ in 0..2 {
                    self.begins(stand);
                    sleep(STALL);
                    stand.lift();
                    sleep(Duration::from_millis(200 + seed.derive(7).below(400)));
                }
            }
            StoreIsCutOff | DatabaseIsCutOff | BothAreCutOff => {
                let least = Duration::from_millis(1_500 + seed.derive(7).below(2_000));
                let mut cut = 0;
                while begin.elapsed() < least || cut == 0 {
                    assert!(begin.elapsed() < NOTICED, "nothing was cut");
                    // Drawn anew each time: so many bytes may never come.
                    self.begins(stand);
                    sleep(Duration::from_millis(500));
                    cut += stand.to_store.met() + stand.to_database.met();
                }
            }
            _ => {
                self.begins(stand);
                self.is_noticed(stand, printed);
            }
        }
        stand.lift();
        begin.elapsed()
    }

    fn begins(self, stand: &Stand) {
        if let Some((trouble, _)) = self.of_store() {
            stand.to_store.set(trouble);
        }
        if let Some((trouble, _)) = self.of_database() {
            stand.to_database.set(trouble);
        }
    }

    /// Waits until log and health of both say what is wrong.
    fn is_noticed(self, stand: &Stand, printed: &[usize; 2]) {
        let begin = Instant::now();
        for which in 0..2 {
            while !(self.is_logged(stand, which, printed) && self.is_shown(stand, which)) {
                let (log, health) = (stand.servers[which].printed_since(printed[which]), stand.health(which));
                assert!(
                    begin.elapsed() < NOTICED,
                    "{}: instance {which} shows {health:?} and logs:\n{}",
                    self.name(),
                    log.join("\n")
                );
                sleep(Duration::from_millis(50));
            }
        }
    }

    /// Whether the log has a line with the place and the cause of each.
    fn is_logged(self, stand: &Stand, which: usize, printed: &[usize; 2]) -> bool {
        let log = stand.servers[which].printed_since(printed[which]);
        let has = |place: &str, causes: &[&str]| {
            log.iter().any(|line| line.contains(place) && causes.iter().any(|cause| line.contains(cause)))
        };
        self.of_store().is_none_or(|(_, causes)| has(&stand.store_place(), causes))
            && self.of_database().is_none_or(|(_, causes)| has(&stand.database_place(), causes))
    }

    /// Whether health names what does not work, and is red only for the database: a bucket is away for all.
    fn is_shown(self, stand: &Stand, which: usize) -> bool {
        let (status, health) = stand.health(which);
        let told = health["Error"].as_str().unwrap_or_default();
        match self.of_database() {
            Some(_) => status == 503 && told.contains("metadata"),
            None => status == 200 && told.contains("storage default"),
        }
    }

    /// After the trouble: whoever refused requests has said in its log who failed and why, and one whose timeouts are
    /// longer than a stall refused none for it. `refused` are requests of each instance.
    pub(super) fn check(self, stand: &Stand, printed: &[usize; 2], refused: [u64; 2]) {
        if matches!(self, StoreStalls | DatabaseStalls | BothStall) {
            assert_eq!(refused[1], 0, "{}: the patient one refused requests", self.name());
        }
        for (which, refused) in refused.into_iter().enumerate() {
            let log = stand.servers[which].printed_since(printed[which]);
            let strange: Vec<_> = log.iter().filter(|line| !line.starts_with("20")).collect();
            assert!(strange.is_empty(), "{}: what happens is told in one line each: {strange:#?}", self.name());
            if refused == 0 {
                continue;
            }
            let places = [stand.store_place(), stand.database_place(), "component=\"metadata\"".to_owned()];
            let causes = [self.of_store(), self.of_database()].into_iter().flatten().flat_map(|(_, causes)| causes);
            // A machine that is busy may be too slow for the hasty one at any time.
            let causes: Vec<&&str> = causes.chain(STALLED).collect();
            let told = log.iter().any(|line| {
                places.iter().any(|place| line.contains(place)) && causes.iter().any(|cause| line.contains(**cause))
            });
            assert!(
                told,
                "{}: instance {which} refused {refused} requests and does not say why:\n{}",
                self.name(),
                log.join("\n")
            );
        }
    }
}
