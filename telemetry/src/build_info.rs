//! What was built: the `inctrl_build_info` metric.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// A program's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildInfo {
    /// Name of the program, such as `inctrl-server`.
    pub program: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The commit it was built from, or `unknown`.
    pub revision: &'static str,
}

impl BuildInfo {
    /// Registers `inctrl_build_info` with value 1.
    pub fn register(&self, registry: &mut Registry) {
        let Self { program, version, revision } = *self;
        let labels = vec![("program", program), ("version", version), ("revision", revision)];
        registry.register("inctrl_build", "What was built", Info::new(labels));
    }
}
