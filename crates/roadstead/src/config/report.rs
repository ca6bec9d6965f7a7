//! What is wrong with a configuration, all of it at once.

use std::fmt;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file; line and column count from 1.
    File {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In this environment variable.
    Variable(String),
    /// In this flag of the command line.
    Flag(&'static str),
    /// Nowhere: it is a default, or it is about the configuration as a whole.
    Default,
}

/// One thing to know: where, about which key, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where the value stands.
    pub origin: Origin,
    /// The full path of the key, `http.addr`; empty when it is about no single key.
    pub key: String,
    /// What is wrong and the way out.
    pub text: String,
}

/// The outcome of reading a configuration: errors forbid it, warnings do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The file's name as the operator gave it, for the findings that stand in it.
    pub file: String,
    /// What must be corrected.
    pub errors: Vec<Finding>,
    /// What is understood but has no effect, or not the one expected.
    pub warnings: Vec<Finding>,
}

impl Report {
    pub(super) fn error(&mut self, origin: &Origin, key: impl Into<String>, text: impl Into<String>) {
        self.errors.push(Finding { origin: origin.clone(), key: key.into(), text: text.into() });
    }

    pub(super) fn warn(&mut self, origin: &Origin, key: impl Into<String>, text: impl Into<String>) {
        self.warnings.push(Finding { origin: origin.clone(), key: key.into(), text: text.into() });
    }

    /// Puts the findings of the file in the order of its lines, before those from elsewhere.
    pub(super) fn sort(&mut self) {
        let place = |finding: &Finding| match finding.origin {
            Origin::File { line, column } => (line, column),
            _ => (usize::MAX, 0),
        };
        self.errors.sort_by_key(place);
        self.warnings.sort_by_key(place);
    }

    /// One finding as a line of text: `roadstead.yml:3:9: http.adr: unknown key; did you mean http.addr?`
    pub fn line(&self, finding: &Finding) -> String {
        let place = match &finding.origin {
            Origin::File { line, column } => format!("{}:{line}:{column}: ", self.file),
            Origin::Variable(name) => format!("{name}: "),
            Origin::Flag(name) => format!("{name}: "),
            Origin::Default => String::new(),
        };
        if finding.key.is_empty() {
            format!("{place}{}", finding.text)
        } else {
            format!("{place}{}: {}", finding.key, finding.text)
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.errors {
            writeln!(f, "error: {}", self.line(finding))?;
        }
        for finding in &self.warnings {
            writeln!(f, "warning: {}", self.line(finding))?;
        }
        Ok(())
    }
}
