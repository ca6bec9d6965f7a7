//! A disk that forgets what was not flushed: a server of the NBD protocol over a file.
//!
//! What the machine writes is held in memory, in order, and reaches the file with the next flush. When the power is cut,
//! what is still held is lost: all of it, or, as disks also do, all but some sectors that happened to be written, so that
//! writes are torn and out of order.
//!
//! Fixed newstyle negotiation, one connection, one request after another.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use roadstead_testkit::Seed;

const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
/// There are flags, and flushes are understood.
const FLAGS: u16 = 1 | 4;
const UNSUPPORTED: u32 = 0x8000_0001;
/// Of such a disk that writes them whole or not at all. Of smaller ones ext4 may tear the last block of its journal, and does
/// not mount after that, whatever ran on it.
pub(crate) const SECTOR: usize = 4096;

/// What was lost with the power.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Lost {
    /// Writes that were held.
    pub(crate) writes: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// Of these, bytes that happened to be on the disk all the same.
    pub(crate) kept: usize,
    /// The most writes that were held at once since the power came on.
    pub(crate) most: usize,
    /// Flushes that were carried out since the power came on.
    pub(crate) flushes: usize,
}

/// A disk with the power on.
pub(crate) struct Disk {
    serving: JoinHandle<io::Result<Held>>,
    fuse: Arc<Fuse>,
}

/// Says when the power goes, as the disk sees it: after so many more writes nothing is carried out and nothing answered.
#[derive(Default)]
struct Fuse {
    /// Writes that are left, once it is lit.
    left: Mutex<Option<u64>>,
    blown: Condvar,
}

impl Fuse {
    /// Counts a write; whether it was the last.
    fn burn(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.map(|left| left.saturating_sub(1));
        let blown = *left == Some(0);
        if blown {
            self.blown.notify_all();
        }
        blown
    }
}

/// What a flush would make durable.
struct Held {
    file: File,
    size: u64,
    writes: Vec<(u64, Vec<u8>)>,
    most: usize,
    flushes: usize,
    fuse: Arc<Fuse>,
    /// The machine, which must not learn from a closed connection that the power is gone.
    cut_off: Option<UnixStream>,
}

impl Disk {
    /// Serves the file `image` on `socket`, to one machine.
    pub(crate) fn power_on(image: &Path, socket: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(image)?;
        let size = file.metadata()?.len();
        // The one of a machine before.
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let fuse = Arc::<Fuse>::default();
        let held = Held { file, size, writes: Vec::new(), most: 0, flushes: 0, fuse: Arc::clone(&fuse), cut_off: None };
        let serving = thread::spawn(move || {
            let (stream, _) = listener.accept()?;
            let mut held = held;
            match held.serve(stream) {
                // The machine was cut off in the middle of something.
                Err(error) if is_cut(&error) => Ok(held),
                served => served.map(|()| held),
            }
        });
        Ok(Self { serving, fuse })
    }

    /// Lets the power fail after so many more writes, and waits for that no longer than `patience`.
    pub(crate) fn fail_after(&self, writes: u64, patience: Duration) {
        let mut left = self.fuse.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = Some(writes.max(1));
        // Whether it came to that does not matter: the power is cut in any case.
        let _ = self.fuse.blown.wait_timeout_while(left, patience, |left| *left != Some(0));
    }

    /// What is left when the machine is gone. `keep` is the share of sectors, in percent, that were written without having
    /// been flushed.
    pub(crate) fn power_off(self, seed: Seed, keep: u64) -> io::Result<Lost> {
        let held = self.serving.join().map_err(|_| io::Error::other("the disk panicked"))??;
        let mut lost = Lost { writes: held.writes.len(), most: held.most, flushes: held.flushes, ..Lost::default() };
        for (number, (offset, bytes)) in (0..).zip(&held.writes) {
            lost.bytes += bytes.len();
            for (sector, piece) in bytes.chunks(SECTOR).enumerate() {
                if seed.derive(number).derive(sector as u64).below(100) < keep {
                    held.file.write_all_at(piece, offset + (sector * SECTOR) as u64)?;
                    lost.kept += piece.len();
                }
            }
        }
        held.file.sync_all()?;
        Ok(lost)
    }
}

fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

impl Held {
    fn serve(&mut self, mut stream: UnixStream) -> io::Result<()> {
        stream.write_all(b"NBDMAGICIHAVEOPT\0\x03")?;
        let _flags = u32::from_be_bytes(take(&mut stream)?);
        while !self.negotiate(&mut stream)? {}
        while self.carry_out(&mut stream)? {}
        Ok(())
    }

