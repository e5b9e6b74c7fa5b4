//! Text prompts: the sentences, normal and anomalous, that the text score compares an image with.
//!
//! Seven normal and four anomalous states of an object times 22 templates, as WinCLIP and the authors have them.
//! Eleven object names (the classes of CIFAR-10 and "animal") have one sentence of each kind instead.

/// States of a normal object.
const NORMAL_STATES: [&str; 7] = [
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
];

/// States of an anomalous object.
const ANOMALOUS_STATES: [&str; 4] = ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"];

/// Sentences about a state.
const TEMPLATES: [&str; 22] = [
    "a cropped photo of the {}.",
    "a cropped photo of a {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of a {}.",
    "a dark photo of the {}.",
    "a jpeg corrupted photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a blurry photo of the {}.",
    "a blurry photo of a {}.",
    "a photo of the {}.",
    "a photo of a {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of a {} for visual inspection.",
    "a photo of the {} for visual inspection.",
    "a photo of a {} for anomaly detection.",
    "a photo of the {} for anomaly detection.",
];

/// Names that stand for a semantic class, not for an object with defects.
const SEMANTIC_CLASSES: [&str; 11] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck", "animal"];

/// The text prompts of one object name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPrompts {
    /// Sentences about a normal object.
    pub normal: Vec<String>,
    /// Sentences about an anomalous one.
    pub anomalous: Vec<String>,
}

impl TextPrompts {
    /// The sentences about `object`; underscores in the name are spaces. 154 normal and 88 anomalous ones, or one
    /// each for a semantic class (matched exactly).
    pub fn of(object: &str) -> Self {
        let object = object.replace('_', " ");
        if SEMANTIC_CLASSES.contains(&object.as_str()) {
            return Self {
                normal: vec![format!("a photo of {object} for anomaly detection.")],
                anomalous: vec![format!("a photo without {object} for anomaly detection.")],
            };
        }
        let sentences = |states: &[&str]| {
            let states = states.iter().map(|state| state.replace("{}", &object));
            states.flat_map(|state| TEMPLATES.map(|template| template.replace("{}", &state))).collect()
        };
        Self { normal: sentences(&NORMAL_STATES), anomalous: sentences(&ANOMALOUS_STATES) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_object_has_154_normal_and_88_anomalous_sentences() {
        let prompts = TextPrompts::of("metal_nut");
        assert_eq!((prompts.normal.len(), prompts.anomalous.len()), (154, 88));
        let distinct: HashSet<&String> = prompts.normal.iter().chain(&prompts.anomalous).collect();
        assert_eq!(distinct.len(), 242, "no sentence may stand twice");
        assert!(prompts.normal.contains(&"a jpeg corrupted photo of a metal nut without defect.".to_owned()));
        assert!(
            prompts.anomalous.contains(&"a photo of the damaged metal nut for visual inspection.".to_owned())
        );
    }

    #[test]
    fn a_semantic_class_has_one_sentence_each_and_only_when_spelt_exactly() {
        let prompts = TextPrompts::of("airplane");
        assert_eq!(prompts.normal, ["a photo of airplane for anomaly detection."]);
        assert_eq!(prompts.anomalous, ["a photo without airplane for anomaly detection."]);
        assert_eq!(TextPrompts::of("Airplane").normal.len(), 154);
    }

    #[test]
    fn braces_in_a_name_are_taken_literally() {
        assert!(TextPrompts::of("{}").normal.contains(&"a photo of a {}.".to_owned()));
    }
}
