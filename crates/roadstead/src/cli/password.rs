//! Passwords, from standard input or a file: what stands on a command line is read by everybody on the machine.

use std::fs::read_to_string;
use std::io::{Read as _, stdin};
use std::path::{Path, PathBuf};

use super::admin::{Refused, told};

/// So much is read of what is no password. An ID token, which stands in place of one, is some kilobytes long.
const LONGEST: u64 = 32 << 10;

/// Where a password comes from.
#[derive(Debug, clap::Args)]
pub(super) struct PasswordSource {
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// Read the password from a file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordSource {
    /// The password, without the line end behind it; `None` when nothing says where it is.
    pub(super) fn read(&self) -> Result<Option<String>, Refused> {
        let text = match &self.password_file {
            Some(file) => return from_file(file).map(Some),
            None if self.password_stdin => {
                let mut text = String::new();
                let read = stdin().lock().take(LONGEST).read_to_string(&mut text);
                read.map_err(|error| told(format!("standard input: {error}")))?;
                text
            }
            None => return Ok(None),
        };
        line(&text).map(Some)
    }

    /// The same where there has to be one.
    pub(super) fn required(&self) -> Result<String, Refused> {
        self.read()?
            .ok_or_else(|| Refused::Usage("give the password by --password-stdin or --password-file FILE".into()))
    }
}

/// The password in a file, without the line end behind it.
pub(super) fn from_file(file: &Path) -> Result<String, Refused> {
    line(&read_to_string(file).map_err(|error| told(format!("{}: {error}", file.display())))?)
}

fn line(text: &str) -> Result<String, Refused> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    match line.strip_suffix('\r').unwrap_or(line) {
        "" => Err(told("the password is empty")),
        password => Ok(password.to_owned()),
    }
}
