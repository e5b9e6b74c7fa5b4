//! From a planned image to pixels: scene, defect, camera.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::axes::{Axis, Severity};
use super::canvas::Canvas;
use super::defects::{Action, Edit, Operator, Scene};
use super::families::{Change, Shot};
use super::nuisance::Nuisance;
use super::plan::{Category, Plan, Planned, Role};

/// Draws of place and shape before the next operator has its turn.
const ATTEMPTS: usize = 6;

/// A drawn image.
pub(crate) struct Drawn {
    /// JPEG file.
    pub(crate) file: Vec<u8>,
    /// What is wrong with it, if anything.
    pub(crate) defect: Option<Defect>,
}

/// What is wrong with an image.
pub(crate) struct Defect {
    pub(crate) operator: Operator,
    pub(crate) severity: Severity,
    pub(crate) strength: f32,
    /// Which pixels are anomalous, row by row.
    pub(crate) mask: Vec<bool>,
}

/// An image before light and camera.
pub(crate) struct Staged {
    pub(crate) nuisance: Nuisance,
    pub(crate) scene: Canvas,
    pub(crate) edit: Option<(Operator, Severity, f32, Edit)>,
}

impl Plan {
    /// Draws an image: a function of the plan's options and the image's place alone.
    pub(crate) fn draw(&self, planned: &Planned) -> Drawn {
        let Staged { nuisance, scene, edit } = self.stage(planned);
        let Some((operator, severity, strength, edit)) = edit else {
            return Drawn { file: nuisance.develop(&scene), defect: None };
        };
        let file = nuisance.develop(&edit.blended(&scene));
        Drawn { file, defect: Some(Defect { operator, severity, strength, mask: edit.mask() }) }
    }

    /// The scene, and the defect that will be in it.
    pub(crate) fn stage(&self, planned: &Planned) -> Staged {
        let category = &self.categories[planned.category];
        let nuisance = self.nuisance(planned);
        let scene = pictured(category, &nuisance.shot, nuisance.hue, None);
        let edit = match planned.role {
            Role::Prompt | Role::NormalQuery => None,
            Role::Anomaly { number, unseen, first, severity } => {
                let site =
                    Site { plan: self, category: planned.category, nuisance: &nuisance, scene: &scene };
                let operators = &category.operators[usize::from(unseen)];
                let place = |operator: &Operator| format!("{}/{number}/{}", place(category), operator.name);
                let strength = |operator: &Operator| {
                    severity.draw(&mut self.seeds.stream(Axis::Severity, &place(operator)))
                };
                let edit = |operator: &Operator, attempt: usize, strength: f32| {
                    let mut rng = self.seeds.stream(Axis::Defect, &format!("{}/{attempt}", place(operator)));
                    site.edit(operator.action, strength, &mut rng)
                };
                let asked = (0..operators.len()).map(|turn| operators[(first + turn) % operators.len()]);
                let visible = asked
                    .flat_map(|operator| (0..ATTEMPTS).map(move |attempt| (operator, attempt)))
                    .find_map(|(operator, attempt)| {
                        let strength = strength(&operator);
                        let edit = edit(&operator, attempt, strength);
                        edit.is_visible(&scene).then_some((operator, severity, strength, edit))
                    });
                // Not met so far: a scene on which no operator leaves a trace gets the strongest one of the first.
                let strongest =
                    || (operators[first], Severity::High, 1.0, edit(&operators[first], ATTEMPTS, 1.0));
                Some(visible.unwrap_or_else(strongest))
            }
        };
        Staged { nuisance, scene, edit }
    }

    fn nuisance(&self, planned: &Planned) -> Nuisance {
        let category = &self.categories[planned.category];
        let place = format!("{}/{}", place(category), planned.nuisance);
        let mut rng = self.seeds.stream(Axis::Nuisance, &place);
        Nuisance::draw(&mut rng, &category.family, category.legal, self.side)
    }
}

/// Where a defect is to be.
struct Site<'a> {
    plan: &'a Plan,
    category: usize,
    nuisance: &'a Nuisance,
    scene: &'a Canvas,
}

impl Site<'_> {
    /// A defect of one operator, visible or not.
    fn edit(&self, action: Action, strength: f32, rng: &mut ChaCha8Rng) -> Edit {
        let Self { plan, category, nuisance, scene } = *self;
        let category = &plan.categories[category];
        match action {
            Action::Surface(paint) | Action::DirectedSurface(paint) => {
                let stranger = rng.random::<u32>() as usize;
                let scene = Scene {
                    canvas: scene,
                    place: &|rng| category.instance.place(&nuisance.shot, rng),
                    foreign: &|| self.stranger(stranger),
                };
                paint(&scene, rng, strength)
            }
            Action::Parts(alteration) => {
                let (which, direction) = (rng.random(), rng.random_range(0.0..std::f32::consts::TAU));
                let change = Change { alteration, which, direction, strength };
                Edit::between(scene, pictured(category, &nuisance.shot, nuisance.hue, Some(&change)))
            }
            Action::Turn => {
                let turned = nuisance.turned(rng, strength);
                Edit::whole(pictured(category, &turned.shot, turned.hue, None))
            }
            Action::Hue => {
                let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
                let angle = sign * (0.5 + 2.3 * strength);
                Edit::whole(in_hue(scene.clone(), angle))
            }
        }
    }

    /// A picture of another family of the same group and set: what is held out shows in nothing that is seen.
    fn stranger(&self, which: usize) -> Canvas {
        let Self { plan, category, nuisance, .. } = *self;
        let own = &plan.categories[category];
        let other = |other: &&Category| {
            other.set == own.set
                && other.family.seen == own.family.seen
                && other.family.name != own.family.name
        };
        let others: Vec<&Category> = plan.categories.iter().filter(other).collect();
        let Some(other) = others.get(which.checked_rem(others.len()).unwrap_or(0)) else {
            // A set of a single family has no other material; another side of its own must do.
            let Shot { side, angle, zoom, detail, offset } = nuisance.shot;
            let shot = Shot { side, angle: angle + 1.0, zoom: zoom * 0.5, detail: !detail, offset };
            return pictured(own, &shot, 2.0, None);
        };
        pictured(other, &nuisance.shot, 0.0, None)
    }
}

/// Names the category's random numbers.
fn place(category: &Category) -> String {
    format!("{}/{}", category.set.folder(), category.name)
}

fn pictured(category: &Category, shot: &Shot, hue: f32, change: Option<&Change>) -> Canvas {
    in_hue(category.instance.render(shot, change), hue)
}

fn in_hue(mut canvas: Canvas, angle: f32) -> Canvas {
    if angle != 0.0 {
        for pixel in &mut canvas.pixels {
            *pixel = pixel.turned(angle);
        }
    }
    canvas
}
