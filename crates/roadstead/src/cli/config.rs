//! `roadstead config check`, and reading the configuration for the verbs that need one.

use std::path::Path;

use super::{Exit, complain, print};
use crate::compose;
use crate::config::{self, Settings, Sources};

/// Tells everything that is wrong with the configuration in `file`, if one is given, together with the environment.
/// Of what it names only the files of certificates and users are looked at, and nothing on the network.
pub(super) fn check(file: Option<&Path>) -> Exit {
    let what = file.map_or_else(|| "environment".into(), |file| file.display().to_string());
    let Some(settings) = read(file, None, None) else { return Exit::Usage };
    if let Some(Err(error)) = settings.auth.as_ref().map(|auth| compose::check_sources(&auth.sources)) {
        complain(&format!("error: {error}\n"));
        return Exit::Usage;
    }
    match settings.http.tls.as_ref().map_or(Ok(Vec::new()), compose::check_tls) {
        Ok(odd) => {
            odd.iter().for_each(|odd| complain(&format!("warning: http.tls: {odd}\n")));
            print(&format!("{what}: nothing is wrong with this configuration\n"))
        }
        Err(error) => {
            complain(&format!("error: http.tls: {error}\n"));
            Exit::Usage
        }
    }
}

/// Reads the configuration from the file, the environment and the flags. Errors and warnings go to standard
/// error; `None` when there are errors.
pub(super) fn read(file: Option<&Path>, data_dir: Option<&str>, listen: Option<&str>) -> Option<Settings> {
    let name = file.map(|file| file.display().to_string()).unwrap_or_default();
    let text = match file.map(std::fs::read_to_string).transpose() {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("error: cannot read the configuration file {name}: {error}\n"));
            return None;
        }
    };
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    let (settings, report) = config::load(&Sources {
        file: text.as_deref().map(|text| (name.as_str(), text)),
        variables: &variables,
        data_dir,
        listen,
        read_file: &|path| std::fs::read_to_string(path),
    });
    complain(&report.to_string());
    settings
}
