//! What crashed writers left in the stores: temporary files, parts of uploads that no key names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_registry::Registry;

use crate::{Progress, StepError, Worker};

/// Bytes that nobody has written to for so long belong to nobody: other processes write to the same stores.
const UNUSED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Sweeps the locations whose engine has something to sweep.
#[derive(Debug)]
pub struct SweepTemporary {
    registry: Arc<Registry>,
}

impl SweepTemporary {
    /// Works on the locations of `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

#[async_trait]
impl Worker for SweepTemporary {
    fn name(&self) -> &'static str {
        "sweep_temporary"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60 * 60)
    }

    /// Sweeps every location, and fails at the end with the first that could not be swept.
    async fn step(&self) -> Result<Progress, StepError> {
        let mut done = 0;
        let mut failed = None;
        for location in self.registry.locations().iter() {
            let Some(sweep) = location.engine.sweep() else { continue };
            match sweep.remove_stale(UNUSED_FOR).await {
                Ok(swept) => {
                    if swept.files > 0 {
                        let (files, bytes) = (swept.files, swept.bytes);
                        tracing::info!(
                            location = location.name,
                            files,
                            bytes,
                            "temporary files of crashed writers removed"
                        );
                    }
                    done += swept.files;
                }
                Err(source) => {
                    failed.get_or_insert(StepError::Storage { location: location.name.clone(), source });
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Progress { done, more: false, ..Progress::default() }),
        }
    }
}
