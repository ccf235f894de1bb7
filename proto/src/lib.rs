//! The wire contract of Vigil: generated gRPC code, and checked conversions to and from the pipeline's own types.
//!
//! Everything that arrives is hostile until it went through [`convert`]: ids, times, boxes, counts and lengths are checked
//! there, once, and each error names the field.

pub mod convert;

pub use convert::WireError;

/// Package `vigil.v1`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic)] // Generated; the .proto files hold the documentation.
pub mod v1 {
    tonic::include_proto!("vigil.v1");
}

/// The file descriptor set of package `vigil.v1`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vigil_descriptor.bin"));
