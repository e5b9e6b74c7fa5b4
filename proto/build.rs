//! Compiles the .proto files in pure Rust: no system protoc.

use std::path::PathBuf;

const PROTOS: [&str; 4] = [
    "inctrl/v1/anomaly_detection_service.proto",
    "inctrl/v1/prompt_set_service.proto",
    "inctrl/v1/rollout_service.proto",
    "inctrl/v1/server_info_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=inctrl");
    println!("cargo::rerun-if-changed=third_party");
    let mut compiler = protox::Compiler::new([".", "third_party"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    std::fs::write(out_dir.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".inctrl.v1.Image.encoded")
        .bytes(".inctrl.v1.RawImage.rgb")
        .bytes(".inctrl.v1.AnomalyMap.values")
        .bytes(".inctrl.v1.Head")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
