//! What who is answered 401 is told to do: get a token there, for this.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::asked_host::said_host;

/// By which a proxy that ends TLS says so.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// `WWW-Authenticate: Bearer` (RFC 6750, section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(super) realm: String,
    pub(super) service: String,
    /// What the token is to be good for.
    pub(super) scope: Option<String>,
    pub(super) complaint: Option<Complaint>,
}

/// What is wrong with the token that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// It does not hold.
    Invalid,
    /// It is not for this.
    Insufficient,
}

impl Challenge {
    pub(crate) fn about(self, complaint: Option<Complaint>) -> Self {
        Self { complaint, ..self }
    }

    /// The header's value. Nothing in it has quotes: a realm is a URL, a scope is made of names.
    pub(crate) fn header(&self) -> String {
        let mut text = format!("Bearer realm=\"{}\",service=\"{}\"", self.realm, self.service);
        if let Some(scope) = &self.scope {
            text.push_str(&format!(",scope=\"{scope}\""));
        }
        if let Some(complaint) = self.complaint {
            let error = match complaint {
                Complaint::Invalid => "invalid_token",
                Complaint::Insufficient => "insufficient_scope",
            };
            text.push_str(&format!(",error=\"{error}\""));
        }
        text
    }
}

/// What of a request says where its client came to, kept for the few that are answered 401: all that is copied is counted
/// references.
#[derive(Debug)]
pub(crate) struct CameTo {
    uri: Uri,
    host: Option<HeaderValue>,
    proto: Option<HeaderValue>,
    secure: bool,
}

impl CameTo {
    /// `secure`: over TLS that ends here.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap, secure: bool) -> Self {
        let (host, proto) = (headers.get(HOST).cloned(), headers.get(&FORWARDED_PROTO).cloned());
        Self { uri: uri.clone(), host, proto, secure }
    }

    /// The query of the request.
    pub(crate) fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The URL of the token endpoint as the client can reach it: below `host`, or where the client came to.
    pub(super) fn realm(&self, host: Option<&str>) -> String {
        let came_to = || {
            let host = said_host(&self.uri, self.host.as_ref())?;
            let forwarded = self.proto.as_ref().is_some_and(|scheme| scheme == "https");
            let scheme = if self.secure || forwarded { "https" } else { "http" };
            Some(format!("{scheme}://{}", host.as_str()))
        };
        let base = host.map(str::to_owned).or_else(came_to).unwrap_or_default();
        format!("{base}/auth/token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(host: Option<&str>, secure: bool, uri: &Uri, headers: &HeaderMap) -> String {
        CameTo::of(uri, headers, secure).realm(host)
    }

    #[test]
    fn a_client_is_sent_to_where_it_came_to() {
        let headers = |host: &'static str, proto: Option<&'static str>| {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            proto.map(|proto| headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto)));
            headers
        };
        for (configured, secure, headers, realm_is) in [
            (None, false, headers("127.0.0.1:5000", None), "http://127.0.0.1:5000/auth/token"),
            (None, true, headers("registry.example.com", None), "https://registry.example.com/auth/token"),
            (None, false, headers("[::1]:5000", Some("https")), "https://[::1]:5000/auth/token"),
            (Some("https://r.example.com"), false, headers("inner:5000", None), "https://r.example.com/auth/token"),
            (None, true, headers("a\"b", None), "/auth/token"),
            (None, true, HeaderMap::new(), "/auth/token"),
        ] {
            assert_eq!(realm(configured, secure, &Uri::from_static("/v2/"), &headers), realm_is);
        }
        let uri = Uri::from_static("https://registry.example.com:5000/v2/");
        assert_eq!(realm(None, true, &uri, &HeaderMap::new()), "https://registry.example.com:5000/auth/token");
    }

    #[test]
    fn it_reads_as_clients_expect() {
        let challenge = Challenge {
            realm: "https://r/auth/token".into(),
            service: "roadstead".into(),
            scope: Some("repository:a/b:pull,push".into()),
            complaint: None,
        };
        let plain = r#"Bearer realm="https://r/auth/token",service="roadstead",scope="repository:a/b:pull,push""#;
        assert_eq!(challenge.header(), plain);
        let insufficient = challenge.about(Some(Complaint::Insufficient));
        assert_eq!(insufficient.header(), format!("{plain},error=\"insufficient_scope\""));
    }
}
