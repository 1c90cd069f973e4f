//! Sources as they are written, dealt out to models of one and several inputs.

use super::*;

fn input(name: &str, ty: TensorType, dimensions: &[Option<u32>]) -> TensorDescription {
    let symbols = vec![None; dimensions.len()];
    TensorDescription { name: name.into(), ty, dimensions: dimensions.to_vec(), symbols }
}

fn tokens() -> [TensorDescription; 2] {
    [input("ids", TensorType::I64, &[Some(1), None]), input("mask", TensorType::I64, &[Some(1), None])]
}

fn args(inputs: &[String]) -> InputArgs {
    InputArgs { inputs: inputs.to_vec(), ..InputArgs::default() }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn error(args: &InputArgs, inputs: &[TensorDescription]) -> String {
    cases(args, inputs).unwrap_err().to_string()
}

#[test]
fn the_only_input_needs_no_name() {
    let folder = Folder::new();
    let x = [input("x", TensorType::FP32, &[Some(1), Some(2)])];
    let json = folder.file("a.json", b"[[0.5, 2]]");
    let cases = cases(&args(std::slice::from_ref(&json)), &x).unwrap();
    assert_eq!(cases[0].label, "a.json");
    assert_eq!(cases[0].inputs, [("x".to_owned(), Tensor::from_f32(vec![1, 2], &[0.5, 2.0]))]);
    let named = args(&[format!("x={json}")]);
    assert_eq!(super::cases(&named, &x).unwrap()[0].inputs, cases[0].inputs);
}

#[test]
fn several_inputs_want_names_and_all_of_them() {
    let folder = Folder::new();
    let ids = folder.file("i.json", b"[[1, 2, 3]]");
    assert!(error(&args(std::slice::from_ref(&ids)), &tokens()).contains("does not say for which input"));
    let one = args(&[format!("ids={ids}")]);
    assert_eq!(error(&one, &tokens()), "the model also wants mask (I64 [1, ?])");
    let wrong = args(&[format!("idx={ids}")]);
    assert_eq!(error(&wrong, &tokens()), "the model has no input named \"idx\"");
    let both = args(&[format!("ids={ids}"), "mask=random:1".to_owned()]);
    let case = &cases(&both, &tokens()).unwrap()[0];
    assert_eq!(
        case.inputs.iter().map(|(n, t)| (n.as_str(), &t.dimensions[..])).collect::<Vec<_>>(),
        [("ids", &[1, 3][..]), ("mask", &[1, 1][..])]
    );
}

#[test]
fn a_shape_fixes_dynamic_axes() {
    let random = InputArgs {
        inputs: vec!["random:1".into()],
        shapes: vec!["ids=1x16".into(), "mask=[1, 8]".into()],
        ..InputArgs::default()
    };
    let case = &cases(&random, &tokens()).unwrap()[0];
    assert_eq!(case.inputs[0].1.dimensions, [1, 16]);
    assert_eq!(case.inputs[1].1.dimensions, [1, 8]);
    for (shape, why) in [
        ("1x16", "of which input"),
        ("ids=2x16", "takes ids (I64 [1, ?])"),
        ("ids=1xa", "not a shape"),
        ("ids=", "not a shape"),
    ] {
        let wrong = InputArgs { shapes: vec![shape.into()], ..random.clone() };
        assert!(error(&wrong, &tokens()).contains(why), "{shape}: {}", error(&wrong, &tokens()));
    }
}

#[test]
fn several_sources_are_several_cases() {
    let folder = Folder::new();
    let a = folder.file("a.json", b"[[1, 2]]");
    let b = folder.file("b.json", b"[[3, 4]]");
    let all = args(&[format!("ids={a}"), format!("ids={b}"), "mask=random:0".to_owned()]);
    let two = cases(&all, &tokens()).unwrap();
    assert_eq!(two.iter().map(|c| c.label.as_str()).collect::<Vec<_>>(), ["a.json", "b.json"]);
    assert_eq!(two[0].inputs[1], two[1].inputs[1]);
    let uneven = args(
        &["ids=random:1", "ids=random:2", "ids=random:3", "mask=random:1", "mask=random:2"].map(String::from),
    );
    assert!(error(&uneven, &tokens()).contains("mask has 2 sources where another has 3"));
}

#[test]
fn raw_bytes_are_elements() {
    let folder = Folder::new();
    let raw = folder.file("x.bin", &[1u32.to_le_bytes(), 2u32.to_le_bytes()].concat());
    let x = [input("x", TensorType::U32, &[Some(2), None])];
    assert_eq!(cases(&args(std::slice::from_ref(&raw)), &x).unwrap()[0].inputs[0].1.dimensions, [2, 1]);
    let y = [input("y", TensorType::I64, &[Some(2)])];
    assert_eq!(
        error(&args(std::slice::from_ref(&raw)), &y),
        "x.bin does not fit input y (I64 [2]): the model wants [2], the file holds [1]"
    );
    let odd = folder.file("odd.bin", &[0; 7]);
    assert!(error(&args(&[odd]), &y).contains("7 bytes are no whole number of I64 elements of 8"));
}

#[test]
fn a_source_that_is_none_is_said_before_anything_runs() {
    let folder = Folder::new();
    let text = folder.file("notes.txt", b"");
    let empty = folder.0.path().to_str().unwrap().to_owned();
    for (source, why) in [
        ("/nowhere/a.png", "there is no file /nowhere/a.png"),
        ("x=/nowhere/a.npz:k", "there is no file /nowhere/a.npz"),
        ("random:-1", "the seed is a whole number"),
        (text.as_str(), "cannot be told by its name"),
        (empty.as_str(), "has no .png or .jpg in it"),
    ] {
        let error = check_files(&args(&[source.to_owned()])).unwrap_err().to_string();
        assert!(error.contains(why), "{source}: {error}");
    }
}

#[test]
fn an_npz_fills_every_input_by_its_name() {
    let folder = Folder::new();
    let path = folder.0.path().join("t.npz");
    let mut npz = ndarray_npy::NpzWriter::new(std::fs::File::create(&path).unwrap());
    npz.add_array("ids", &ndarray::array![[5i32, 6]]).unwrap();
    npz.add_array("mask", &ndarray::array![[true, false]]).unwrap();
    npz.finish().unwrap();
    let path = path.to_str().unwrap().to_owned();
    let case = &cases(&args(std::slice::from_ref(&path)), &tokens()).unwrap()[0];
    assert_eq!(elements::numbers(&case.inputs[0].1), [5, 6].map(elements::Number::Int));
    assert_eq!(elements::numbers(&case.inputs[1].1), [1, 0].map(elements::Number::Int));
    let x = [input("x", TensorType::I32, &[None])];
    let keyed = args(&[format!("x={path}:mask")]);
    assert_eq!(cases(&keyed, &x).unwrap()[0].inputs[0].1.dimensions, [2]);
    assert!(error(&args(&[path]), &x).contains("it has no array \"x\"; it has ids, mask"));
}

#[test]
fn a_picture_that_is_none_is_named() {
    let folder = Folder::new();
    let fake = folder.file("fake.png", b"not a picture");
    let image = [input("image", TensorType::FP32, &[Some(1), Some(1), Some(8), Some(8)])];
    let error = error(&args(&[fake]), &image);
    assert!(error.starts_with("fake.png does not fit input image (FP32 [1, 1, 8, 8]): "), "{error}");
}
