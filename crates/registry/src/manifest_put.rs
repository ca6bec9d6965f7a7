//! Pushing manifests (end-7): validate, then one batch that holds only if everything the manifest names is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use roadstead_metadata::records::manifest::{INLINE_BYTES, ManifestStat, NewManifest};
use roadstead_metadata::records::placement::Placement;
use roadstead_metadata::records::{manifest, referrer, repository, tag};
use roadstead_metadata::{Batch, Freshness};
use roadstead_oci::{Algorithm, Descriptor, Digest, Manifest, Reference, RepositoryName, Tag, media_type};
use tokio_util::sync::CancellationToken;

use crate::commit::{PushTarget, ROUNDS};
use crate::ingest::{add_blob, verify};
use crate::upload::on_its_own;
use crate::{Action, Admitted, Caller, Error, Precondition, Registry, Result};

/// Most tags that one push may set besides its reference. Each is a header of the answer, and there are clients that
/// refuse an answer of 100 headers, after the push has happened.
const TAGS: usize = 50;

/// At most so many bytes of a manifest's annotations, as JSON, are shown in lists of referrers.
const SHOWN_BYTES: usize = 64 << 10;

/// A manifest to push.
#[derive(Debug, Clone)]
pub struct PutManifest {
    /// Under which tag or digest.
    pub reference: Reference,
    /// `Content-Type` of the request.
    pub content_type: Option<String>,
    /// Further tags to set (`?tag=`).
    pub tags: Vec<Tag>,
    /// The manifest, exactly.
    pub bytes: Bytes,
    /// What the reference must name before.
    pub precondition: Precondition,
}

/// A manifest that has been pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPushed {
    /// Its digest.
    pub digest: Digest,
    /// Its subject, for the `OCI-Subject` header.
    pub subject: Option<Digest>,
}

/// What a manifest names, each digest once.
struct Named {
    blobs: Vec<Digest>,
    children: Vec<Digest>,
}

impl Registry {
    /// Pushes a manifest. Missing blobs and children are all listed in `ManifestBlobUnknown`.
    pub async fn put_manifest(
        self: &Arc<Self>,
        caller: &Caller,
        name: &RepositoryName,
        put: PutManifest,
    ) -> Result<ManifestPushed> {
        let name = self.access(caller, Action::Push, name).await?;
        self.writable()?;
        if put.bytes.len() as u64 > self.limits.manifest {
            return Err(Error::TooLarge { limit: self.limits.manifest });
        }
        if put.tags.len() > TAGS {
            return Err(Error::Unsupported(format!(
                "tag: a push sets at most {TAGS} of them; push the manifest again with the others"
            )));
        }
        let digest = match &put.reference {
            Reference::Tag(_) => Digest::of(Algorithm::Sha256, &put.bytes),
            Reference::Digest(expected) => {
                verify(expected, Digest::of(expected.algorithm(), &put.bytes))?;
                *expected
            }
        };
        let parsed = Manifest::parse(put.content_type.as_deref(), &put.bytes)?;
        let registry = self.clone();
        on_its_own(&self.tasks, async move { registry.commit_manifest(&name, digest, &parsed, &put).await }).await
    }

    async fn commit_manifest(
        &self,
        name: &Admitted,
        digest: Digest,
        parsed: &Manifest,
        put: &PutManifest,
    ) -> Result<ManifestPushed> {
        let mut published = None;
        let outcome = self.try_commit_manifest(name, digest, parsed, put, &mut published).await;
        if let Some(object) = &published {
            self.discard_unless_named(&outcome, object).await;
        }
        outcome
    }

    async fn try_commit_manifest(
        &self,
        name: &Admitted,
        digest: Digest,
        parsed: &Manifest,
        put: &PutManifest,
        published: &mut Option<Placement>,
    ) -> Result<ManifestPushed> {
        // A manifest too large for a row is an object.
        let size = put.bytes.len();
        let object = if size > INLINE_BYTES { Some(self.plan(digest, size as u64)?) } else { None };
        for _ in 0..ROUNDS {
            let batch = self.manifest_batch(name, digest, parsed, put, object.as_ref()).await?;
            // Bytes before metadata, but only for a batch that can be committed.
            if let (Some(object), None) = (&object, &published) {
                let bytes = put.bytes.clone();
                let body = futures::stream::once(async move { Ok(bytes) }).boxed();
                self.publish_as(object, Some(size as u64), body, CancellationToken::new()).await?;
                *published = Some(object.clone());
            }
            if self.try_commit(batch).await? {
                return Ok(ManifestPushed { digest, subject: parsed.subject.as_ref().map(|subject| subject.digest) });
            }
            self.check_movable(name, &digest, put).await?;
        }
        Err(Error::Contended)
    }

