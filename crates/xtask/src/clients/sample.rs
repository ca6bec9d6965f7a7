//! What clients push: files of several sizes, a container file that makes a layer of each, and the same as an OCI image
//! layout with one image per platform under an index.

use std::path::{Path, PathBuf};
use std::process::Command;

use roadstead_testkit::{Content, Seed, digest};
use serde_json::{Value, json};

use super::registry::text;
use super::same;
use crate::process::capture;
use crate::stage::Failure;

/// Name and size of each file: less than one packet, less than one read, more than any buffer on the way.
const FILES: [(&str, u64); 3] = [("small", 11), ("middle", 70_001), ("large", 5_000_003)];

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The files in a folder, written for one client.
pub(super) struct Sample {
    folder: PathBuf,
    seed: Seed,
}

impl Sample {
    /// Writes the files, and a `Containerfile` that makes one layer of each.
    pub(super) fn write(folder: &Path, name: &str) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        // Each client pushes blobs that no other pushed.
        let seed = name.bytes().fold(Seed(1), |seed, byte| seed.derive(byte.into()));
        let sample = Self { folder: folder.to_owned(), seed };
        let mut recipe = String::from("FROM scratch\nLABEL sample=gate\n");
        for (name, size) in FILES {
            std::fs::write(folder.join(name), sample.bytes(size))?;
            recipe += &format!("COPY {name} /{name}\n");
        }
        std::fs::write(folder.join("Containerfile"), recipe)?;
        Ok(sample)
    }

    /// The content of the file of this size; the sizes differ, so the contents do.
    fn bytes(&self, size: u64) -> Vec<u8> {
        Content::new(self.seed.derive(size), size).to_vec()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Compares the files found in another folder with those written.
    pub(super) fn compare(&self, other: &Path) -> Result<(), Failure> {
        for (name, size) in FILES {
            let found =
                std::fs::read(other.join(name)).map_err(|e| Failure::new(format!("{name} after the pull: {e}")))?;
            same(&format!("length of {name} after the pull"), &size, &(found.len() as u64))?;
            same(&format!("{name} came back as it went"), &true, &(found == self.bytes(size)))?;
        }
        Ok(())
    }

    /// Writes an OCI image layout with an index of two images that share two of their three layers; answers the index's
    /// digest.
    pub(super) fn layout(&self, folder: &Path, tag: &str) -> Result<String, Failure> {
        std::fs::create_dir_all(folder.join("blobs/sha256"))?;
        std::fs::write(folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let mut images = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let mut image = self.image(folder, architecture)?;
            image["platform"] = json!({"architecture": architecture, "os": "linux"});
            images.push(image);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images});
        let mut top = store(folder, INDEX, index.to_string().as_bytes())?;
        let digest = text(&top["digest"]);
        top["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        std::fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [top]}).to_string())?;
        Ok(digest)
    }

    /// One image: a layer per file, and one that names the architecture instead of the first.
    fn image(&self, folder: &Path, architecture: &str) -> Result<Value, Failure> {
        std::fs::write(self.folder.join("architecture"), architecture)?;
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for name in ["architecture", FILES[1].0, FILES[2].0] {
            let archive = self.archive(name)?;
            diff_ids.push(digest(&std::fs::read(&archive)?));
            // Some clients compress what is not compressed, which would give it another digest.
            capture(Command::new("gzip").args(["--no-name", "--force"]).arg(&archive))?;
            layers.push(store(folder, LAYER, &std::fs::read(archive.with_extension("tar.gz"))?)?);
        }
        let config =
            json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = store(folder, CONFIG, config.to_string().as_bytes())?;
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        store(folder, MANIFEST, manifest.to_string().as_bytes())
    }

    /// A tar of one file; the same file gives the same archive, whoever runs this and whenever.
    fn archive(&self, name: &str) -> Result<PathBuf, Failure> {
        let archive = self.folder.join(format!("{name}.tar"));
        let mut tar = Command::new("tar");
        tar.args(["--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=0644", "--directory"]);
        tar.arg(&self.folder).arg("--create").arg("--file").arg(&archive).arg(name);
        capture(&mut tar)?;
        Ok(archive)
    }
}

/// Stores a blob in a layout; answers its descriptor.
fn store(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<Value, Failure> {
    let digest = digest(bytes);
    std::fs::write(layout.join("blobs").join(digest.replace(':', "/")), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
}

/// Every blob of one layout is in the other, whole: a file there is named after the bytes it must hold.
pub(super) fn compare_layouts(expected: &Path, found: &Path) -> Result<(), Failure> {
    for entry in std::fs::read_dir(expected.join("blobs/sha256"))? {
        let name = entry?.file_name();
        let bytes = std::fs::read(found.join("blobs/sha256").join(&name))
            .map_err(|e| Failure::new(format!("blob {} after the pull: {e}", name.display())))?;
        same("digest of a blob after the pull", &format!("sha256:{}", name.display()), &digest(&bytes))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_layout_is_the_same_twice_and_differs_by_seed() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = |name: &str, seed: &str| {
            let sample = Sample::write(&scratch.path().join(name), seed).unwrap();
            sample.layout(&scratch.path().join(name).join("layout"), "v1").unwrap()
        };
        assert_eq!(layout("a", "x"), layout("b", "x"));
        assert_ne!(layout("a", "x"), layout("c", "y"));
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let sample = Sample::write(scratch.path(), "x").unwrap();
        assert!(sample.compare(scratch.path()).is_ok());
        let mut bytes = std::fs::read(scratch.path().join("middle")).unwrap();
        bytes[69_000] ^= 1;
        std::fs::write(scratch.path().join("middle"), bytes).unwrap();
        assert!(sample.compare(scratch.path()).is_err());
    }
}
