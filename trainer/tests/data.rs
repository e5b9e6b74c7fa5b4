//! Data sets in every layout, and what is said of those that cannot be used.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]

use std::path::Path;

use inctrl_trainer::data::{DataError, Dataset, DatasetSpec, Format, Label, Split, open};
use tempfile::TempDir;

/// Makes empty files: a data set is read by names alone.
fn tree(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        write(folder.path(), file, file);
    }
    folder
}

fn write(folder: &Path, file: &str, content: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn read(format: Format, folder: &TempDir) -> Result<Dataset, DataError> {
    open(&DatasetSpec::new(format, folder.path()))
}

/// Category, split, label, defect, path and mask of each sample, one line each.
fn lines(dataset: &Dataset) -> Vec<String> {
    let line = |sample: &inctrl_trainer::data::Sample| {
        let split = if sample.split == Split::Train { "train" } else { "test" };
        let label = if sample.label == Label::Normal { "normal" } else { "anomalous" };
        let defect = sample.defect.as_deref().unwrap_or("-");
        let mask = sample.mask.as_ref().map_or("-".to_owned(), |mask| dataset.relative(mask));
        format!("{} {split} {label} {defect} {} {mask}", sample.category, dataset.relative(&sample.path))
    };
    dataset.samples.iter().map(line).collect()
}

#[test]
fn the_mvtec_layout_gives_splits_defects_and_masks() {
    let folder = tree(&[
        "cable/test/good/001.PNG",
        "cable/train/good/001.png",
        "cable/train/good/000.jpeg",
        "cable/train/good/.DS_Store",
        "cable/train/good/readme.txt",
        "bottle/train/ok/0.bmp",
        "bottle/test/broken/7.png",
        "bottle/test/broken/8.png",
        "bottle/ground_truth/broken/7_mask.png",
        "licence.txt",
    ]);
    assert_eq!(
        lines(&read(Format::Mvtec, &folder).unwrap()),
        [
            "bottle train normal - bottle/train/ok/0.bmp -",
            "bottle test anomalous broken bottle/test/broken/7.png bottle/ground_truth/broken/7_mask.png",
            "bottle test anomalous broken bottle/test/broken/8.png -",
            "cable train normal - cable/train/good/000.jpeg -",
            "cable train normal - cable/train/good/001.png -",
            "cable test normal - cable/test/good/001.PNG -",
        ]
    );
}

#[test]
fn masks_without_a_suffix_are_found_and_an_image_named_like_a_mask_is_no_riddle() {
    let folder = tree(&[
        "tile/test/ko/a.png",
        "tile/test/ko/b_mask.png",
        "tile/ground_truth/ko/a.png",
        "tile/ground_truth/ko/b_mask_mask.png",
    ]);
    assert_eq!(
        lines(&read(Format::Mvtec, &folder).unwrap()),
        [
            "tile test anomalous ko tile/test/ko/a.png tile/ground_truth/ko/a.png",
            "tile test anomalous ko tile/test/ko/b_mask.png tile/ground_truth/ko/b_mask_mask.png",
        ]
    );
}

#[test]
fn a_mask_without_image_is_named_with_the_image_it_lacks() {
    let folder = tree(&["tile/test/crack/1.png", "tile/ground_truth/crack/2_mask.png"]);
    let DataError::MaskWithoutImage { mask, image } = read(Format::Mvtec, &folder).unwrap_err() else {
        panic!("the mask must be refused")
    };
    assert_eq!(mask, folder.path().join("tile/ground_truth/crack/2_mask.png"));
    assert_eq!(image, folder.path().join("tile/test/crack/2"));
}

#[test]
fn visa_is_read_from_its_split_file() {
    let folder = tree(&["pcb/Data/n.JPG", "pcb/Data/m.JPG", "pcb/Data/a.JPG", "pcb/Masks/a.png"]);
    let rows = "object,split,label,image,mask\n\
                pcb,train,normal,pcb/Data/n.JPG,\n\
                pcb,test,anomaly,pcb/Data/a.JPG,pcb/Masks/a.png\n\
                pcb,test,normal,pcb/Data/m.JPG,\n";
    write(folder.path(), "split_csv/1cls.csv", rows);
    assert_eq!(
        lines(&read(Format::Visa, &folder).unwrap()),
        [
            "pcb train normal - pcb/Data/n.JPG -",
            "pcb test normal - pcb/Data/m.JPG -",
            "pcb test anomalous - pcb/Data/a.JPG pcb/Masks/a.png",
        ]
    );
}

#[test]
fn a_row_with_an_unknown_label_is_named() {
    let folder = tree(&["a.png"]);
    write(folder.path(), "split_csv/1cls.csv", "object,split,label,image,mask\npcb,test,scratched,a.png,\n");
    let refused = read(Format::Visa, &folder).unwrap_err().to_string();
    let expected = "entry 1: label must be normal or anomaly, not \"scratched\"";
    assert!(refused.ends_with(expected), "{refused} must end with {expected}");
}

#[test]
fn visa_without_its_split_file_says_which_file_is_missing() {
    let refused = read(Format::Visa, &tree(&["pcb/Data/Images/Normal/0.JPG"])).unwrap_err();
    assert!(refused.to_string().contains("split_csv/1cls.csv"), "{refused} must name the file");
}

fn listed(folder: &TempDir, lists: &[&str]) -> Result<Dataset, DataError> {
    let lists = lists.iter().map(Into::into).collect();
    open(&DatasetSpec { lists, ..DatasetSpec::new(Format::List, folder.path()) })
}

#[test]
fn a_list_is_of_queries_by_a_word_of_its_name_and_not_by_its_letters() {
    let folder = tree(&["v/0.png", "v/1.png"]);
    let image = |number| format!(r#"[{{"image_path": "v/{number}.png", "target": 0, "type": "valve"}}]"#);
    write(folder.path(), "valve_train.json", &image(0));
    write(folder.path(), "valve-val.json", &image(1));
    assert_eq!(
        lines(&listed(&folder, &["valve_train.json", "valve-val.json"]).unwrap()),
        ["valve train normal - v/0.png -", "valve test normal - v/1.png -"]
    );
}

#[test]
fn the_authors_lists_join_and_validation_lists_give_the_queries() {
    let folder = tree(&["b/0.JPG", "b/1.JPG", "b/2.JPG"]);
    let train = r#"[{"image_path": "b/0.JPG", "target": 0, "type": "belt"},
                    {"image_path": "b/1.JPG", "target": 0, "type": "belt"}]"#;
    write(folder.path(), "belt_normal.json", train);
    let absolute = folder.path().join("b/2.JPG");
    let outliers = format!(r#"[{{"image_path": {absolute:?}, "target": 1, "type": "belt"}}]"#);
    write(folder.path(), "belt_val_outlier.json", &outliers);
    let normals = r#"[{"image_path": "b/1.JPG", "target": 0, "type": "belt"}]"#;
    write(folder.path(), "belt_val_normal.json", normals);
    let lists = ["belt_normal.json", "belt_val_outlier.json", "belt_val_normal.json"];
    assert_eq!(
        lines(&listed(&folder, &lists).unwrap()),
        ["belt train normal - b/0.JPG -", "belt test normal - b/1.JPG -", "belt test anomalous - b/2.JPG -",]
    );
}

#[test]
fn an_image_of_two_labels_is_refused() {
    let folder = tree(&["0.png"]);
    let entries = r#"[{"image_path": "0.png", "target": 0, "type": "belt"},
                      {"image_path": "0.png", "target": 1, "type": "belt"}]"#;
    write(folder.path(), "list.json", entries);
    let refused = listed(&folder, &["list.json"]).unwrap_err().to_string();
    assert!(refused.contains("entry 2") && refused.contains("another target"), "{refused}");
}

#[test]
fn lists_that_are_missing_broken_or_point_nowhere_are_named() {
    let folder = tree(&["0.png"]);
    assert!(matches!(listed(&folder, &[]), Err(DataError::NoLists)));
    assert!(matches!(listed(&folder, &["absent.json"]), Err(DataError::ReadFile { .. })));
    write(folder.path(), "broken.json", r#"[{"image_path": "0.png"}]"#);
    assert!(matches!(listed(&folder, &["broken.json"]), Err(DataError::ParseList { .. })));
    write(folder.path(), "lost.json", r#"[{"image_path": "gone.png", "target": 0, "type": "t"}]"#);
    let refused = listed(&folder, &["lost.json"]).unwrap_err().to_string();
    assert!(refused.contains("gone.png") && refused.contains("entry 1"), "{refused}");
}

#[test]
fn plain_folders_are_one_category_named_like_the_root() {
    let folder = tree(&["bolts/normal/1.png", "bolts/anomalous/1.png", "bolts/masks/1.png"]);
    let dataset = open(&DatasetSpec::new(Format::Folders, folder.path().join("bolts"))).unwrap();
    assert_eq!(
        lines(&dataset),
        ["bolts test normal - normal/1.png -", "bolts test anomalous - anomalous/1.png masks/1.png"]
    );
    assert_eq!(dataset.name, "bolts");
}

#[test]
fn folders_may_hold_categories_and_splits() {
    let folder = tree(&["a/train/good/1.png", "a/test/anomaly/1.png", "b/Normal/1.png", "b/BAD/1.png"]);
    assert_eq!(
        lines(&read(Format::Folders, &folder).unwrap()),
        [
            "a train normal - a/train/good/1.png -",
            "a test anomalous - a/test/anomaly/1.png -",
            "b test normal - b/Normal/1.png -",
            "b test anomalous - b/BAD/1.png -",
        ]
    );
}

#[test]
fn class_folders_are_normal_throughout() {
    let folder = tree(&["train/seven/1.png", "test/seven/2.png", "test/eight/3.png"]);
    assert_eq!(
        lines(&read(Format::Classes, &folder).unwrap()),
        [
            "eight test normal - test/eight/3.png -",
            "seven train normal - train/seven/1.png -",
            "seven test normal - test/seven/2.png -",
        ]
    );
}

#[test]
fn categories_can_be_chosen_and_an_unknown_one_is_named_beside_the_known() {
    let folder = tree(&["a/train/good/1.png", "b/train/good/1.png"]);
    let choose = |category: &str| {
        let categories = vec![category.to_owned()];
        open(&DatasetSpec { categories, ..DatasetSpec::new(Format::Mvtec, folder.path()) })
    };
    assert_eq!(lines(&choose("b").unwrap()), ["b train normal - b/train/good/1.png -"]);
    assert_eq!(choose("c").unwrap_err().to_string(), "the data set has no category \"c\"; it has a, b");
}

#[test]
fn a_missing_folder_and_an_empty_one_say_what_to_do() {
    let missing = open(&DatasetSpec::new(Format::Mvtec, "/no/such/folder")).unwrap_err();
    assert!(missing.to_string().contains("/no/such/folder"), "{missing}");
    let empty = read(Format::Mvtec, &tree(&["pictures/1.png"])).unwrap_err();
    assert!(matches!(empty, DataError::Empty { .. }), "{empty:?}");
    assert!(empty.to_string().contains("<category>/train/good"), "{empty}");
}

#[test]
fn a_data_set_without_anomalies_or_with_too_few_normals_is_refused() {
    let dataset =
        read(Format::Mvtec, &tree(&["a/train/good/1.png", "a/test/good/2.png", "b/test/good/1.png"]))
            .unwrap();
    assert!(matches!(dataset.require_anomalies(), Err(DataError::NoAnomalies { .. })));
    assert!(dataset.require_normals(1).is_ok());
    let refused = dataset.require_normals(2).unwrap_err().to_string();
    assert!(refused.starts_with("category \"b\"") && refused.contains("1 normal images"), "{refused}");
}

#[test]
fn the_fingerprint_follows_content_and_names_but_not_the_place() {
    let files = ["a/train/good/1.png", "a/test/bad/1.png", "a/ground_truth/bad/1_mask.png"];
    let (one, other) = (tree(&files), tree(&files));
    let fingerprint = |folder: &TempDir| read(Format::Mvtec, folder).unwrap().fingerprint().unwrap();
    let before = fingerprint(&one);
    assert_eq!(before, fingerprint(&other));
    write(other.path(), "a/ground_truth/bad/1_mask.png", "another mask");
    assert_ne!(before, fingerprint(&other));
    std::fs::rename(one.path().join("a/train/good/1.png"), one.path().join("a/train/good/2.png")).unwrap();
    assert_ne!(before, fingerprint(&one));
}

#[test]
fn an_unknown_key_of_a_data_set_is_named() {
    let text = "format: mvtec\npath: /data\ncategorys: [a]\n";
    let refused = serde_yaml::from_str::<DatasetSpec>(text).unwrap_err().to_string();
    assert!(refused.contains("categorys") && refused.contains("categories"), "{refused}");
}
