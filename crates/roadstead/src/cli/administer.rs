//! What the verbs of administration share: one request to the admin API and what is printed of its answer, or a list with all
//! its pages as a table.

use hyper::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::admin::{Instance, Refused, block_on, exit, harmless};
use super::{Exit, print};

/// All but the unreserved characters of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Entries of a page.
const PAGE: usize = 1_000;

/// What each of these verbs is told beside what it does.
#[derive(Debug, clap::Args)]
pub(super) struct To {
    #[command(flatten)]
    instance: Instance,
    /// Print JSON: an object, or one a line
    #[arg(long, global = true)]
    json: bool,
}

/// A request.
pub(super) struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
}

pub(super) fn get(path: impl Into<String>) -> Request {
    Request { method: Method::GET, path: path.into(), body: None }
}

pub(super) fn post(path: impl Into<String>, body: Value) -> Request {
    Request { method: Method::POST, path: path.into(), body: Some(body) }
}

pub(super) fn put(path: impl Into<String>, body: Value) -> Request {
    Request { method: Method::PUT, path: path.into(), body: Some(body) }
}

pub(super) fn patch(path: impl Into<String>, body: Value) -> Request {
    Request { method: Method::PATCH, path: path.into(), body: Some(body) }
}

pub(super) fn delete(path: impl Into<String>) -> Request {
    Request { method: Method::DELETE, path: path.into(), body: None }
}

/// What somebody wrote as a piece of a path or a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Two names with this character between.
pub(super) fn pair<'a>(text: &'a str, between: char, form: &str) -> Result<(&'a str, &'a str), Refused> {
    text.split_once(between).ok_or_else(|| Refused::Usage(format!("{text} is not of the form {form}")))
}

impl To {
    /// Asks once and prints the answer: in a sentence for a person.
    pub(super) fn once(&self, request: Result<Request, Refused>, sentence: impl FnOnce(&Value) -> String) -> Exit {
        self.once_if(request, |answer| Ok(sentence(answer)))
    }

    /// The same, if the answer says that it was done.
    pub(super) fn once_if(
        &self,
        request: Result<Request, Refused>,
        sentence: impl FnOnce(&Value) -> Result<String, Refused>,
    ) -> Exit {
        let asked = async {
            let answer = self.ask(request?).await?;
            let sentence = sentence(&answer)?;
            Ok(print(&match (self.json, &answer) {
                // There is nothing to tell.
                (true, Value::Null) => "{}\n".to_owned(),
                (true, answer) => format!("{answer}\n"),
                (false, _) => format!("{sentence}\n"),
            }))
        };
        exit(block_on(asked), self.json)
    }

    /// Asks for a list and prints it: as a table of these columns for a person, each by its head and the field it shows.
    pub(super) fn list(&self, path: Result<String, Refused>, columns: &[(&str, &str)]) -> Exit {
        let asked = async {
            let path = path?;
            let separator = if path.contains('?') { '&' } else { '?' };
            let mut next = Some(format!("/api/v1{path}{separator}n={PAGE}"));
            let mut rows = vec![columns.iter().map(|(head, _)| (*head).to_owned()).collect::<Vec<_>>()];
            let mut printed = Exit::Done;
            while let Some(path) = next {
                let answer = self.instance.ask(Method::GET, &path, None).await?;
                next = answer.next();
                for entry in answer.whole::<Vec<Value>>().await? {
                    if !self.json {
                        rows.push(columns.iter().map(|(_, field)| cell(field, &entry[*field])).collect());
                    } else if printed == Exit::Done {
                        printed = print(&format!("{entry}\n"));
                    }
                }
            }
            Ok(if self.json { printed } else { print(&table(&rows)) })
        };
        exit(block_on(asked), self.json)
    }

    /// Whether JSON is printed.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// One answer, `null` when it has no body.
    pub(super) async fn ask(&self, request: Request) -> Result<Value, Refused> {
        let path = format!("/api/v1{}", request.path);
        self.instance.ask(request.method, &path, request.body).await?.whole().await
    }
}

/// A value as a table shows it.
pub(super) fn cell(field: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => harmless(text),
        Value::Number(millis) if field.ends_with("_at") => millis.as_i64().map_or_else(|| millis.to_string(), moment),
        other => other.to_string(),
    }
}

/// Columns that line up.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut page = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        page.push_str(cells.join("  ").trim_end());
        page.push('\n');
    }
    page
}

/// A time in UTC, from milliseconds since the Unix epoch.
fn moment(millis: i64) -> String {
    let (days, seconds) = (millis.div_euclid(86_400_000), millis.div_euclid(1_000).rem_euclid(86_400));
    // Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is their last.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (date, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        for (millis, told) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(moment(millis), told);
        }
    }

    #[test]
    fn cells_line_up_and_do_nothing_to_a_terminal() {
        let rows =
            [("name", json!("al\u{1b}[2J")), ("admin", json!(true)), ("expires_at", Value::Null), ("n", json!(3))];
        let cells = rows.iter().map(|(field, value)| cell(field, value)).collect::<Vec<_>>();
        assert_eq!(cells, ["al?[2J", "yes", "-", "3"]);
        let rows = [vec!["A".to_owned(), "B".into()], vec!["long".into(), "-".into()]];
        assert_eq!(table(&rows), "A     B\nlong  -\n");
    }
}