    /// All that a manifest changes, as far as metadata knows now, and small enough to be committed.
    async fn manifest_batch(
        &self,
        name: &Admitted,
        digest: Digest,
        parsed: &Manifest,
        put: &PutManifest,
        object: Option<&Placement>,
    ) -> Result<Batch> {
        let subject = parsed.subject.as_ref().map(|subject| subject.digest);
        let (target, mut named) = self.check_named(name, parsed).await?;
        self.judge(name, &put.reference, &put.precondition).await?;
        let mut batch = self.batch();
        let at = batch.at;
        target.ensure(self, name, &mut batch).await?;
        batch.extend(put.precondition.guards(target.id, &put.reference));
        if let Some(placement) = object {
            add_blob(&mut batch, target.id, placement);
            named.blobs.push(digest);
        }
        batch.push(manifest::put_content(&digest, &put.bytes));
        let (blobs, children) = (&named.blobs[..], &named.children[..]);
        let stat = ManifestStat {
            digest,
            media_type: parsed.media_type.clone(),
            size: put.bytes.len() as u64,
            // A hint: whether an index or a subject holds it is seen when it is looked at.
            untagged_since: tags(put).next().is_none().then_some(at),
        };
        let new = NewManifest { repository: target.id, stat: &stat, subject, blobs, children };
        batch.extend(manifest::put(&new, at));
        if let Some(subject) = &subject {
            let artifact_type = parsed.referrer_artifact_type().unwrap_or_default();
            let annotations = shown(&parsed.annotations);
            batch.push(referrer::add(target.id, subject, &digest, artifact_type, &annotations));
        }
        let tags: Vec<&Tag> = tags(put).collect();
        if !tags.is_empty() {
            batch.extend(tag::set(target.id, tags.iter().copied(), &digest, at));
        }
        // The bounds of manifests, tags and annotations keep every batch far below this.
        let list = if children.len() > blobs.len() { "manifests" } else { "layers" };
        batch.check().map_err(|e| Error::Unsupported(format!("{list}: the manifest names too much at once ({e})")))?;
        Ok(batch)
    }

    /// `Denied` when the repository keeps its tags where they are and the push would move one. Its batch was refused for
    /// that; this says why.
    async fn check_movable(&self, name: &RepositoryName, digest: &Digest, put: &PutManifest) -> Result<()> {
        let Some(repository) = repository::find(&*self.sql, Freshness::Latest, name.as_str()).await? else {
            return Ok(());
        };
        let fixed = tag::fixed(&*self.sql, repository, tags(put)).await?;
        match fixed.iter().find(|(_, to)| to != digest) {
            Some((tag, to)) => Err(Error::Denied(format!(
                "tag {tag} cannot be overwritten because {name} is an immutable repository; it points at {to}: push to another tag"
            ))),
            None => Ok(()),
        }
    }

    /// Everything the manifest names must be in the repository, with the size its descriptor states. A blob whose last copy
    /// was lost is not: its pusher, who is told, sends it again.
    async fn check_named(&self, name: &RepositoryName, parsed: &Manifest) -> Result<(PushTarget, Named)> {
        let (mut blobs, children) = (distinct(parsed.blobs()), distinct(parsed.children()));
        // An entry of an index whose type says neither may have been pushed as a blob.
        let maybe = children.iter().filter(|child| !media_type::is_manifest(&child.media_type)).copied();
        let asked = distinct(blobs.iter().copied().chain(maybe));
        let had = manifest::had(&*self.sql, name.as_str(), &digests(&children), &digests(&asked)).await?;
        let present: HashSet<Digest> = had.manifests.into_iter().collect();
        let (here, absent): (Vec<_>, Vec<_>) = children.into_iter().partition(|c| present.contains(&c.digest));
        let (certain, either): (Vec<_>, Vec<_>) =
            absent.into_iter().partition(|c| media_type::is_manifest(&c.media_type));
        blobs = distinct(blobs.into_iter().chain(either));
        let mut missing: Vec<Descriptor> = certain.into_iter().cloned().collect();
        let named = Named { blobs: digests(&blobs), children: digests(&here) };
        let linked: HashMap<Digest, u64> = had.blobs.into_iter().collect();
        for descriptor in &blobs {
            match linked.get(&descriptor.digest) {
                None => missing.push((*descriptor).clone()),
                Some(size) if *size != descriptor.size => {
                    return Err(Error::SizeInvalid {
                        what: format!("the descriptor of {}", descriptor.digest),
                        stated: descriptor.size,
                        actual: *size,
                    });
                }
                Some(_) => {}
            }
        }
        let target = PushTarget::of(had.repository);
        if missing.is_empty() { Ok((target, named)) } else { Err(Error::ManifestBlobUnknown(missing)) }
    }
}

/// The first descriptor of each digest: real manifests repeat layers.
fn distinct<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Vec<&'a Descriptor> {
    let mut seen = HashSet::new();
    descriptors.filter(|descriptor| seen.insert(descriptor.digest)).collect()
}

fn digests(descriptors: &[&Descriptor]) -> Vec<Digest> {
    descriptors.iter().map(|descriptor| descriptor.digest).collect()
}

/// The tags a push sets, each once.
fn tags(put: &PutManifest) -> impl Iterator<Item = &Tag> {
    let reference = match &put.reference {
        Reference::Tag(tag) => Some(tag),
        Reference::Digest(_) => None,
    };
    let mut seen = HashSet::new();
    reference.into_iter().chain(&put.tags).filter(move |tag| seen.insert(tag.as_str()))
}

/// What a referrers list shows of a manifest's annotations, as JSON: all of them, or, when they are larger than
/// [`SHOWN_BYTES`], those that fit, in the order of their names. None is cut; the manifest itself has them all.
fn shown(annotations: &BTreeMap<String, String>) -> String {
    let json = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let mut list = String::from("{");
    for (name, value) in annotations {
        let entry = format!("{}:{}", json(name), json(value));
        if list.len() + entry.len() + 2 <= SHOWN_BYTES {
            if list.len() > 1 {
                list.push(',');
            }
            list.push_str(&entry);
        }
    }
    list + "}"
}
