//! Media types of manifests and of what they name.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI artifact manifest: of the release candidates of image-spec 1.1, not of 1.1; still found in registries.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, a tar archive.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, a tar archive under gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, a tar archive under zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// OCI layer that may not be redistributed (deprecated), a tar archive.
pub const OCI_NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// OCI layer that may not be redistributed (deprecated), a tar archive under gzip.
pub const OCI_NONDISTRIBUTABLE_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// OCI layer that may not be redistributed (deprecated), a tar archive under zstd.
pub const OCI_NONDISTRIBUTABLE_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
/// The empty JSON object, where a descriptor is demanded and there is nothing to describe.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest, schema 1, not signed. Refused.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker image manifest, schema 1, signed. Refused.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer that is fetched from its `urls`, not from the registry.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// What a build cache of BuildKit says of its layers; lists them in an index.
pub const BUILDKIT_CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// Whether this is the manifest of one image: OCI, or Docker schema 2.
pub fn is_image(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether this is a list of manifests: OCI index, or Docker manifest list.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether this is certainly pushed as a manifest: one of an image, an index, or the artifact manifest.
pub fn is_manifest(media_type: &str) -> bool {
    is_image(media_type) || is_index(media_type) || media_type == OCI_ARTIFACT
}

/// Whether this is certainly pushed as a blob, even where a manifest is expected: a layer or a configuration.
pub fn is_blob(media_type: &str) -> bool {
    let layer = media_type.starts_with("application/vnd.oci.image.layer.");
    let known = [OCI_CONFIG, OCI_EMPTY, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_FOREIGN_LAYER, BUILDKIT_CACHE_CONFIG];
    layer || known.contains(&media_type)
}

/// Whether this is Docker schema 1, which is refused.
pub fn is_schema1(media_type: &str) -> bool {
    matches!(media_type, DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
}

/// Whether this is a layer that clients need not push, because it may not be redistributed.
pub fn is_nondistributable(media_type: &str) -> bool {
    matches!(
        media_type,
        OCI_NONDISTRIBUTABLE | OCI_NONDISTRIBUTABLE_GZIP | OCI_NONDISTRIBUTABLE_ZSTD | DOCKER_FOREIGN_LAYER
    )
}

/// A `Content-Type` without its parameters: `a/b; charset=utf-8` is `a/b`.
pub fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim_matches([' ', '\t'])
}

/// Whether this is a media type by RFC 6838, section 4.2: `type/subtype`, without parameters. So it is safe in a header.
pub fn is_media_type(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, subtype)| is_restricted_name(kind) && is_restricted_name(subtype))
}

/// Whether this is a media type, parameters allowed: `text/plain; charset=utf-8`. At most 255 printable ASCII characters.
pub fn is_content_type(text: &str) -> bool {
    let printable = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    text.len() <= 255 && printable && is_media_type(essence(text))
}

fn is_restricted_name(text: &str) -> bool {
    let punctuation = |b: u8| matches!(b, b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+');
    (1..=127).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || punctuation(b))
}
