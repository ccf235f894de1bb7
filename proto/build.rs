//! Generates the gRPC code and the descriptor set that server reflection serves.

const PROTOS: &[&str] = &[
    "vigil/v1/appearance.proto",
    "vigil/v1/audit.proto",
    "vigil/v1/camera.proto",
    "vigil/v1/coverage.proto",
    "vigil/v1/enrolment.proto",
    "vigil/v1/event.proto",
    "vigil/v1/evidence.proto",
    "vigil/v1/geometry.proto",
    "vigil/v1/ingest.proto",
    "vigil/v1/insight.proto",
    "vigil/v1/policy.proto",
    "vigil/v1/query.proto",
    "vigil/v1/region.proto",
    "vigil/v1/stream.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        .bytes(".vigil.v1.EventRecord.thumbnail_jpeg")
        .bytes(".vigil.v1.Picture.image")
        .bytes(".vigil.v1.GetThumbnailResponse.jpeg")
        .file_descriptor_set_path(out.join("vigil_descriptor.bin"))
        .compile_protos(PROTOS, &["."])?;
    Ok(())
}
