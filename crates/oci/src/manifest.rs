//! Manifests: the JSON documents that tie blobs to an image, an index, or an artifact.
//!
//! A manifest is read for what the registry must know: which blobs and manifests have to exist, what it refers to
//! (`subject`), what it shows in lists. Its bytes are kept and served as they came; nothing is ever written back from
//! a parsed [`Manifest`].
//!
//! Known types are judged strictly. A manifest of any other type is accepted under the type it is pushed with, and
//! gives what it has in common with the known ones. Docker schema 1 is refused.
//!
//! Bounds: nesting [`MAX_DEPTH`], descriptors [`MAX_DESCRIPTORS`]; memory stays proportional to the known fields. The
//! number of bytes is the caller's to bound.

use std::collections::BTreeMap;

use crate::descriptor::read_media_type;
use crate::excerpt::excerpt;
use crate::json::{Object, nests_at_most};
use crate::{Descriptor, media_type};

/// The deepest nesting of a manifest.
pub const MAX_DEPTH: usize = 64;

/// The most descriptors in the lists of a manifest: layers, blobs, or entries of an index.
pub const MAX_DESCRIPTORS: usize = 10_000;

const FIELDS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "subject",
    "annotations",
    "config",
    "layers",
    "manifests",
    "blobs",
    "fsLayers",
];

/// What the registry knows of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The type it is served with, without parameters.
    pub media_type: String,
    /// `artifactType` as it stands in the body; see [`Manifest::referrer_artifact_type`].
    pub artifact_type: Option<String>,
    /// The manifest this one refers to. It need not exist.
    pub subject: Option<Descriptor>,
    /// The manifest's own annotations.
    pub annotations: BTreeMap<String, String>,
    /// What it is made of.
    pub kind: Kind,
}

/// What a manifest is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one per manifest, never in a list")]
pub enum Kind {
    /// A configuration and layers.
    Image {
        /// The configuration.
        config: Descriptor,
        /// The layers, lowest first; the same one may occur more than once.
        layers: Vec<Descriptor>,
    },
    /// Other manifests; see [`Manifest::children`] and [`Manifest::blobs`] for what its entries are.
    Index {
        /// The entries, in order.
        manifests: Vec<Descriptor>,
    },
    /// Blobs without a configuration.
    Artifact {
        /// The blobs, in order.
        blobs: Vec<Descriptor>,
    },
}

/// Why bytes are not a manifest (`code-6`, MANIFEST_INVALID).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    field: String,
    problem: String,
}

impl ManifestError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The path of the field that is wrong, such as `layers[2].digest`; `Content-Type` for the header; empty when it is
    /// the document as a whole.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            write!(f, "the document {}", self.problem)
        } else {
            write!(f, "{}: {}", excerpt(&self.field).trim_matches('"'), self.problem)
        }
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Judges the body of a manifest. `content_type` is the header it came with, or the type it is stored with.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(|e| ManifestError::new("", format!("is not UTF-8: {e}")))?;
        if !nests_at_most(text, MAX_DEPTH) {
            return Err(ManifestError::new("", format!("nests more than {MAX_DEPTH} levels deep")));
        }
        let body = Object::read("", text, FIELDS)?;
        let media_type = judge_media_type(content_type, &body)?;
        let (kind, subject) = if media_type::is_manifest(&media_type) {
            body.refuse_lookalikes()?;
            (known_kind(&media_type, &body)?, descriptor(&body, "subject")?)
        } else {
            (other_kind(&body)?, likely_descriptor(&body, "subject")?)
        };
        let artifact_type = read_media_type(&body, "artifactType")?;
        Ok(Self { media_type, artifact_type, subject, annotations: body.map("annotations")?, kind })
    }

    /// The artifact type under which this manifest is listed among the referrers of its subject: `artifactType`, else
    /// the configuration's media type; an index or an artifact without one has none (end-12a).
    pub fn referrer_artifact_type(&self) -> Option<&str> {
        match (&self.artifact_type, &self.kind) {
            (Some(artifact_type), _) => Some(artifact_type),
            (None, Kind::Image { config, .. }) => Some(&config.media_type),
            (None, Kind::Index { .. } | Kind::Artifact { .. }) => None,
        }
    }

    /// The blobs that must be in the repository before this manifest is accepted, in order, repetitions included. A
    /// layer that may not be distributed and says where else to fetch it need not be there. An index may list blobs
    /// beside manifests: build caches do.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, list, mixed) = match &self.kind {
            Kind::Image { config, layers } => (Some(config), layers, false),
            Kind::Artifact { blobs } => (None, blobs, false),
            Kind::Index { manifests } => (None, manifests, true),
        };
        let elsewhere = |d: &Descriptor| media_type::is_nondistributable(&d.media_type) && !d.urls.is_empty();
        let wanted = move |d: &&Descriptor| !elsewhere(d) && (!mixed || media_type::is_blob(&d.media_type));
        config.into_iter().chain(list.iter().filter(wanted))
    }

    /// The manifests that an index lists, in order, repetitions included: every entry that is not certainly a blob. One
    /// that is not certainly a manifest either ([`media_type::is_manifest`]) may turn out to be a blob.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        let manifests = match &self.kind {
            Kind::Index { manifests } => manifests.as_slice(),
            Kind::Image { .. } | Kind::Artifact { .. } => &[],
        };
        manifests.iter().filter(|d| !media_type::is_blob(&d.media_type))
    }
}

