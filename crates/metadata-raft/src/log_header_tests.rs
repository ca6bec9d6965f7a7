#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

/// A log file of entries 5, 6 and 7.
fn log() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&5u64.to_be_bytes());
    bytes[16..24].copy_from_slice(&7u64.to_be_bytes());
    bytes[24..28].copy_from_slice(&32u32.to_be_bytes());
    let mut at = 32;
    let mut end = 0;
    for id in 5u64..8 {
        let data = vec![id as u8; 100 + id as usize];
        bytes[at..at + 8].copy_from_slice(&id.to_be_bytes());
        bytes[at + 8..at + 12].copy_from_slice(&CHECKSUM.checksum(&data).to_le_bytes());
        bytes[at + 12..at + 16].copy_from_slice(&(data.len() as u32).to_be_bytes());
        bytes[at + 16..at + 16 + data.len()].copy_from_slice(&data);
        end = at + 16 + data.len();
        at = end + 1;
    }
    bytes[28..32].copy_from_slice(&(end as u32).to_be_bytes());
    bytes
}

#[test]
fn a_header_that_fits_its_entries_passes() {
    assert_eq!(look(&log()), Finding::Fits);
}

#[test]
fn every_flipped_bit_of_where_the_log_ends_is_noticed() {
    for bit in 0..32 {
        let mut bytes = log();
        bytes[28 + bit / 8] ^= 1 << (bit % 8);
        assert_noticed(&bytes, bit);
    }
}

/// The end set further on is either a contradiction or a promise of an entry that is not there.
fn assert_noticed(bytes: &[u8], bit: usize) {
    match look(bytes) {
        Finding::Fits => panic!("bit {bit}"),
        Finding::Wrong(_) => {}
        Finding::Torn(header) => assert_eq!(header, log()[LAST_ID..HEADER], "bit {bit}"),
    }
}

#[test]
fn every_flipped_bit_of_the_last_id_is_noticed() {
    for bit in 0..64 {
        let mut bytes = log();
        bytes[16 + bit / 8] ^= 1 << (bit % 8);
        assert_noticed(&bytes, bit);
    }
}

#[test]
fn entries_behind_the_end_are_a_crash_before_the_header_was_written() {
    let mut bytes = log();
    bytes[16..24].copy_from_slice(&6u64.to_be_bytes());
    let sixth = 32 + 16 + 105 + 1 + 16 + 106;
    bytes[28..32].copy_from_slice(&(sixth as u32).to_be_bytes());
    assert_eq!(look(&bytes), Finding::Fits);
}

#[test]
fn damaged_entries_are_left_to_the_mark() {
    for at in 32..400 {
        let mut bytes = log();
        bytes[at] ^= 1;
        // Checked only for not taking the header for the culprit; an entry's id is not covered by its checksum.
        let id = [32..40, 154..162, 277..285].iter().any(|range| range.contains(&at));
        let finding = look(&bytes);
        assert!(id || finding == Finding::Fits, "byte {at}: {finding:?}");
    }
}

#[test]
fn what_is_no_log_passes() {
    for bytes in [vec![], vec![0; 4096], MAGIC.to_vec(), log()[..40].to_vec()] {
        assert_eq!(look(&bytes), Finding::Fits);
    }
}

#[test]
fn an_entry_that_never_reached_the_disk_is_taken_out_of_the_header() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("0000000000000001.wal");
    let last = 32 + 16 + 105 + 1 + 16 + 106 + 1;
    // The last entry, then the one before, then the first: what remains is a sound file each time.
    for (lost, remaining) in [(last, Some(6u64)), (154, Some(5)), (32, None)] {
        let mut bytes = log();
        bytes[lost..].fill(0);
        fs::write(&file, &bytes).unwrap();
        check(directory.path()).unwrap();
        let repaired = fs::read(&file).unwrap();
        assert_eq!(look(&repaired), Finding::Fits);
        assert_eq!(repaired[LAST_ID..START], remaining.unwrap_or(5).to_be_bytes());
        assert_eq!(repaired[START..HEADER] == [0; 8], remaining.is_none());
    }
}

proptest! {
    /// Whatever is on the disk: no panic, and what is set back is sound.
    #[test]
    fn any_bytes_are_looked_at(edits in prop::collection::vec((0usize..4096, any::<u8>()), 0..20), length in 0usize..4096) {
        let mut bytes = log();
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        bytes.truncate(length);
        if let Finding::Torn(header) = look(&bytes) {
            bytes[LAST_ID..HEADER].copy_from_slice(&header);
            prop_assert_eq!(look(&bytes), Finding::Fits);
        }
    }
}

#[test]
fn a_header_that_contradicts_its_entries_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("0000000000000001.wal");
    let mut bytes = log();
    bytes[31] -= 1;
    fs::write(&file, &bytes).unwrap();
    let refused = check(directory.path()).unwrap_err().to_string();
    assert!(refused.contains(file.to_str().unwrap()), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}
