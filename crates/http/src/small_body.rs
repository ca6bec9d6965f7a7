//! The whole of a small body, within bounds of bytes and of time: what is not read to its end holds a connection.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::StreamExt as _;
use http_body::Body as _;

/// How long one may take.
const COMES: Duration = Duration::from_secs(30);

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBody {
    /// It has more bytes than it may.
    TooLarge,
    /// It did not come in time, or broke off.
    NotWhole,
}

/// All of a body of at most `longest` bytes.
pub(crate) async fn read(body: Body, longest: usize) -> Result<Bytes, NoBody> {
    if body.size_hint().lower() > longest as u64 {
        return Err(NoBody::TooLarge);
    }
    let mut pieces = body.into_data_stream();
    let whole = async {
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next().await {
            whole.extend_from_slice(&piece.map_err(|_| NoBody::NotWhole)?);
            if whole.len() > longest {
                return Err(NoBody::TooLarge);
            }
        }
        Ok(whole.into())
    };
    tokio::time::timeout(COMES, whole).await.unwrap_or(Err(NoBody::NotWhole))
}
