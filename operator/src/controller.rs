//! One object at a time: observe -> validate -> plan -> build -> apply -> status.
//!
//! | step | what it does | touches the world |
//! |---|---|---|
//! | [`observe`] | the object, its Jobs and pods, newest looks at data set and artifacts, what servers report | reads |
//! | [`validate`] | the spec becomes a [`validate::ValidModel`] | no |
//! | [`plan`] | spec, observation, time -> status draft, actions, events, when to look again | no |
//! | [`build`] | what is applied, as whole objects | no |
//! | [`driver`], [`apply`] | writes the draft where it differs, then tells, then acts | writes |
//!
//! The order of the last line is the law of the operator: an intent stands in the status (or follows from it) before it is
//! acted on, acting twice is acting once, an outcome stands in the status before its evidence may be collected.

pub mod apply;
pub mod build;
pub mod driver;
pub mod keys;
pub mod looks;
pub mod observation;
pub mod observe;
pub mod plan;
pub mod stores;
pub mod validate;
