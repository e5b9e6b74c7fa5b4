//! Text features by object class: encoded once, step by step, and kept for every prompt set of the class.

use std::num::NonZeroUsize;

use inctrl_model::{Backbone, BackboneError, ObjectText};
use lru::LruCache;
use tch::Tensor;

/// Object classes whose text features are kept; those of one class are 5 kB.
const MOST_CLASSES: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");

/// Text features of the object classes that were asked for last.
pub(super) struct Texts {
    by_class: LruCache<String, Text>,
}

enum Text {
    Begun(ObjectText),
    Done(Tensor),
}

impl Default for Texts {
    fn default() -> Self {
        Self { by_class: LruCache::new(MOST_CLASSES) }
    }
}

impl Texts {
    /// Goes on with the text prompts of a class; true once all are encoded, and always without a text tower. Callers
    /// with the same class share the work.
    pub(super) fn advance(&mut self, backbone: &Backbone, object_class: &str) -> Result<bool, BackboneError> {
        if let Some(text) = self.by_class.get_mut(object_class) {
            if let Text::Begun(begun) = text {
                let Some(features) = begun.advance(backbone)? else { return Ok(false) };
                *text = Text::Done(features);
            }
            return Ok(true);
        }
        let Some(begun) = backbone.begin_object(object_class) else { return Ok(true) };
        self.by_class.put(object_class.to_owned(), Text::Begun(begun));
        Ok(false)
    }

    /// The features `[2, D]` of a class, where all of its text prompts are encoded.
    pub(super) fn get(&mut self, object_class: &str) -> Option<Tensor> {
        match self.by_class.get(object_class)? {
            Text::Done(features) => Some(features.shallow_clone()),
            Text::Begun(_) => None,
        }
    }
}
