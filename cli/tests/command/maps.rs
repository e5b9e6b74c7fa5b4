//! Anomaly maps as files.

use std::path::Path;

use image::{Rgb, RgbImage};

use crate::fake::Fake;
use crate::inctrl::{Images, run_on};

fn photograph(path: &Path, width: u32, height: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb([90, 120, 150])).save(path).unwrap();
}

#[test]
fn each_image_gets_its_map_even_with_equal_names() {
    let (fake, images) = (Fake::start(), Images::new(&[]));
    photograph(&images.path("in/good/1.png"), 16, 16);
    photograph(&images.path("in/bad/1.png"), 24, 16);
    let (input, maps) = (images.text("in"), images.text("maps"));
    let score = ["score", &input, "--prompts", "nut", "--format", "json", "--maps", &maps];
    let done = run_on(&fake, &score);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let size = |name: &str| image::open(images.path(name)).unwrap().into_rgb8().dimensions();
    assert_eq!(size("maps/good/1.png.map.png"), (16, 16));
    assert_eq!(size("maps/bad/1.png.map.png"), (24, 16));
    let row: serde_json::Value = serde_json::from_str(done.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(row["map"], images.text("maps/bad/1.png.map.png"));

    let picture = image::open(images.path("maps/bad/1.png.map.png")).unwrap().into_rgb8();
    let [red, _, blue] = picture.get_pixel(14, 14).0;
    assert!(blue < red, "the anomalous corner must glow");
    assert_eq!(picture.get_pixel(20, 8).0, [31, 42, 52], "what was not examined is darkened, not coloured");
}

#[test]
fn side_by_side_shows_the_image_too() {
    let (fake, images) = (Fake::start(), Images::new(&[]));
    photograph(&images.path("1.png"), 16, 16);
    let (image, maps) = (images.text("1.png"), images.text("maps"));
    let done = run_on(&fake, &["score", &image, "--prompts", "nut", "--maps", &maps, "--side-by-side"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let picture = image::open(images.path("maps/1.png.map.png")).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (40, 16));
    assert_eq!(picture.get_pixel(8, 8).0, [90, 120, 150]);
}

#[test]
fn maps_below_their_own_input_are_not_scored_again() {
    let (fake, images) = (Fake::start(), Images::new(&[]));
    photograph(&images.path("1.png"), 16, 16);
    let (input, maps) = (images.text(""), images.text("maps"));
    for _ in 0..2 {
        let done = run_on(&fake, &["score", &input, "--prompts", "nut", "--maps", &maps]);
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
    assert_eq!(fake.asked(), 2);
}

#[test]
fn a_folder_that_takes_no_maps_is_refused_before_scoring() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "0.5"), ("occupied", "")]));
    let (image, maps) = (images.text("1.png"), images.text("occupied"));
    let done = run_on(&fake, &["score", &image, "--prompts", "nut", "--maps", &maps]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("maps cannot be written to folder"), "{}", done.stderr);
    assert_eq!(fake.asked(), 0);
}

#[test]
fn an_image_that_cannot_be_drawn_keeps_its_score() {
    let (fake, images) = (Fake::start(), Images::new(&[("1.png", "0.75")]));
    let (image, maps) = (images.text("1.png"), images.text("maps"));
    let done = run_on(&fake, &["score", &image, "--prompts", "nut", "--maps", &maps, "--format", "json"]);
    assert_eq!(done.code, 1);
    let row: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&row["score"], &row["map"]), (&serde_json::json!(0.75), &serde_json::Value::Null));
    assert!(row["error"].as_str().unwrap().contains("cannot be drawn"), "{row}");
}
