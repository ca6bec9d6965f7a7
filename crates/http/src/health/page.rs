//! The bodies of the health endpoints: JSON that satisfies those who ask as they asked Docker Trusted Registry
//! (`Error`, `Healthy`) or Quay (`data.services`, `status_code`), and a table for people.

use std::fmt::Write as _;

use axum::body::Body;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Verdict;

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "Error")]
    error: &'a str,
    #[serde(rename = "Healthy")]
    healthy: bool,
    #[serde(rename = "State")]
    state: &'static str,
    #[serde(rename = "Components")]
    components: Map<String, Value>,
    #[serde(rename = "CertificateDaysLeft", skip_serializing_if = "Option::is_none")]
    days: Option<i64>,
    data: Data,
    status_code: u16,
}

#[derive(Serialize)]
struct Data {
    services: Map<String, Value>,
}

/// Renders a verdict, and for how many days the certificate is good, for a client that sent `headers`.
pub(crate) fn respond(verdict: &Verdict, days: Option<i64>, headers: &HeaderMap) -> Response<Body> {
    let status = if verdict.serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (kind, body) = if wants_html(headers) {
        ("text/html; charset=utf-8", html(verdict, days))
    } else {
        ("application/json", json(verdict, days, status))
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(VARY, HeaderValue::from_static("Accept"));
    if !verdict.serving {
        head.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// Browsers name `text/html`; everything else, `*/*` included, gets JSON.
fn wants_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|part| part.split(';').next().is_some_and(|t| t.trim() == "text/html"))
}

fn json(verdict: &Verdict, days: Option<i64>, status: StatusCode) -> String {
    let mut components = Map::new();
    let mut services = Map::new();
    for (name, condition, needed) in &verdict.components {
        let detail = serde_json::json!({
            "Healthy": condition.works(), "Condition": condition.as_str(), "NeededToPull": needed,
        });
        components.insert(name.clone(), detail);
        services.insert(name.clone(), Value::Bool(condition.works()));
    }
    let answer = Answer {
        error: &verdict.error,
        healthy: verdict.serving,
        state: verdict.state,
        components,
        days,
        data: Data { services },
        status_code: status.as_u16(),
    };
    serde_json::to_string(&answer).unwrap_or_else(|_| String::from("{}"))
}

fn html(verdict: &Verdict, days: Option<i64>) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Roadstead: status</title>\
         <style>body{font:15px sans-serif;margin:2em}td,th{padding:.3em 1em;border:1px solid #bbb;text-align:left}\
         table{border-collapse:collapse}</style></head><body>",
    );
    // Writing to a string cannot fail.
    let _ = write!(page, "<h1>This instance: {}</h1><p>{}</p>", verdict.state, Escaped(&verdict.error));
    page.push_str("<table><tr><th>Component</th><th>Condition</th><th>Needed to pull</th></tr>");
    for (name, condition, needed) in &verdict.components {
        let needed = if *needed { "yes" } else { "no" };
        let _ = write!(page, "<tr><td>{}</td><td>{}</td><td>{needed}</td></tr>", Escaped(name), condition.as_str());
    }
    page.push_str("</table>");
    if let Some(days) = days {
        let _ = write!(page, "<p>The certificate is good for {days} days.</p>");
    }
    page.push_str("</body></html>\n");
    page
}

/// Text made safe inside HTML.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::Condition;
    use super::*;

    fn verdict() -> Verdict {
        let metadata = ("metadata".to_owned(), Condition::ReadOnly, true);
        Verdict::of(vec![metadata, ("storage <eu>".to_owned(), Condition::Unhealthy, false)], false)
    }

    #[test]
    fn json_answers_in_the_fields_of_dtr_and_of_quay() {
        let value: Value = serde_json::from_str(&json(&verdict(), None, StatusCode::OK)).unwrap();
        assert_eq!(value["Healthy"], true);
        assert_eq!(value["State"], "read-only");
        assert_eq!(value["Error"], "pulls only, pushes are refused; read-only: metadata");
        assert_eq!(value["Components"]["metadata"]["Condition"], "read-only");
        assert_eq!(value["data"]["services"]["metadata"], true);
        assert_eq!(value["data"]["services"]["storage <eu>"], false);
        assert_eq!(value["status_code"], 200);
        assert!(value.get("CertificateDaysLeft").is_none());
        let with = json(&verdict(), Some(-3), StatusCode::OK);
        assert!(with.contains("\"CertificateDaysLeft\":-3") && html(&verdict(), Some(12)).contains("12 days"));
    }

    #[test]
    fn only_who_names_html_gets_html_and_names_are_escaped() {
        let accept = |value: &str| HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(value).unwrap())]);
        assert!(wants_html(&accept("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")));
        assert!(
            !wants_html(&accept("*/*")) && !wants_html(&accept("application/json")) && !wants_html(&HeaderMap::new())
        );
        let page = html(&verdict(), None);
        assert!(page.contains("storage &lt;eu&gt;") && !page.contains("<eu>"), "{page}");
    }
}
