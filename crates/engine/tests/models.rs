//! Real models through the native engine: the committed digit classifier, and MobileNetV2 where it was generated.

use ic_nn_engine::{Graph, Limits, Trial};
use ic_nn_types::{Tensor, TensorType};

fn repository(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn digits() -> Graph {
    Graph::load(std::fs::read(repository("models/digits.onnx")).unwrap(), &Limits::default()).unwrap()
}

#[test]
fn digits_are_described() {
    let graph = digits();
    let d = graph.description();
    assert_eq!(d.inputs.len(), 1);
    assert_eq!(d.inputs[0].name, "image");
    assert_eq!(d.wire_inputs()[0].dimensions, [None, Some(1), Some(8), Some(8)]);
    assert_eq!(d.outputs[0].name, "probabilities");
    assert_eq!(d.outputs[0].ty, TensorType::FP32);
    assert_eq!(d.outputs[0].dimensions, [None, Some(10)]);
    assert_eq!(d.parameters, 15_338);
    assert_eq!(graph.load_cost().unwrap().macs, 452_864);
}

#[test]
fn a_batch_answers_as_its_members_do() {
    let mut graph = digits();
    assert!(matches!(graph.trial(&Limits::default()), Trial::Ran { .. }));
    let pixels: Vec<f32> = (0..3 * 64).map(|i| (i % 17) as f32 / 16.0).collect();
    let limits = Limits::default();
    let batch =
        graph.infer(vec![("image".into(), Tensor::from_f32(vec![3, 1, 8, 8], &pixels))], &limits).unwrap();
    let batch = batch[0].1.to_f32().unwrap();
    for (ix, image) in pixels.chunks(64).enumerate() {
        let one =
            graph.infer(vec![("0".into(), Tensor::from_f32(vec![1, 1, 8, 8], image))], &limits).unwrap();
        assert_eq!(one[0].1.dimensions, [1, 10]);
        for (a, b) in one[0].1.to_f32().unwrap().iter().zip(&batch[ix * 10..]) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
