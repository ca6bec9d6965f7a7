//! The lines of a htpasswd file: `NAME:HASH`, bcrypt only.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bcrypt::HashParts;
use roadstead_registry::identities::not_a_user;
use sha2::{Digest as _, Sha256};

use super::HtpasswdError;

/// A quarter of a second. Each wrong password takes as long as the dearest line, two at a time for all users of the file: what
/// costs more lets few who guess keep out everybody else.
const MOST: u32 = 12;

/// A user of the file.
#[derive(Clone)]
pub(super) struct Entry {
    hash: String,
    /// Two to this power are the rounds of the hash.
    pub(super) cost: u32,
    /// Another hash has another one.
    pub(super) mark: u64,
}

/// All users of the file.
#[derive(Default)]
pub(super) struct Entries {
    of: HashMap<String, Arc<Entry>>,
    /// The highest cost among them.
    most: u32,
}

impl Entries {
    /// No name may begin with `foreign`.
    pub(super) fn read(path: &Path, text: &str, foreign: Option<&str>) -> Result<Self, HtpasswdError> {
        let mut entries = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            entries.add(line, foreign).map_err(|why| HtpasswdError::Line {
                path: path.to_owned(),
                line: at + 1,
                why,
            })?;
        }
        Ok(entries)
    }

    fn add(&mut self, line: &str, foreign: Option<&str>) -> Result<(), String> {
        let (name, hash) = line.split_once(':').ok_or("it is not NAME:HASH, as `htpasswd -B` writes it")?;
        if let Some(why) = not_a_user(name) {
            return Err(why);
        }
        if foreign.is_some_and(|prefix| name.starts_with(prefix)) {
            return Err(format!("{name} begins as users of auth.oidc do (username_prefix); choose another name"));
        }
        let entry = Entry::read(hash).map_err(|why| format!("the password of {name} {why}"))?;
        self.most = self.most.max(entry.cost);
        match self.of.insert(name.to_owned(), Arc::new(entry)) {
            None => Ok(()),
            Some(_) => Err(format!("{name} stands twice; remove one of the two lines")),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.of.get(name)
    }

    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    pub(super) fn most(&self) -> u32 {
        self.most
    }
}

impl Entry {
    fn read(hash: &str) -> Result<Self, String> {
        let bcrypt = ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| hash.starts_with(prefix));
        let parts = hash.parse::<HashParts>().ok().filter(|_| bcrypt);
        let parts = parts.ok_or("is not hashed with bcrypt; set it anew: `htpasswd -B FILE NAME`")?;
        let cost = parts.get_cost();
        if !(4..=MOST).contains(&cost) {
            return Err(format!(
                "has a cost of {cost}, which must be between 4 and {MOST}; set it anew: `htpasswd -B -C 10 FILE NAME`"
            ));
        }
        let mut mark = [0; 8];
        mark.copy_from_slice(&Sha256::digest(hash)[..8]);
        Ok(Self { hash: hash.to_owned(), cost, mark: u64::from_le_bytes(mark) })
    }
}

/// Whether a password is that of this entry. A wrong one, and one of nobody, takes as long as one of the highest cost: what
/// an entry of a lower cost `c` lacks of `most` are the costs from `c` up to it, for `2^c + 2^c + 2^(c+1) + ...` is `2^most`.
pub(super) fn is_right(entry: Option<&Entry>, password: &[u8], most: u32) -> bool {
    let matches = |hash: &str| bcrypt::verify(password, hash).unwrap_or(false);
    let right = match entry {
        Some(entry) => matches(&entry.hash),
        None => {
            matches(&of_nobody(most));
            false
        }
    };
    if !right {
        for cost in entry.map_or(most, |entry| entry.cost)..most {
            matches(&of_nobody(cost));
        }
    }
    right
}

/// The hash of no password.
fn of_nobody(cost: u32) -> String {
    format!("$2b${cost:02}${}", ".".repeat(53))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// `correct horse`, by `htpasswd -nbB -C 4`.
    fn hash(cost: u32) -> String {
        bcrypt::hash("correct horse", cost).unwrap()
    }

    fn read(text: &str) -> Result<Entries, String> {
        Entries::read(Path::new("users"), text, Some("sso-")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_htpasswd_writes_is_read() {
        let apache = "bob:$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";
        let entries = read(&format!("# users\n\nalice:{}\r\n{apache}\n", hash(4))).unwrap();
        assert_eq!((entries.len(), entries.most()), (2, 5));
        let (alice, bob) = (entries.get("alice").unwrap(), entries.get("bob").unwrap());
        assert!(is_right(Some(alice), b"correct horse", 5) && !is_right(Some(alice), b"correct horsf", 5));
        assert!(is_right(Some(bob), b"password", 5) && !is_right(Some(bob), b"", 5));
        assert!(!is_right(None, b"password", 5) && entries.get("eve").is_none());
        assert_ne!(alice.mark, bob.mark);
        assert_eq!(read("").unwrap().len(), 0);
    }

    #[test]
    fn other_lines_are_refused_with_their_place_and_never_quoted() {
        let good = hash(4);
        for (line, why) in [
            ("alice:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "`htpasswd -B FILE NAME`"),
            ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "bcrypt"),
            ("alice:secret", "bcrypt"),
            ("alice:", "bcrypt"),
            (&format!("alice:{}x", &good), "bcrypt"),
            (&format!("alice:{}", good.replace("$2b$", "$2x$")), "bcrypt"),
            (&format!("alice:{}", good.replace("$04$", "$13$")), "-C 10"),
            (&format!("alice:{}", good.replace("$04$", "$03$")), "between 4 and 12"),
            ("alice", "NAME:HASH"),
            (&format!("Alice:{good}"), "lower-case"),
            (&format!("library:{good}"), "reserved"),
            (&format!("acme+ci:{good}"), "no name for a user"),
            (&format!("sso-carol:{good}"), "username_prefix"),
            (&format!("bob:{good}"), "twice"),
        ] {
            let refused = read(&format!("# a comment\nbob:{good}\n{line}\n")).err().unwrap();
            assert!(refused.starts_with("users:3: ") && refused.contains(why), "{line}: {refused}");
            let secret = line.split_once(':').map_or("", |(_, secret)| secret);
            assert!(secret.is_empty() || !refused.contains(secret), "{refused}");
        }
    }

    #[test]
    fn a_wrong_password_costs_the_same_whoever_it_is_of() {
        // Rounds: those of the entry, and those of the costs that are added.
        for most in 4..=MOST {
            for cost in 4..=most {
                let added: u32 = (cost..most).map(|cost| 1 << cost).sum();
                assert_eq!((1 << cost) + added, 1 << most);
            }
        }
        // The hash of nobody is well formed: it is computed.
        assert!(of_nobody(4).parse::<HashParts>().is_ok());
    }
}
