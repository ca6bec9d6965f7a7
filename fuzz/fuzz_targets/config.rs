//! A configuration file and one environment variable, from anybody's hand.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead::config::{Sources, load};

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, name, value) = input;
    let variables = [(format!("ROADSTEAD_{name}"), value.to_owned()), (format!("REGISTRY_{name}"), value.to_owned())];
    let (settings, report) = load(&Sources {
        file: Some(("fuzz.yml", text)),
        variables: &variables,
        data_dir: None,
        listen: None,
        read_file: &|_| Err(std::io::ErrorKind::NotFound.into()),
    });
    assert_eq!(settings.is_some(), report.errors.is_empty());
    for finding in report.errors.iter().chain(&report.warnings) {
        assert!(!finding.text.is_empty());
    }
    if let Some(settings) = settings {
        let open = !settings.http.listen.ip().to_canonical().is_loopback();
        // A key in double quotes may be written with escapes.
        let accepted = text.contains("allow_anonymous_network") || text.contains('\\');
        assert!(!open || accepted || name.contains("ALLOW_ANONYMOUS_NETWORK"));
    }
});
