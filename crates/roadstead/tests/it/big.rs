//! Large blobs pass through: pushed in one request and in chunks, pulled, without being held in memory.

use roadstead_testkit::{Content, digest_of};

use crate::scale;

const MEMORY: u64 = 150 << 20;

#[test]
fn a_large_blob_is_pushed_and_pulled_in_bounded_memory() {
    // In full numbers a chunk is several steps of the registry, which acknowledges 16 MiB at a time.
    let (length, chunk) = if scale::full() { (1 << 30, 48 << 20) } else { (48 << 20, 16_000_000) };
    let seed = scale::seed();
    let server = scale::launch().start();
    let client = server.client();

    let content = Content::new(seed, length);
    let whole = client.push_reader("big", || content.clone()).unwrap();
    println!("one request: {} MB at the peak", server.peak() >> 20);

    let other = Content::new(seed.derive(1), length);
    let (chunked, _) = digest_of(other.clone()).unwrap();
    client.push_chunked("big", &chunked, &mut other.clone(), length, chunk).unwrap();
    println!("chunks of {} MB: {} MB at the peak", chunk >> 20, server.peak() >> 20);

    for digest in [whole, chunked] {
        assert_eq!(client.pull_blob("big", &digest).unwrap(), length);
    }
    println!("after pulls: {} MB at the peak", server.peak() >> 20);
    assert!(server.peak() < MEMORY, "{} MB", server.peak() >> 20);
}
