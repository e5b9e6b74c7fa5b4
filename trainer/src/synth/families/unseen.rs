//! Held-out families: textures from waves, automata, strokes and lattices of stitches, objects from scanned polygons.
//! Nothing of them is drawn by the code of the training families.

use super::{Family, Instance, Textured};

mod automaton;
mod items;
mod piles;
mod polygons;
mod stitches;
mod waves;

use rand_chacha::ChaCha8Rng;

/// Six textures, three objects.
pub(super) fn families() -> Vec<Family> {
    let family = |name, object, directed, build| Family { name, seen: false, object, directed, build };
    vec![
        family("marble", false, false, |rng| Box::new(waves::Marble::new(rng))),
        family("camouflage", false, false, |rng| Box::new(automaton::Camouflage::new(rng))),
        family("felt", false, false, |rng| Box::new(piles::Felt::new(rng))),
        family("pebbles", false, false, |rng| Box::new(piles::Pebbles::new(rng))),
        family("knitwear", false, true, |rng| Box::new(Textured(stitches::Knitwear::new(rng)))),
        family("perforated-sheet", false, true, |rng| Box::new(Textured(stitches::Perforated::new(rng)))),
        family("gauge", true, true, |rng: &mut ChaCha8Rng| Box::new(items::gauge(rng)) as Box<dyn Instance>),
        family("fern", true, true, |rng: &mut ChaCha8Rng| Box::new(items::fern(rng)) as Box<dyn Instance>),
        family("cutlery", true, true, |rng: &mut ChaCha8Rng| {
            Box::new(items::cutlery(rng)) as Box<dyn Instance>
        }),
    ]
}
