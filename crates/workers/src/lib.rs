//! Background reconcilers and their supervisor.
//!
//! A worker brings the world closer to what metadata says, one unit per step: it has no input, a step may be repeated
//! and may run on several instances at once. Deliberately absent: queues in memory. What is to be done stands in
//! metadata and in the stores, so a restart loses nothing.

mod status;
mod supervisor;
mod worker;

pub use status::{WorkerState, WorkerStatus};
pub use supervisor::Supervisor;
pub use worker::{Progress, StepError, Worker};