    /// One option of the client; whether requests follow.
    fn negotiate(&self, stream: &mut UnixStream) -> io::Result<bool> {
        const EXPORT_NAME: u32 = 1;
        const GO: u32 = 7;
        if u64::from_be_bytes(take(stream)?) != OPTION {
            return Err(io::Error::other("no option"));
        }
        let (option, length) = (u32::from_be_bytes(take(stream)?), u32::from_be_bytes(take(stream)?));
        io::copy(&mut stream.take(length.into()), &mut io::sink())?;
        let mut reply = |kind: u32, data: &[u8]| {
            let head = [
                &OPTION_REPLY.to_be_bytes()[..],
                &option.to_be_bytes(),
                &kind.to_be_bytes(),
                &(data.len() as u32).to_be_bytes(),
                data,
            ];
            stream.write_all(&head.concat())
        };
        match option {
            EXPORT_NAME => {
                stream.write_all(&[&self.size.to_be_bytes()[..], &FLAGS.to_be_bytes()].concat())?;
                Ok(true)
            }
            GO => {
                reply(3, &[&[0, 0], &self.size.to_be_bytes()[..], &FLAGS.to_be_bytes()].concat())?;
                reply(1, &[])?;
                Ok(true)
            }
            _ => reply(UNSUPPORTED, &[]).map(|()| false),
        }
    }

    /// One request; whether another may follow.
    fn carry_out(&mut self, stream: &mut UnixStream) -> io::Result<bool> {
        const READ: u16 = 0;
        const WRITE: u16 = 1;
        const DISCONNECT: u16 = 2;
        const FLUSH: u16 = 3;
        if u32::from_be_bytes(take(stream)?) != REQUEST {
            return Err(io::Error::other("no request"));
        }
        let _flags = u16::from_be_bytes(take(stream)?);
        let kind = u16::from_be_bytes(take(stream)?);
        let cookie: [u8; 8] = take(stream)?;
        let (offset, length) = (u64::from_be_bytes(take(stream)?), u32::from_be_bytes(take(stream)?) as usize);
        let (mut error, mut data) = (0u32, Vec::new());
        match kind {
            READ => data = self.read(offset, length)?,
            WRITE => {
                let mut bytes = vec![0; length];
                stream.read_exact(&mut bytes)?;
                self.writes.push((offset, bytes));
                self.most = self.most.max(self.writes.len());
                if self.fuse.burn() {
                    self.cut_off = Some(stream.try_clone()?);
                    return Ok(false);
                }
            }
            DISCONNECT => return Ok(false),
            FLUSH => self.flush()?,
            _ => error = 22,
        }
        stream.write_all(&[&REPLY.to_be_bytes()[..], &error.to_be_bytes(), &cookie, &data].concat())?;
        Ok(true)
    }

    /// As the machine has written it, flushed or not.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut found = vec![0; length];
        self.file.read_exact_at(&mut found, offset)?;
        let end = offset + length as u64;
        for (at, bytes) in &self.writes {
            let (from, to) = (offset.max(*at), end.min(at + bytes.len() as u64));
            if from < to {
                let piece = &bytes[(from - at) as usize..(to - at) as usize];
                found[(from - offset) as usize..(to - offset) as usize].copy_from_slice(piece);
            }
        }
        Ok(found)
    }

    fn flush(&mut self) -> io::Result<()> {
        for (offset, bytes) in self.writes.drain(..) {
            self.file.write_all_at(&bytes, offset)?;
        }
        self.flushes += 1;
        Ok(())
    }
}

fn take<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn held(writes: &[(u64, &[u8])]) -> (tempfile::NamedTempFile, Held) {
        let image = tempfile::NamedTempFile::new().unwrap();
        let file = image.reopen().unwrap();
        file.set_len(4096).unwrap();
        let writes = writes.iter().map(|(offset, bytes)| (*offset, bytes.to_vec())).collect();
        (image, Held { file, size: 4096, writes, most: 0, flushes: 0, fuse: Arc::default(), cut_off: None })
    }

    fn off(held: Held) -> Disk {
        Disk { serving: thread::spawn(|| Ok(held)), fuse: Arc::default() }
    }

    fn content(image: &tempfile::NamedTempFile) -> Vec<u8> {
        std::fs::read(image.path()).unwrap()
    }

    #[test]
    fn what_is_not_flushed_is_read_and_then_lost() {
        let (image, mut held) = held(&[(0, b"first"), (3, b"second"), (100, b"third")]);
        assert_eq!(held.read(2, 8).unwrap(), b"rsecond\0");
        assert!(content(&image).iter().all(|byte| *byte == 0));
        held.flush().unwrap();
        assert_eq!(&content(&image)[..9], b"firsecond");
        held.writes.push((0, b"lost".to_vec()));
        let lost = off(held).power_off(Seed(1), 0).unwrap();
        assert_eq!((lost.writes, lost.bytes, lost.kept, lost.flushes), (1, 4, 0, 1));
        assert_eq!(&content(&image)[..9], b"firsecond");
    }

    #[test]
    fn the_power_fails_after_so_many_writes() {
        let fuse = Fuse::default();
        assert!(!fuse.burn(), "it is not lit");
        *fuse.left.lock().unwrap() = Some(2);
        assert_eq!([fuse.burn(), fuse.burn()], [false, true]);
    }

    #[test]
    fn some_sectors_may_be_there_all_the_same() {
        let (image, held) = held(&[(0, &[7; 16 * SECTOR])]);
        let lost = off(held).power_off(Seed(1), 50).unwrap();
        assert!(lost.kept > 0 && lost.kept < 16 * SECTOR && lost.kept.is_multiple_of(SECTOR), "{lost:?}");
        assert_eq!(content(&image).iter().filter(|byte| **byte == 7).count(), lost.kept);
    }
}
