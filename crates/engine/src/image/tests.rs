//! A graph read from its image is the graph that was written.

use std::path::Path;

use ic_nn_types::{GraphEncoding, NamedTensor};

use super::*;
use crate::fixture;

fn drawn(bytes: Vec<u8>, precision: Precision) -> (Graph, Option<Drawing>) {
    load(bytes, precision).unwrap()
}

fn load(bytes: Vec<u8>, precision: Precision) -> Result<(Graph, Option<Drawing>), ModelError> {
    Graph::load_drawn(GraphEncoding::Onnx, vec![bytes], precision, &Limits::WASM32)
}

fn bytes(drawing: &Drawing) -> Option<Vec<u8>> {
    drawing.image().map(|image| {
        let bytes = |piece: Array<'_>| match piece {
            Array::Here(bytes) => bytes.to_vec(),
            Array::Far(..) => panic!("it is in the heap"),
        };
        image.pieces().flat_map(bytes).collect()
    })
}

fn read(image: &[u8]) -> Result<Graph, ImageError> {
    let header = image.first_chunk().ok_or(ImageError::Foreign)?;
    let (head, _) = parts(header)?;
    let rest = &image[HEADER_BYTES..];
    let (head, mut arrays) = rest.split_at((head as usize).min(rest.len()));
    Graph::from_image(head, &mut arrays, &Limits::WASM32)
}

/// Inputs of the graph's shapes.
fn inputs(graph: &Graph) -> Vec<NamedTensor> {
    let inputs = graph.description().inputs.iter();
    inputs.map(|input| (input.name.clone(), fixture::varied(input))).collect()
}

fn run(graph: &mut Graph) -> Vec<NamedTensor> {
    let arranged = graph.arrange(inputs(graph), &Limits::WASM32).unwrap();
    graph.run(&arranged, &Limits::WASM32).unwrap()
}

/// What has no image yet: tract's resizing, and its lookup of labels, whose fields it does not show.
const WITHOUT: [&str; 11] = [
    "pca-logistic",
    "upsampling",
    "segmentation-dynamo",
    "segmentation-torchscript",
    "columns",
    "imputed",
    "linear-svc",
    "logistic-binary",
    "logistic",
    "neighbours",
    "normalized",
];

/// Names of the operators that have no image, those of graphs within among them.
fn lacking(model: &TypedModel) -> Vec<String> {
    use ic_nn_kernels::image::Writer;
    use tract_onnx::tract_core::ops::scan::Scan;
    let nodes = model.nodes().iter();
    nodes
        .flat_map(|node| match node.op_as::<Scan>() {
            Some(scan) => lacking(&scan.body),
            None if ops::write(node.op.as_ref(), &mut Writer::default(), false).is_none() => {
                vec![format!("{:?}", node.op)]
            }
            None => vec![],
        })
        .collect()
}

/// Of the exporters' models and digits all of fixed shapes answer the same from their images, bit by bit: products of bytes and of weights by
/// blocks, trees and vectors, sequences and transposed convolutions among them.
#[test]
fn graphs_come_back() {
    let (mut with, mut without) = (0, vec![]);
    for file in fixture::models() {
        for precision in [Precision::F32, Precision::Int8, Precision::Int16] {
            // Two of them are there to be refused.
            let Ok((mut graph, drawing)) = load(std::fs::read(&file).unwrap(), precision) else { continue };
            let Some(drawing) = drawing else { continue };
            let name = file.display();
            let Some(image) = bytes(&drawing) else {
                let name = file.file_stem().unwrap().to_string_lossy().into_owned();
                if !WITHOUT.contains(&name.as_str()) {
                    without.push((name, lacking(&drawing.model)));
                }
                continue;
            };
            with += 1;
            let mut back = read(&image).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(back.description(), graph.description(), "{name}");
            assert_eq!(back.load_cost(), graph.load_cost(), "{name}");
            assert_eq!(run(&mut back), run(&mut graph), "{name} {precision:?}");
            // What is cut off is refused, and so is what is longer.
            assert!(matches!(read(&image[..image.len() - 1]), Err(ImageError::Broken(_))), "{name}");
            assert!(matches!(read(&[&image[..], &[0]].concat()), Err(ImageError::Broken(_))), "{name}");
        }
    }
    assert!(without.is_empty() && with > 100, "{with} have an image, none have {without:#?}");
}

#[test]
fn what_another_engine_made_is_foreign() {
    let (_, drawing) =
        drawn(std::fs::read(fixture::repository("models/digits.onnx")).unwrap(), Precision::F32);
    let image = bytes(&drawing.unwrap()).unwrap();
    for at in 0..20usize {
        let mut other = image.clone();
        other[at] ^= 1;
        assert!(matches!(read(&other), Err(ImageError::Foreign)), "byte {at}");
    }
    assert!(matches!(read(b"ic-nn"), Err(ImageError::Foreign)));
}

#[test]
fn an_image_is_admitted() {
    let (_, drawing) =
        drawn(std::fs::read(fixture::repository("models/digits.onnx")).unwrap(), Precision::F32);
    let image = bytes(&drawing.unwrap()).unwrap();
    let (head, _) = parts(image.first_chunk().unwrap()).unwrap();
    let (head, mut arrays) = image[HEADER_BYTES..].split_at(head as usize);
    let limits = Limits { available_bytes: 1000 };
    let refused = Graph::from_image(head, &mut arrays, &limits);
    assert!(matches!(refused, Err(ImageError::Model(ModelError::TooLarge { .. }))));
}

/// The layout, byte by byte: `golden.bin` is the image of a small model, without what says who made it. Where the layout is
/// changed on purpose, `LAYOUT` changes with it, and `IC_NN_BLESS=1 cargo test --workspace --lib golden` writes the file.
#[test]
fn the_layout_is_golden() {
    let file = fixture::repository("tests/fixtures/exporters/keras/dense.onnx");
    let (_, drawing) = drawn(std::fs::read(file).unwrap(), Precision::F32);
    let mut image = bytes(&drawing.unwrap()).unwrap();
    image[12..20].fill(0);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/image/golden.bin");
    if std::env::var_os("IC_NN_BLESS").is_some() {
        std::fs::write(&golden, &image).unwrap();
    }
    assert_eq!(image, std::fs::read(golden).unwrap_or_default(), "the layout has changed");
}
