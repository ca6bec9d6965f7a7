//! What a refused call of the admin API asked for, as it is told.

use std::borrow::Cow;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

/// So many characters are told.
const LONGEST: usize = 200;
/// No name is longer; what is, may be a secret.
const NAME: usize = 64;

/// The method and the path, without the parts of it that cannot be names or ids: secrets end up in paths, too, where
/// somebody takes one for the id of a token.
pub(super) fn asked(method: &Method, uri: &Uri) -> String {
    let path: Vec<_> = uri.path().split('/').map(shown).collect();
    format!("{method} {}", path.join("/")).chars().take(LONGEST).collect()
}

fn shown(part: &str) -> Cow<'_, str> {
    match percent_decode_str(part).decode_utf8() {
        Ok(name) if is_harmless(&name) => name,
        _ => "…".into(),
    }
}

fn is_harmless(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@:".contains(c);
    // Access tokens and refresh tokens, cut off or with something before them, too.
    let secret = ["rsd_", "rsr_"].iter().any(|prefix| part.contains(prefix));
    part.len() <= NAME && part.chars().all(plain) && !secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_told() {
        let told = |path: &'static str| asked(&Method::DELETE, &Uri::from_static(path));
        assert_eq!(told("/api/v1/repositories/acme/app?x=rsd_1"), "DELETE /api/v1/repositories/acme/app");
        assert_eq!(told("/api/v1/robots/acme%2Bci"), "DELETE /api/v1/robots/acme+ci");
        let id = "/api/v1/tokens/0199c6b0-3f0e-7c11-8d56-6f1d6c1f2b3a";
        assert_eq!(told(id), format!("DELETE {id}"));
        for secret in [
            "/api/v1/tokens/rsd_0199c6b03f0e7c118d566f1d6c1f2b3a_00ff",
            "/api/v1/tokens/%72sd_0199c6b03f0e7c118d566f1d6c1f2b3a_00ff",
            "/api/v1/tokens/xrsr_01_00",
            "/api/v1/tokens/eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUifQ.c2ln",
            "/api/v1/tokens/correct%20horse",
            "/api/v1/tokens/%ff",
        ] {
            assert_eq!(told(secret), "DELETE /api/v1/tokens/…");
        }
        let long = asked(&Method::GET, &"/a".repeat(300).parse().unwrap_or_default());
        assert_eq!(long.chars().count(), LONGEST);
    }
}
