//! Lets tests and benches that make heads find libtorch at run time without an exported variable.

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        for kind in ["tests", "benches"] {
            println!("cargo::rustc-link-arg-{kind}=-Wl,-rpath,{libtorch}/lib");
        }
    }
}
