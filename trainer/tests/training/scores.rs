//! A head scores in the server as it did in training.

use std::collections::BTreeMap;
use std::path::PathBuf;

use approx::assert_abs_diff_eq;
use inctrl_model::{
    Backbone, Device, Head, HeadKind, HeadMetadata, ImageLimits, Pixels, Precision, PromptFeatures, Residuals,
};
use inctrl_trainer::episodes::Query;
use inctrl_trainer::features::{FeatureCache, View};
use inctrl_trainer::loss::Sigmoids;
use inctrl_trainer::train::batch::Batches;
use inctrl_trainer::train::learner::Learner;

use crate::fixture::fixture;

/// Largest difference of a score: cosines of the cache and of the bank are other sums of the same products.
const TOLERANCE: f32 = 1e-5;

fn pixels(backbone: &Backbone, path: &PathBuf) -> Pixels {
    let limits = ImageLimits { max_bytes: 1 << 20, max_pixels: 1 << 20 };
    backbone.info().preprocess.load(&std::fs::read(path).unwrap(), &limits).unwrap()
}

#[test]
fn scores_of_training_and_of_a_loaded_head_agree_for_every_number_of_shots() {
    let fixture = fixture();
    let backbone = Backbone::open(fixture.backbone(), Device::Cpu, Precision::Fp32).unwrap();
    let good = |image: usize| fixture.data().join(format!("tiles/train/good/{image}.png"));
    let mut paths: Vec<PathBuf> = (0..4).map(good).collect();
    paths.push(fixture.data().join("tiles/test/hole/0.png"));
    let cache = FeatureCache::open(fixture.cache(), &backbone).unwrap();
    let plain = cache.extract(&paths, View::Plain).unwrap();
    let features = plain.chain(cache.extract(&paths[..1], View::Mirrored).unwrap());
    for kind in [HeadKind::Paper, HeadKind::Contextual] {
        let metadata = HeadMetadata::new(kind, backbone.info().clone());
        let learner = Learner::new(&metadata, Sigmoids::Single, 5);
        let head = Head::from_tensors(&metadata, learner.snapshot(), Device::Cpu).unwrap();
        for shots in [1, 2, 4] {
            let text = vec![backbone.encode_object("tiles").unwrap().unwrap()];
            let mirrored = BTreeMap::from([(0, 5)]);
            let mut batches = Batches::new(&metadata, &features, 0..4, mirrored, Some(text)).unwrap();
            let query = Query { image: 4, class: 0, prompts: (0..shots).collect(), anomalous: true };
            let in_training = learner.outcome(&batches.batch(&[query]).unwrap(), false);

            let shown: Vec<Pixels> = paths.iter().map(|path| pixels(&backbone, path)).collect();
            let normals: Vec<&Pixels> = shown[..shots].iter().collect();
            let prompts = PromptFeatures::encode(&backbone, &normals, "tiles").unwrap();
            let query = backbone.encode_images(&backbone.stack(&[&shown[4]]).unwrap()).unwrap();
            let served = head.score(&Residuals::new(&query, &prompts), &prompts).unwrap();
            let in_training = f32::try_from(in_training.scores.squeeze()).unwrap();
            assert_abs_diff_eq!(served[0].score, in_training, epsilon = TOLERANCE);
        }
    }
}
