//! What the server has acknowledged, written down outside of it. After any crash, all of it must still be true.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use crate::{Client, Refused, Upload};

/// So many pull at a time when everything is verified.
const PULLERS: usize = 8;

/// Shared by the clients of a test.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default, Clone)]
struct Entries {
    /// (repository, tag) to the digests it may have: the acknowledged one, and one whose push had no answer.
    tags: BTreeMap<(String, String), Tag>,
    blobs: Vec<(String, String)>,
    uploads: BTreeMap<String, Upload>,
}

#[derive(Debug, Default, Clone)]
struct Tag {
    acknowledged: Option<String>,
    attempted: Option<String>,
}

impl Ledger {
    /// A push of this tag begins: if it gets no answer, either state is right.
    pub fn attempt(&self, repository: &str, tag: &str, digest: &str) {
        let mut entries = self.entries.lock().unwrap();
        entries.tags.entry((repository.into(), tag.into())).or_default().attempted = Some(digest.into());
    }

    /// The push of this tag was acknowledged.
    pub fn acknowledge(&self, repository: &str, tag: &str, digest: &str) {
        let mut entries = self.entries.lock().unwrap();
        let tag = entries.tags.entry((repository.into(), tag.into())).or_default();
        *tag = Tag { acknowledged: Some(digest.into()), attempted: None };
    }

    /// The push of this blob was acknowledged.
    pub fn acknowledge_blob(&self, repository: &str, digest: &str) {
        self.entries.lock().unwrap().blobs.push((repository.into(), digest.into()));
    }

    /// The server acknowledged so many bytes of an upload, which the test calls `name`.
    pub fn acknowledge_upload(&self, name: &str, upload: &Upload) {
        self.entries.lock().unwrap().uploads.insert(name.into(), upload.clone());
    }

    /// The upload ended.
    pub fn forget_upload(&self, name: &str) {
        self.entries.lock().unwrap().uploads.remove(name);
    }

    /// Acknowledged images so far.
    pub fn images(&self) -> usize {
        self.entries.lock().unwrap().tags.values().filter(|tag| tag.acknowledged.is_some()).count()
    }

    /// Uploads that have begun and not ended, by the test's name for them.
    pub fn uploads(&self) -> Vec<(String, Upload)> {
        self.entries.lock().unwrap().uploads.clone().into_iter().collect()
    }

    /// Pulls everything acknowledged and lists what is not as it was acknowledged.
    pub fn verify_all(&self, client: &Client) -> Vec<String> {
        let Entries { tags, blobs, uploads } = self.entries.lock().unwrap().clone();
        let tags: Vec<_> = tags.iter().collect();
        // Each waits for its answers most of the time.
        let mut wrong = thread::scope(|scope| {
            let share = tags.len().div_ceil(PULLERS).max(1);
            let pullers = tags.chunks(share).map(|tags| scope.spawn(|| verify_tags(&Client::new(client.addr()), tags)));
            let pullers: Vec<_> = pullers.collect();
            pullers.into_iter().flat_map(|puller| puller.join().expect("a puller")).collect::<Vec<_>>()
        });
        for (repository, digest) in &blobs {
            if let Err(error) = client.pull_blob(repository, digest) {
                wrong.push(format!("{repository}@{digest}: {error}"));
            }
        }
        for (name, upload) in &uploads {
            match client.status(upload) {
                // What was sent after the last answer may have been kept, too.
                Ok(now) if now.offset >= upload.offset => {}
                Ok(now) => wrong.push(format!("upload {name}: {} bytes, acknowledged {}", now.offset, upload.offset)),
                Err(error) => wrong.push(format!("upload {name}: {error}")),
            }
        }
        wrong
    }
}

fn verify_tags(client: &Client, tags: &[(&(String, String), &Tag)]) -> Vec<String> {
    let wrong = tags.iter().filter_map(|((repository, name), tag)| {
        let text = verify_tag(client, repository, name, tag).err()?;
        Some(format!("{repository}:{name}: {text}"))
    });
    wrong.collect()
}

fn verify_tag(client: &Client, repository: &str, name: &str, tag: &Tag) -> Result<(), String> {
    let found = match (client.pull_image(repository, name), &tag.acknowledged) {
        (Ok(found), _) => found,
        (Err(Refused::Answer { response, .. }), None) if response.status == 404 => return Ok(()),
        (Err(error), _) => return Err(error.to_string()),
    };
    let expected = [&tag.acknowledged, &tag.attempted];
    if !expected.into_iter().flatten().any(|digest| *digest == found) {
        return Err(format!("is {found}, acknowledged was {:?}", tag.acknowledged));
    }
    // A tag that moved on leaves what it named before in its place.
    match &tag.acknowledged {
        Some(digest) if *digest != found => client.pull_image(repository, digest).map(drop).map_err(|e| e.to_string()),
        _ => Ok(()),
    }
}
