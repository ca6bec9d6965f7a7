//! Descriptors: how a manifest names content.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::json::Object;
use crate::{Digest, ManifestError, media_type};

/// A reference to content by digest (image-spec, descriptor). Fields that are not of the spec are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes, at most `i64::MAX`.
    pub size: u64,
    /// Where else the content may be fetched. Never fetched by the registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free key-value pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, as it came; neither decoded nor verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the content runs on; in an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact, when the content is a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// What an image runs on (image-spec, index). Anything may stand in it; the registry only shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// The processor, such as `amd64`.
    pub architecture: String,
    /// The operating system, such as `linux`.
    pub os: String,
    /// The version of the operating system.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the operating system must offer.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the processor, such as `v8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What the processor must offer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

impl Descriptor {
    /// A descriptor with the three fields that every descriptor has.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Reads the JSON text of a descriptor that stands at `path`.
    pub(crate) fn read(path: &str, text: &str) -> Result<Self, ManifestError> {
        const KNOWN: &[&str] =
            &["mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"];
        let object = Object::read(path, text, KNOWN)?;
        object.refuse_lookalikes()?;
        let missing = |name: &str| ManifestError::new(object.path(name), "is missing");
        let digest = object.text("digest")?.ok_or_else(|| missing("digest"))?;
        Ok(Self {
            media_type: read_media_type(&object, "mediaType")?.ok_or_else(|| missing("mediaType"))?,
            digest: digest.parse().map_err(|e| ManifestError::new(object.path("digest"), format!("{e}")))?,
            size: object.number("size")?.ok_or_else(|| missing("size"))?,
            urls: object.texts("urls")?,
            annotations: object.map("annotations")?,
            data: object.text("data")?,
            platform: Platform::read(&object)?,
            artifact_type: read_media_type(&object, "artifactType")?,
        })
    }
}

impl Platform {
    fn read(descriptor: &Object<'_>) -> Result<Option<Self>, ManifestError> {
        const KNOWN: &[&str] = &["architecture", "os", "os.version", "os.features", "variant", "features"];
        let Some(text) = descriptor.raw("platform") else {
            return Ok(None);
        };
        let object = Object::read(&descriptor.path("platform"), text, KNOWN)?;
        Ok(Some(Self {
            architecture: object.text("architecture")?.unwrap_or_default(),
            os: object.text("os")?.unwrap_or_default(),
            os_version: object.text("os.version")?,
            os_features: object.texts("os.features")?,
            variant: object.text("variant")?,
            features: object.texts("features")?,
        }))
    }
}

/// A field that names what something is.
pub(crate) fn read_media_type(object: &Object<'_>, name: &str) -> Result<Option<String>, ManifestError> {
    let Some(text) = object.text(name)? else {
        return Ok(None);
    };
    if media_type::is_content_type(&text) {
        return Ok(Some(text));
    }
    let problem = format!("is {}, not a media type such as application/json", crate::excerpt::excerpt(&text));
    Err(ManifestError::new(object.path(name), problem))
}

/// From JSON only: the text is read by the same rules as in a manifest.
impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(json)?;
        Descriptor::read("", raw.get()).map_err(serde::de::Error::custom)
    }
}
