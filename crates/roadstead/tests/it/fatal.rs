//! Metadata that cannot go on ends the process with a code of its own, and the next start has everything.

use roadstead_testkit::{Content, Image, Ledger, Seed};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::scale;

/// A limit on the size of files stands in for a disk that refuses to be written: what the database appends fails, the
/// log, which has its blocks already, goes on.
#[test]
fn a_database_that_cannot_be_written_ends_the_process_and_loses_nothing() {
    let ignoring_the_signal = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let mut server = scale::launch().under(&ignoring_the_signal).start();
    let (client, ledger) = (server.client(), Ledger::default());
    let image = Image::generate(Seed(9), &[1_000, 2_000]);
    client.push_image("fatal", "before", &image).unwrap();
    ledger.acknowledge("fatal", "before", &image.digest());

    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(4096), maximum: None }).unwrap();
    let upload = client.begin("fatal").unwrap();
    let refused = client.append(&upload, &mut Content::new(Seed(1), 10), 10);
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(server.wait().code(), Some(4), "{}", server.output());

    let server = scale::launch().start_on(server.kill9());
    assert_eq!(ledger.verify_all(&server.client()), Vec::<String>::new());
    server.client().push_image("fatal", "after", &image).unwrap();
}
