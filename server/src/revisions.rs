//! Models and their revisions: which head answers, swapped by pointer, and what is seen of each.
//!
//! A request pins its [`Route`] when it is admitted and keeps it until it is answered; a revision that nobody holds
//! any more is let go by the scorer.
//!
//! ```text
//! rollout --publish--> Models --resolve(model, routing key)--> Route { revision, other, pairing }
//!   scorer thread: Route::note  counts, paired statistics; a head that fails is taken out, and the bell rings
//! ```

mod counts;
mod models;
mod paired;
mod revision;
mod route;

pub(crate) use counts::{BOUNDS, CountsView};
pub(crate) use models::{Models, Roles, Served};
pub(crate) use paired::{Paired, PairedView};
pub(crate) use revision::{Bell, Revision};
pub(crate) use route::Route;