/// The type by header, by body (they must agree), or by shape.
fn judge_media_type(content_type: Option<&str>, body: &Object<'_>) -> Result<String, ManifestError> {
    let header = content_type.map(media_type::essence).filter(|header| !header.is_empty());
    let field = body_media_type(body)?;
    let media_type = match (header, field) {
        (Some(header), Some(field)) if header != field => {
            let problem = format!("is {field}, but the Content-Type header says {}", excerpt(header));
            return Err(ManifestError::new("mediaType", problem));
        }
        (_, Some(field)) => field,
        (Some(header), None) if media_type::is_media_type(header) => header.to_owned(),
        (Some(header), None) => {
            let problem = format!("{} is not a media type", excerpt(header));
            return Err(ManifestError::new("Content-Type", problem));
        }
        (None, None) => media_type_by_shape(body)?.to_owned(),
    };
    if media_type::is_schema1(&media_type) { Err(schema1()) } else { Ok(media_type) }
}

/// `mediaType` of the body. It is served as a header, so it may have no parameters.
fn body_media_type(body: &Object<'_>) -> Result<Option<String>, ManifestError> {
    let Some(field) = body.text("mediaType")? else {
        return Ok(None);
    };
    if media_type::is_media_type(&field) {
        return Ok(Some(field));
    }
    let problem = format!("is {}, not a media type without parameters", excerpt(&field));
    Err(ManifestError::new("mediaType", problem))
}

