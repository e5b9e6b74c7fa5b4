//! Lets the tests that make heads find libtorch at run time without an exported variable.

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg-tests=-Wl,-rpath,{libtorch}/lib");
    }
}
