//! A method and a path: whatever endpoint is found, its parts are plain and spell a path of the same endpoint.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_oci::{RepositoryName, Route, route};

fuzz_target!(|path: &str| {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
        judge(method, path);
        judge(method, &format!("/v2/{path}"));
    }
});

fn judge(method: &str, path: &str) {
    match route(method, path) {
        Ok(found) => {
            assert!(!found.name().is_empty());
            if let Some(name) = found.repository() {
                assert_eq!(name.as_str().parse::<RepositoryName>().as_ref(), Ok(name));
            }
            let plain = spell(&found);
            assert!(plain.bytes().all(|b| b.is_ascii_graphic() && b != b'%' && b != b'\\'), "{plain}");
            assert!(plain.split('/').all(|segment| segment != "." && segment != ".."), "{plain}");
            assert!(!plain.contains("//"), "{plain}");
            assert_eq!(route(method, &plain), Ok(found));
        }
        Err(error) => assert!(error.to_string().len() < 1024, "an error echoes too much of its input"),
    }
}

fn spell(route: &Route) -> String {
    match route {
        Route::Base => "/v2/".to_owned(),
        Route::Catalog => "/v2/_catalog".to_owned(),
        Route::GetBlob { name, digest } | Route::HeadBlob { name, digest } | Route::DeleteBlob { name, digest } => {
            format!("/v2/{name}/blobs/{digest}")
        }
        Route::StartUpload { name } => format!("/v2/{name}/blobs/uploads/"),
        Route::UploadStatus { name, session }
        | Route::AppendUpload { name, session }
        | Route::FinishUpload { name, session }
        | Route::CancelUpload { name, session } => format!("/v2/{name}/blobs/uploads/{session}"),
        Route::GetManifest { name, reference }
        | Route::HeadManifest { name, reference }
        | Route::PutManifest { name, reference }
        | Route::DeleteManifest { name, reference } => format!("/v2/{name}/manifests/{reference}"),
        Route::ListTags { name } => format!("/v2/{name}/tags/list"),
        Route::Referrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
    }
}