fn media_type_by_shape(body: &Object<'_>) -> Result<&'static str, ManifestError> {
    match (body.raw("manifests"), body.raw("config"), body.raw("fsLayers")) {
        (_, _, Some(_)) => Err(schema1()),
        (Some(_), None, None) => Ok(media_type::OCI_INDEX),
        (None, Some(_), None) => Ok(media_type::OCI_MANIFEST),
        _ => {
            let problem = "is missing, there is no Content-Type header, and the fields are neither those of an image \
                           (config, layers) nor those of an index (manifests)";
            Err(ManifestError::new("mediaType", problem))
        }
    }
}

fn schema1() -> ManifestError {
    let problem = "is a Docker manifest of schema 1, which is obsolete and not accepted; push the image again with a \
                   client of this decade, as Docker schema 2 or OCI";
    ManifestError::new("", problem)
}

fn known_kind(media_type: &str, body: &Object<'_>) -> Result<Kind, ManifestError> {
    if media_type == media_type::OCI_ARTIFACT {
        refuse(body, &["config", "layers", "manifests", "fsLayers"], media_type)?;
        if read_media_type(body, "artifactType")?.is_none() {
            return Err(ManifestError::new("artifactType", "is missing"));
        }
        return Ok(Kind::Artifact { blobs: descriptors(body, "blobs")?.unwrap_or_default() });
    }
    match body.number("schemaVersion")? {
        Some(2) => {}
        Some(1) => return Err(schema1()),
        Some(other) => {
            return Err(ManifestError::new("schemaVersion", format!("is {other}, not 2")));
        }
        None => {
            return Err(ManifestError::new("schemaVersion", "is missing; it must be 2"));
        }
    }
    let missing = |name: &str| ManifestError::new(name, "is missing");
    if media_type::is_index(media_type) {
        refuse(body, &["config", "layers", "blobs", "fsLayers"], media_type)?;
        let manifests = descriptors(body, "manifests")?.ok_or_else(|| missing("manifests"))?;
        Ok(Kind::Index { manifests })
    } else {
        refuse(body, &["manifests", "blobs", "fsLayers"], media_type)?;
        let config = descriptor(body, "config")?.ok_or_else(|| missing("config"))?;
        let layers = descriptors(body, "layers")?.ok_or_else(|| missing("layers"))?;
        Ok(Kind::Image { config, layers })
    }
}

/// Another type: its fields mean what they mean in the known types when they look like it, and nothing otherwise.
fn other_kind(body: &Object<'_>) -> Result<Kind, ManifestError> {
    let manifests = likely_descriptors(body, "manifests")?;
    let config = likely_descriptor(body, "config")?;
    let layers = likely_descriptors(body, "layers")?;
    let blobs = likely_descriptors(body, "blobs")?;
    if let Some(manifests) = manifests {
        if config.is_some() || layers.is_some() || blobs.is_some() {
            return Err(ManifestError::new("manifests", "stands beside config, layers or blobs"));
        }
        return Ok(Kind::Index { manifests });
    }
    let blobs: Vec<_> = layers.into_iter().chain(blobs).flatten().collect();
    if blobs.len() > MAX_DESCRIPTORS {
        return Err(ManifestError::new(
            "blobs",
            format!("together with layers has more than {MAX_DESCRIPTORS} elements"),
        ));
    }
    Ok(match config {
        Some(config) => Kind::Image { config, layers: blobs },
        None => Kind::Artifact { blobs },
    })
}

/// A document that two readers could take for two types is refused.
fn refuse(body: &Object<'_>, names: &[&str], media_type: &str) -> Result<(), ManifestError> {
    match names.iter().find(|name| body.raw(name).is_some()) {
        Some(name) => Err(ManifestError::new(*name, format!("does not belong into a manifest of type {media_type}"))),
        None => Ok(()),
    }
}

fn descriptor(body: &Object<'_>, name: &str) -> Result<Option<Descriptor>, ManifestError> {
    body.raw(name).map(|text| Descriptor::read(name, text)).transpose()
}

fn descriptors(body: &Object<'_>, name: &str) -> Result<Option<Vec<Descriptor>>, ManifestError> {
    let Some(list) = body.list(name, MAX_DESCRIPTORS)? else {
        return Ok(None);
    };
    let read = |(i, text): (usize, &str)| Descriptor::read(&format!("{name}[{i}]"), text);
    list.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

/// A field that is a descriptor if it is an object with a digest; then it must be a good one.
fn likely_descriptor(body: &Object<'_>, name: &str) -> Result<Option<Descriptor>, ManifestError> {
    match body.raw(name) {
        Some(text) if is_likely(text)? => descriptor(body, name),
        _ => Ok(None),
    }
}

/// A field that is a list of descriptors if it is a list of nothing but objects with a digest.
fn likely_descriptors(body: &Object<'_>, name: &str) -> Result<Option<Vec<Descriptor>>, ManifestError> {
    if !body.raw(name).is_some_and(|text| text.starts_with('[')) {
        return Ok(None);
    }
    for text in body.list(name, MAX_DESCRIPTORS)?.unwrap_or_default() {
        if !is_likely(text)? {
            return Ok(None);
        }
    }
    descriptors(body, name)
}

fn is_likely(text: &str) -> Result<bool, ManifestError> {
    Ok(text.starts_with('{') && Object::read("", text, &["digest"])?.raw("digest").is_some())
}
