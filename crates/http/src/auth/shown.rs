//! What the head of a request shows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Credentials as they come.
pub(super) enum Shown {
    /// None.
    Nothing,
    /// A name and a secret (RFC 7617).
    Basic(String, String),
    /// A token (RFC 6750).
    Bearer(String),
    /// Something else, or twice something.
    Odd,
}

impl Shown {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (first, second) = (values.next(), values.next());
        let Some(value) = first else { return Self::Nothing };
        let text = value.to_str().ok().filter(|_| second.is_none());
        let Some((scheme, rest)) = text.and_then(|text| text.trim().split_once(' ')) else { return Self::Odd };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Self::Bearer(rest.to_owned())
        } else if scheme.eq_ignore_ascii_case("basic") {
            Self::basic(rest).unwrap_or(Self::Odd)
        } else {
            Self::Odd
        }
    }

    fn basic(text: &str) -> Option<Self> {
        let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (name, secret) = decoded.split_once(':')?;
        // Some clients send an empty one where they have none.
        Some(match (name, secret) {
            ("", "") => Self::Nothing,
            // Not every metadata engine takes such a text, and no name has one.
            (name, _) if name.chars().any(char::is_control) => Self::Odd,
            (name, secret) => Self::Basic(name.to_owned(), secret.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        match Shown::read(&headers) {
            Shown::Nothing => "nothing".into(),
            Shown::Basic(name, secret) => format!("{name} {secret}"),
            Shown::Bearer(token) => format!("bearer {token}"),
            Shown::Odd => "odd".into(),
        }
    }

    #[test]
    fn credentials_are_read() {
        assert_eq!(read(&[]), "nothing");
        assert_eq!(read(&["Basic YWxpY2U6YTpi"]), "alice a:b");
        assert_eq!(read(&["basic  YWxpY2U6YTpi "]), "alice a:b");
        assert_eq!(read(&["Basic Og=="]), "nothing");
        assert_eq!(read(&["Bearer abc.def"]), "bearer abc.def");
        for odd in ["Basic", "Basic YWxpY2U", "Basic YWxpY2U=", "Digest x", "Basic ////", "Basic YQBiOmM=", ""] {
            assert_eq!(read(&[odd]), "odd", "{odd}");
        }
        assert_eq!(read(&["Bearer a", "Bearer b"]), "odd", "a proxy may have looked at the other one");
    }
}
