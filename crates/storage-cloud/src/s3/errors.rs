//! From what a server says to the words that callers decide by.
//!
//! A text names the place, what was being done and to which key, the server's code and message. Never the request: it
//! carries a signature.

use roadstead_storage::{Error, ErrorKind};

/// Codes by which servers say that there is no room.
const FULL: [&str; 5] = [
    "QuotaExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "InsufficientCapacity",
    "InsufficientStorage",
];
/// Codes by which they refuse who asks. Most come with status 403, not all.
const DENIED: [&str; 8] = [
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];
/// Codes that the same request meets again, whenever it comes.
const HOPELESS: [&str; 12] = [
    "AuthorizationHeaderMalformed",
    "EntityTooLarge",
    "EntityTooSmall",
    "InvalidArgument",
    "InvalidBucketName",
    "InvalidRequest",
    "MalformedXML",
    "MethodNotAllowed",
    "NoSuchBucket",
    "NotImplemented",
    "PermanentRedirect",
    "InvalidPart",
];

/// What a server said: its code, empty when it told none, and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) code: String,
    pub(super) message: String,
}

impl Said {
    /// Of an error of OpenDAL, which keeps the XML of the answer as the text of a struct.
    pub(super) fn of(error: &opendal::Error) -> Self {
        let text = error.message();
        let field = |name: &str, end: &str| {
            let rest = text.split_once(&format!("{name}: \""))?.1;
            Some(rest.split_once(end)?.0.replace("\\\"", "\""))
        };
        if let (Some(code), Some(message)) = (field("code", "\""), field("message", "\", resource")) {
            return Self { code, message };
        }
        let mut message = text.trim().chars().take(300).collect::<String>();
        if message.is_empty() {
            message = error.kind().to_string();
        }
        let mut cause = std::error::Error::source(error);
        while let Some(because) = cause {
            message = format!("{message}: {because}");
            cause = because.source();
        }
        Self { code: String::new(), message }
    }

    fn is_one_of(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

impl std::error::Error for Said {}

/// The kind of an error. Retries are over by now: what may pass by itself is `Unavailable`.
pub(super) fn kind(error: &opendal::Error, said: &Said) -> ErrorKind {
    use opendal::ErrorKind as Its;
    if said.is_one_of(&FULL) {
        return ErrorKind::Full;
    }
    if said.is_one_of(&DENIED) {
        return ErrorKind::Denied;
    }
    if said.is_one_of(&HOPELESS) {
        return ErrorKind::Other;
    }
    match error.kind() {
        Its::NotFound => ErrorKind::NotFound,
        Its::PermissionDenied => ErrorKind::Denied,
        Its::ConditionNotMatch | Its::AlreadyExists => ErrorKind::AlreadyExists,
        Its::RangeNotSatisfied => ErrorKind::InvalidRange,
        Its::RateLimited | Its::Unexpected | Its::Conflict => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

/// The error of `doing` something to `key` at `place`.
pub(super) fn error(place: &str, doing: &str, key: &str, error: &opendal::Error) -> Error {
    let said = Said::of(error);
    let kind = kind(error, &said);
    Error::new(kind, format!("{place}: cannot {doing} {key}")).with_source(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: opendal::ErrorKind, code: &str) -> opendal::Error {
        let text = format!(
            "S3Error {{ code: \"{code}\", message: \"It says \\\"no\\\", and why\", resource: \"/b/k\", request_id: \"7\" }}"
        );
        opendal::Error::new(kind, text)
    }

    #[test]
    fn the_code_decides_before_the_status() {
        use opendal::ErrorKind as Its;
        for (its, code, ours) in [
            (Its::Unexpected, "XMinioStorageFull", ErrorKind::Full),
            (Its::Unexpected, "ExpiredToken", ErrorKind::Denied),
            (Its::PermissionDenied, "RequestTimeTooSkewed", ErrorKind::Denied),
            (Its::ConfigInvalid, "NoSuchBucket", ErrorKind::Other),
            (Its::NotFound, "NoSuchKey", ErrorKind::NotFound),
            (Its::RateLimited, "SlowDown", ErrorKind::Unavailable),
            (Its::Unexpected, "InternalError", ErrorKind::Unavailable),
            (Its::ConditionNotMatch, "PreconditionFailed", ErrorKind::AlreadyExists),
            (Its::RangeNotSatisfied, "InvalidRange", ErrorKind::InvalidRange),
        ] {
            let its = answer(its, code);
            let ours_is = error("bucket b at http://s", "read", "blobs/x", &its);
            assert_eq!(ours_is.kind(), ours, "{code}");
            let expected = format!("bucket b at http://s: cannot read blobs/x: {code}: It says \"no\", and why");
            assert_eq!(ours_is.to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_answer_of_s3_is_told_with_its_cause() {
        let refused = std::io::Error::other("connection refused");
        let its = opendal::Error::new(opendal::ErrorKind::Unexpected, "send http request").set_source(refused);
        let ours = error("bucket b at http://s", "look at", "k", &its);
        assert_eq!(ours.kind(), ErrorKind::Unavailable);
        assert!(ours.to_string().ends_with("cannot look at k: send http request: connection refused"), "{ours}");
    }
}
