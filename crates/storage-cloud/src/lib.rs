//! Storage engines that are reached over the network.
//!
//! Bytes go through Apache OpenDAL; what it cannot do is signed here, in a module of the engine. An engine is a
//! module with the same rooms: options, how it is opened and what its first look tells, reading, writing, composing,
//! the words of its errors. Deliberately absent: Google, Azure, Swift and OSS, which come with the same rooms.

mod s3;

pub use s3::{Encryption, S3, S3Options, Secret};
