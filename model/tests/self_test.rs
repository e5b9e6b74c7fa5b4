//! Self-tests of heads: kept as the backbone saw the images, read back as written, anything else refused.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

use std::collections::HashMap;

use inctrl_model::{DecodedImage, Pixels, Preprocess, SelfTest, SelfTestError};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn image(seed: u32, size: u32) -> Pixels {
    let rgb = (0..3 * size * size).map(|at| (at.wrapping_mul(31).wrapping_add(seed * 7919) % 256) as u8);
    Preprocess::clip(size).apply(&DecodedImage::from_rgb(size, size, rgb.collect()).unwrap())
}

#[test]
fn what_is_kept_shows_the_backbone_what_it_saw() {
    let preprocess = Preprocess::clip(20);
    let (prompt, query) = (image(1, 20), image(2, 20));
    let test =
        SelfTest::new("bolt", &preprocess, std::slice::from_ref(&prompt), std::slice::from_ref(&query));
    let (prompts, queries) = test.images(&preprocess).unwrap();
    assert_eq!((&prompts[0].values, &queries[0].values), (&prompt.values, &query.values));
    let refused = test.images(&Preprocess::clip(21));
    assert!(matches!(refused, Err(SelfTestError::OtherSize { expected: 21, actual: 20 })), "{refused:?}");
}

#[test]
fn a_file_reads_back_and_equal_inputs_have_equal_bytes() {
    let images = [1, 2].map(|seed| image(seed, 12));
    let test = SelfTest::new("bolt", &Preprocess::clip(12), &images, &images[1..]);
    assert_eq!(SelfTest::from_bytes(&test.to_bytes()).unwrap(), test);
    assert_eq!(test.to_bytes(), test.to_bytes());
}

#[test]
fn other_files_are_refused_with_what_is_wrong() {
    let test = SelfTest::new("bolt", &Preprocess::clip(12), &[image(1, 12)], &[image(2, 12)]);
    let bytes = test.to_bytes();
    for other in [&bytes[..bytes.len() - 1], b"", b"{}"] {
        let refused = SelfTest::from_bytes(other);
        assert!(matches!(refused, Err(SelfTestError::Malformed { .. })), "{refused:?}");
    }
    let square = [0; 12];
    let view = |shape: &[usize]| TensorView::new(Dtype::U8, shape.to_vec(), &square).unwrap();
    for (queries, version, expected) in [
        (view(&[1, 4, 3]), 1, "\"queries\" is [1, 4, 3]"),
        (view(&[1, 2, 2, 3]), 9, "format 9, this program reads 1"),
    ] {
        let json = format!(r#"{{"format_version":{version},"object":"bolt"}}"#);
        let metadata = HashMap::from([("inctrl.self-test".to_owned(), json)]);
        let bytes = [("prompts", view(&[1, 2, 2, 3])), ("queries", queries)];
        let bytes = safetensors::serialize(bytes, Some(metadata)).unwrap();
        let refused = SelfTest::from_bytes(&bytes).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}
