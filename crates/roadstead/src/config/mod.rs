//! Configuration: from a file, the environment and flags to [`Settings`], with everything that is wrong told at once.
//!
//! ```text
//! text --document--> tree of text with places --known--> layers --decode--> Parsed --settings--> Settings
//! ```
//!
//! Each source is one layer; a later layer wins: file, `REGISTRY_*`, `ROADSTEAD_*`, flags.

pub mod audit;
pub(crate) mod auth;
mod decode;
mod document;
mod environment;
pub mod keys;
mod known;
pub mod parsed;
pub mod postgres;
pub mod reference;
pub mod report;
pub mod s3;
pub mod settings;
pub mod sources;
pub mod tls;
pub mod told;
pub mod units;

use std::io;
use std::path::Path;

use document::{Content, Node};
use parsed::Parsed;
use report::{Origin, Report};
pub use settings::Settings;

/// Everything a configuration is read from. Nothing else is looked at: not the process environment, not the
/// file system except through `read_file`.
pub struct Sources<'a> {
    /// The file's name and its content.
    pub file: Option<(&'a str, &'a str)>,
    /// Environment variables.
    pub variables: &'a [(String, String)],
    /// The flag `--data-dir`.
    pub data_dir: Option<&'a str>,
    /// The flag `--listen`.
    pub listen: Option<&'a str>,
    /// Reads the file that a `..._FILE` variable names.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// Reads a configuration. The settings are there only if the report has no errors; its warnings are to be shown
/// in any case.
pub fn load(sources: &Sources<'_>) -> (Option<Settings>, Report) {
    let mut report =
        Report { file: sources.file.map(|(name, _)| name.to_owned()).unwrap_or_default(), ..Report::default() };
    let mut variables = sources.variables.to_vec();
    variables.sort();
    let layers = [
        sources.file.map_or_else(Node::empty, |(_, text)| document::parse(text, &mut report)),
        environment::distribution(&variables, &mut report),
        environment::ours(&variables, sources.read_file, &mut report),
        flags(sources),
    ];
    let mut tree = Node::empty();
    for mut layer in layers {
        known::settle(&mut layer, &mut report);
        merge(&mut tree, layer);
    }
    let parsed: Parsed = decode::decode(&tree, &mut report);
    let settings = settings::validate(parsed, &tree, &mut report);
    report.sort();
    (report.errors.is_empty().then_some(settings), report)
}

fn flags(sources: &Sources<'_>) -> Node {
    let mut layer = Node::empty();
    for (flag, path, value) in [("--data-dir", "data_dir", sources.data_dir), ("--listen", "http.addr", sources.listen)]
    {
        if let Some(value) = value {
            layer.put(path, Node::scalar(value, Origin::Flag(flag)));
        }
    }
    layer
}

fn merge(below: &mut Node, above: Node) {
    match (&mut below.content, above.content) {
        (Content::Map(entries), Content::Map(wins)) => {
            for (key, value) in wins {
                match entries.iter_mut().find(|(name, _)| *name == key) {
                    Some((_, held)) => merge(held, value),
                    None => entries.push((key, value)),
                }
            }
        }
        (held, wins) => {
            *held = wins;
            below.origin = above.origin;
        }
    }
}

#[cfg(test)]
mod tests;
