//! Configuration from environment variables: ours (`ROADSTEAD_HTTP__ADDR`), any of them by file
//! (`ROADSTEAD_HTTP__SECRET_FILE`), and distribution's (`REGISTRY_HTTP_ADDR`).

use std::io;
use std::path::Path;

use super::document::Node;
use super::report::{Origin, Report};
use super::{keys, known};

/// Ours that are no keys: the flag `--config`, and what commands are told of a server.
const NOT_KEYS: [&str; 4] = ["ROADSTEAD_CONFIG", "ROADSTEAD_SERVER", "ROADSTEAD_CA", "ROADSTEAD_TOKEN"];
/// Keys with a shorter name, without `ROADSTEAD_`.
const SHORT: [(&str, &str); 1] = [("ADMIN_PASSWORD", "auth.admin_password")];
/// Of podman and skopeo, not of distribution.
const NOT_DISTRIBUTION: [&str; 1] = ["REGISTRY_AUTH_FILE"];

/// Reads the file that a `..._FILE` variable names.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// The layer that variables of Roadstead make.
pub(super) fn ours(variables: &[(String, String)], read: ReadFile<'_>, report: &mut Report) -> Node {
    let mut layer = Node::empty();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix("ROADSTEAD_") else { continue };
        if NOT_KEYS.contains(&name.as_str()) || is_service_link(rest) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        // In another case it is another variable, and of two that mean the same one would win unseen.
        if rest.bytes().any(|b| b.is_ascii_lowercase()) {
            report.error(&origin, "", unknown(name));
            continue;
        }
        let path = |rest: &str| match SHORT.iter().find(|(short, _)| *short == rest) {
            Some((_, path)) => (*path).to_owned(),
            None => rest.to_ascii_lowercase().replace("__", "."),
        };
        let named = rest.strip_suffix("_FILE").filter(|rest| is_key(&path(rest)));
        if let Some(named) = named {
            if variables.iter().any(|(other, _)| other.strip_prefix("ROADSTEAD_") == Some(named)) {
                report.error(&origin, path(named), format!("ROADSTEAD_{named} is set too; remove one"));
                continue;
            }
            match read(Path::new(value)) {
                Ok(content) => layer.put(&path(named), Node::scalar(strip_line_end(&content), origin)),
                Err(error) => report.error(&origin, path(named), format!("cannot read {value}: {error}")),
            }
        } else if is_key(&path(rest)) || known::covers(&path(rest)) {
            layer.put(&path(rest), Node::scalar(value, origin));
        } else {
            report.error(&origin, "", unknown(name));
        }
    }
    layer
}

/// The layer that variables of distribution make.
pub(super) fn distribution(variables: &[(String, String)], report: &mut Report) -> Node {
    let mut layer = Node::empty();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix("REGISTRY_") else { continue };
        if NOT_DISTRIBUTION.contains(&name.as_str()) || is_service_link(rest) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        match known::by_variable(rest) {
            Some(path) => layer.put(&path, Node::scalar(value, origin)),
            None => report.warn(&origin, "", "ignored: it sets nothing that this version or distribution has"),
        }
    }
    layer
}

fn is_key(path: &str) -> bool {
    keys::all().iter().any(|key| key.path == path)
}

fn unknown(name: &str) -> String {
    let known: Vec<String> = keys::all().iter().map(keys::Key::variable).collect();
    match keys::nearest(&name.to_ascii_uppercase(), known.iter().map(String::as_str)) {
        Some(near) => format!("unknown variable; did you mean {near}?"),
        None => "unknown variable; `roadstead config reference` lists the variables there are".to_owned(),
    }
}

/// One line end at the end of a secret's file is the editor's, not the secret's.
fn strip_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Kubernetes gives every pod such variables for each service of its namespace; one named `roadstead` makes
/// `ROADSTEAD_SERVICE_HOST`, `ROADSTEAD_SERVICE_PORT_HTTP`, `ROADSTEAD_PORT`, `ROADSTEAD_PORT_5000_TCP_ADDR`.
fn is_service_link(rest: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    let words: Vec<&str> = rest.split('_').collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    (0..words.len()).any(|at| match &words[at..] {
        ["PORT"] | ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] => true,
        ["PORT", number, "TCP" | "UDP" | "SCTP", tail @ ..] => {
            is_number(number) && matches!(tail, [] | ["PROTO" | "PORT" | "ADDR"])
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::is_service_link;

    #[test]
    fn service_links_are_told_from_keys() {
        for link in
            ["SERVICE_HOST", "PORT", "PORT_5000_TCP", "PORT_5000_TCP_ADDR", "SERVICE_PORT_HTTP", "CACHE_SERVICE_HOST"]
        {
            assert!(is_service_link(link), "{link}");
        }
        for other in ["HTTP__PORT", "HTTP_ADDR", "DATA_DIR", "PORTS", "PORT_X_TCP", "SERVICE"] {
            assert!(!is_service_link(other), "{other}");
        }
    }
}
