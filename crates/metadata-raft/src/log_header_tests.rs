#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

/// A log file of entries 5, 6 and 7.
fn log() -> Vec<u8> {
    log_of(5..=7)
}

/// A log file of some entries.
pub(crate) fn log_of(ids: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&ids.start().to_be_bytes());
    bytes[16..24].copy_from_slice(&ids.end().to_be_bytes());
    bytes[24..28].copy_from_slice(&32u32.to_be_bytes());
    let mut at = 32;
    let mut end = 0;
    for id in ids {
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
fn every_flipped_bit_of_the_end_is_set_right() {
    for bit in 0..32 {
        let mut bytes = log();
        bytes[END + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(look(&bytes), Finding::Elsewhere(log()[LAST_ID..HEADER].try_into().unwrap()), "bit {bit}");
    }
}

#[test]
fn every_flipped_bit_of_the_last_id_is_set_right() {
    for bit in 0..64 {
        let mut bytes = log();
        bytes[LAST_ID + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(look(&bytes), Finding::Elsewhere(log()[LAST_ID..HEADER].try_into().unwrap()), "bit {bit}");
    }
}

#[test]
fn a_flipped_bit_of_the_start_empties_no_file() {
    for bit in 0..32 {
        let mut bytes = log();
        bytes[START + bit / 8] ^= 1 << (bit % 8);
        let finding = look(&bytes);
        // 32 differs from 0, which says that the file is empty, in one bit; the mark misses what was in it.
        let empty = bytes[START..END] == [0; 4];
        assert!(matches!(finding, Finding::Damaged { .. }) || empty, "bit {bit}: {finding:?}");
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
fn damaged_entries_are_named() {
    for at in 32..400 {
        let mut bytes = log();
        bytes[at] ^= 1;
        let finding = look(&bytes);
        // The byte between two entries is not used, and the first id is not checked by anything.
        let unused = [153, 276].contains(&at) || (32..40).contains(&at);
        assert!(unused || matches!(finding, Finding::Damaged { .. }), "byte {at}: {finding:?}");
    }
}

#[test]
fn a_log_begins_with_entry_0() {
    let mut bytes = log();
    for (at, id) in [(8, 0u64), (16, 2), (32, 0), (154, 1), (277, 2)] {
        bytes[at..at + 8].copy_from_slice(&id.to_be_bytes());
    }
    assert_eq!(look(&bytes), Finding::Fits);
    bytes[31] -= 1;
    assert!(matches!(look(&bytes), Finding::Elsewhere(_)));
}

#[test]
fn what_is_no_log_passes() {
    for bytes in [vec![], vec![0; 4096], MAGIC.to_vec(), log()[..31].to_vec()] {
        assert_eq!(look(&bytes), Finding::Fits);
    }
    assert_eq!(look(&log()[..40]), Finding::Damaged { at: HEADER });
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
        mend(directory.path()).unwrap();
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
        if let Finding::Elsewhere(header) = look(&bytes) {
            bytes[LAST_ID..HEADER].copy_from_slice(&header);
            prop_assert_eq!(look(&bytes), Finding::Fits);
        }
    }
}

#[test]
fn a_header_that_contradicts_its_entries_is_set_right() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("0000000000000001.wal");
    let mut bytes = log();
    bytes[31] -= 1;
    fs::write(&file, &bytes).unwrap();
    mend(directory.path()).unwrap();
    assert_eq!(fs::read(&file).unwrap(), log());
}

#[test]
fn a_file_that_was_being_made_is_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let file = |number: u32| directory.path().join(format!("{number:016}.wal"));
    fs::write(file(1), log()).unwrap();
    for unfinished in [vec![], vec![0; 4096]] {
        fs::write(file(2), unfinished).unwrap();
        mend(directory.path()).unwrap();
        assert!(!file(2).exists() && file(1).exists());
    }
}
