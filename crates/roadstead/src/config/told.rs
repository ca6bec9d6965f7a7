//! The settings as operators may see them: each key with its value and where that was written, without secrets.

use serde_json::Value;

use super::document::{Content, Node};
use super::keys;
use super::report::Origin;

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its path: `http.addr`.
    pub key: String,
    /// Its value as it was written, a list as one, or its default; null when it has none.
    pub value: Value,
    /// Where that stands: `roadstead.yml:3`, the variable, the flag, or `default`.
    pub from: String,
}

/// Whose values nobody is told.
const SECRET: [&str; 5] =
    ["auth.admin_password", "http.secret", "storage.s3.accesskey", "storage.s3.secretkey", "storage.s3.sessiontoken"];
/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// Every key there is, in alphabetical order, as `tree` sets it.
pub(super) fn of(tree: &Node, file: &str) -> Vec<Setting> {
    let told = |key: &keys::Key| {
        let set = tree.get(&key.path).filter(|node| !matches!(node.content, Content::Null));
        Setting {
            key: key.path.clone(),
            value: match set {
                Some(_) if SECRET.contains(&&*key.path) => HIDDEN.into(),
                Some(node) => value(node),
                None => key.default.clone().map_or(Value::Null, Value::from),
            },
            from: match set.map(|node| &node.origin) {
                Some(Origin::File { line, .. }) => format!("{file}:{line}"),
                Some(Origin::Variable(name)) => name.clone(),
                Some(Origin::Flag(name)) => (*name).to_owned(),
                Some(Origin::Default) | None => "default".to_owned(),
            },
        }
    };
    keys::all().iter().map(told).collect()
}

fn value(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(text) => without_password(text).into(),
        Content::List(items) => items.iter().map(value).collect(),
        Content::Null | Content::Map(_) => Value::Null,
    }
}

/// A URL may have a password before its host, and its query may have one.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
            None => format!("{user}@{host}"),
        },
        None => rest.to_owned(),
    };
    let query = match query {
        Some(query) if query.to_ascii_lowercase().contains("password") => format!("?{HIDDEN}"),
        Some(query) => format!("?{query}"),
        None => String::new(),
    };
    format!("{scheme}://{rest}{query}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{Sources, load};
    use super::*;

    fn told(text: &str, variables: &[(&str, &str)]) -> Vec<Setting> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let read_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let file = Some(("roadstead.yml", text));
        let sources =
            Sources { file, variables: &variables, data_dir: None, listen: Some("127.0.0.1:1"), read_file: &read_file };
        let (settings, report) = load(&sources);
        settings.unwrap_or_else(|| panic!("{report}")).told
    }

    #[test]
    fn each_key_is_told_with_its_value_and_where_that_stands() {
        let told = told("log: {level: warn}\n", &[("ROADSTEAD_GC__GRACE", "2d")]);
        let one = |key: &str| {
            let found = told.iter().find(|setting| setting.key == key).unwrap();
            (found.value.as_str().unwrap_or_default().to_owned(), found.from.clone())
        };
        assert_eq!(told.len(), keys::all().len());
        assert_eq!(one("log.level"), ("warn".to_owned(), "roadstead.yml:1".to_owned()));
        assert_eq!(one("gc.grace"), ("2d".to_owned(), "ROADSTEAD_GC__GRACE".to_owned()));
        assert_eq!(one("http.addr"), ("127.0.0.1:1".to_owned(), "--listen".to_owned()));
        assert_eq!(one("log.format").1, "default");
        assert!(!one("log.format").0.is_empty());
    }

    #[test]
    fn no_secret_is_told() {
        let database = "postgres://me:hunter2@db1,db2/roadstead?sslmode=require";
        let text = format!(
            "metadata: {{postgres: {{url: \"{database}\"}}}}\nhttp: {{secret: \"hunter2 and more than thirty-two bytes\"}}\n\
             auth: {{enabled: true, admin_password: \"hunter2 hunter2\"}}\n\
             storage: {{s3: {{bucket: b, region: r, accesskey: hunter2, secretkey: hunter2}}}}\n"
        );
        let told = told(&text, &[]);
        let all = format!("{told:?}");
        assert!(!all.contains("hunter2"), "{all}");
        assert!(all.contains("postgres://me:(hidden)@db1,db2/roadstead?sslmode=require"), "{all}");
        assert_eq!(without_password("postgres://h/d?password=hunter2"), "postgres://h/d?(hidden)");
        // A key that comes to be is looked at when it sounds like one.
        let sounds = |path: &str| {
            let last = path.rsplit('.').next().unwrap_or_default();
            ["secret", "password", "sessiontoken", "accesskey", "secretkey"].iter().any(|word| last.contains(word))
                && !last.ends_with("_file")
        };
        for key in keys::all().iter().filter(|key| sounds(&key.path)) {
            assert!(SECRET.contains(&&*key.path), "{} would be shown", key.path);
        }
    }
}
