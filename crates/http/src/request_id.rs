//! Request ids: the client's when it is sane, else a new one.

use http::HeaderValue;
use uuid::Uuid;

/// The header that carries a request id in both directions.
pub(crate) const HEADER: &str = "x-request-id";
/// Longer ids are not taken over.
const MAX: usize = 128;

/// The id of one request, printable and safe in a log line of any format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The id a client sent, if it is 1 to 128 of `A-Z a-z 0-9 . _ : / + = @ -`; otherwise a new UUIDv7.
    pub(crate) fn accept(sent: Option<&HeaderValue>) -> Self {
        let sane = |b: &u8| b.is_ascii_alphanumeric() || b"._:/+=@-".contains(b);
        match sent.map(HeaderValue::as_bytes) {
            Some(bytes) if (1..=MAX).contains(&bytes.len()) && bytes.iter().all(sane) => {
                Self(String::from_utf8_lossy(bytes).into_owned())
            }
            _ => Self(Uuid::now_v7().to_string()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn accept(sent: &str) -> String {
        RequestId::accept(Some(&HeaderValue::from_str(sent).unwrap())).as_str().to_owned()
    }

    #[test]
    fn a_sane_id_is_taken_over() {
        assert_eq!(accept("ci-42/build:7"), "ci-42/build:7");
    }

    #[test]
    fn anything_else_is_replaced() {
        for bad in ["", "two words", "quote\"", &"x".repeat(129)] {
            assert_eq!(accept(bad).parse::<Uuid>().unwrap().get_version_num(), 7, "{bad:?}");
        }
        assert_ne!(RequestId::accept(None), RequestId::accept(None));
    }
}
