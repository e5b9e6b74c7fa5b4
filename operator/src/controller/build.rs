//! Fourth step: what is applied, as whole objects. Pure.

pub mod job;
pub mod job_config;
pub mod volumes;
