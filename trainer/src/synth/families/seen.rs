//! Families of training: textures from lattice noise and periodic profiles, objects from distance fields.

use super::{Family, Instance, Textured};

mod laid;
mod lined;
mod noise;
mod objects;
mod plain;
mod shapes;

use rand_chacha::ChaCha8Rng;

/// Twelve textures less the held-out ones, five objects.
pub(super) fn families() -> Vec<Family> {
    let texture = |name, directed, build| Family { name, seen: true, object: false, directed, build };
    let object = |name, build| Family { name, seen: true, object: true, directed: true, build };
    vec![
        texture("plaster", false, |rng| boxed(plain::Plaster::new(rng))),
        texture("granite", false, |rng| boxed(plain::Granite::new(rng))),
        texture("leather", false, |rng| boxed(plain::Leather::new(rng))),
        texture("wood", true, |rng| boxed(lined::Wood::new(rng))),
        texture("corduroy", true, |rng| boxed(lined::Corduroy::new(rng))),
        texture("brushed-metal", true, |rng| boxed(lined::Brushed::new(rng))),
        texture("weave", true, |rng| boxed(laid::Weave::new(rng))),
        texture("tiles", true, |rng| boxed(laid::Tiles::new(rng))),
        object("washers", |rng: &mut ChaCha8Rng| Box::new(objects::washers(rng))),
        object("gear", |rng: &mut ChaCha8Rng| Box::new(objects::gear(rng))),
        object("capsules", |rng: &mut ChaCha8Rng| Box::new(objects::capsules(rng))),
        object("circuit-board", |rng: &mut ChaCha8Rng| Box::new(objects::circuit_board(rng))),
        object("keypad", |rng: &mut ChaCha8Rng| Box::new(objects::keypad(rng))),
    ]
}

fn boxed<S: super::Surface + 'static>(surface: S) -> Box<dyn Instance> {
    Box::new(Textured(surface))
}
