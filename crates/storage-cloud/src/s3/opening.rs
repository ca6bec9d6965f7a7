//! The first look at a bucket: what is wrong, in the words of the configuration.

use futures::TryStreamExt;
use roadstead_storage::{Error, ErrorKind};

use super::errors::{self, Said};
use super::{S3, S3Options};

/// Codes by which servers say that a request was signed for another region.
const REGION: [&str; 6] = [
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidRegion",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IncorrectEndpoint",
];

/// How often a server that says it cannot answer now is asked at the start, and the pause between.
const TRIES: u32 = 5;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

impl S3 {
    /// Lists one object: it needs the server, the bucket, the region, the credentials and the clock.
    pub(super) async fn first_look(&self, options: &S3Options) -> Result<(), Error> {
        let looked = || async {
            let mut lister = self.client.sure.lister_with("").recursive(true).limit(1).await?;
            lister.try_next().await
        };
        let mut tries = TRIES;
        loop {
            let Err(error) = looked().await else { return Ok(()) };
            let said = Said::of(&error);
            let kind = errors::kind(&error, &said);
            tries -= 1;
            // A server that answers, and only not now, is not waited for by whoever starts us.
            if tries == 0 || kind != ErrorKind::Unavailable || said.code.is_empty() {
                let text = format!("{}: {}", self.place, advice(options, kind, &said));
                return Err(Error::new(kind, text).with_source(said));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What to do about a bucket that cannot be listed.
fn advice(options: &S3Options, kind: ErrorKind, said: &Said) -> String {
    let bucket = &options.bucket;
    match said.code.as_str() {
        "NoSuchBucket" | "InvalidBucketName" => {
            format!(
                "there is no bucket {bucket} here; make it, or correct storage.s3.bucket or storage.s3.regionendpoint"
            )
        }
        "InvalidAccessKeyId" | "NotSignedUp" => "the server does not know storage.s3.accesskey; correct it".to_owned(),
        "SignatureDoesNotMatch" => {
            "the secret key does not fit the access key; correct storage.s3.secretkey".to_owned()
        }
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "the temporary credentials have expired or are not valid; renew storage.s3.sessiontoken and its keys"
                .to_owned()
        }
        "RequestTimeTooSkewed" => {
            "the clock of this machine and that of the server differ by more than it accepts; set the clock".to_owned()
        }
        code if REGION.contains(&code) => {
            format!("the bucket is not in region {}; correct storage.s3.region", options.region)
        }
        "AccessDenied" => format!(
            "the credentials may not list bucket {bucket}; allow them to list it, and to get, put and delete its objects"
        ),
        _ if kind == ErrorKind::Unavailable => {
            "the server cannot be reached, or cannot answer now; correct storage.s3.regionendpoint, or wait for it"
                .to_owned()
        }
        _ if kind == ErrorKind::Denied => "the server refuses the credentials; correct storage.s3.accesskey".to_owned(),
        _ => "the bucket cannot be listed; is storage.s3.regionendpoint an S3 server?".to_owned(),
    }
}
