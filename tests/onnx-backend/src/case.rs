//! A case as the exporter writes it: a model, data sets of named tensors, tolerances.

use std::fs;
use std::path::{Path, PathBuf};

use ic_nn_types::{NamedTensor, Tensor, TensorType};
use serde::Deserialize;

/// One case. The model and the data are read when they are asked for.
#[derive(Clone, Debug)]
pub struct Case {
    /// As the package calls it: `test_add_bcast`.
    pub name: String,
    /// `node`, `simple`, `pytorch-operator`, `pytorch-converted` or `light`.
    pub kind: String,
    /// What it is about: an operator with its domain, or the case's own name where it is about a model.
    pub operator: String,
    /// What of its interface is no tensor of plain numbers (`sequence`, `string`, `float8e5m2` …); such a case has
    /// no data.
    pub beyond: Option<String>,
    pub(crate) rtol: f64,
    pub(crate) atol: f64,
    sets: Vec<SetEntry>,
    folder: PathBuf,
}

/// Inputs, and the outputs that are expected of them, in the graph's order.
pub struct DataSet {
    /// What goes in.
    pub inputs: Vec<NamedTensor>,
    /// What has to come out.
    pub outputs: Vec<NamedTensor>,
}

#[derive(Deserialize)]
struct CaseEntry {
    name: String,
    kind: String,
    operator: String,
    rtol: f64,
    atol: f64,
    beyond: Option<String>,
    sets: Vec<SetEntry>,
}

#[derive(Clone, Debug, Deserialize)]
struct SetEntry {
    inputs: Vec<TensorEntry>,
    outputs: Vec<TensorEntry>,
}

#[derive(Clone, Debug, Deserialize)]
struct TensorEntry {
    name: String,
    #[serde(rename = "type")]
    element: i32,
    dims: Vec<u32>,
    offset: usize,
    bytes: usize,
}

impl Case {
    /// `node/test_add_bcast`
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The ONNX file.
    pub fn model(&self) -> Vec<u8> {
        read(&self.folder.join("model.onnx"))
    }

    /// The data sets; none where the case is [`beyond`](Case::beyond) tensors.
    pub fn data_sets(&self) -> Vec<DataSet> {
        let data = read(&self.folder.join("data.bin"));
        let tensors = |entries: &[TensorEntry]| entries.iter().map(|e| e.tensor(&data)).collect();
        self.sets
            .iter()
            .map(|set| DataSet { inputs: tensors(&set.inputs), outputs: tensors(&set.outputs) })
            .collect()
    }
}

impl TensorEntry {
    fn tensor(&self, data: &[u8]) -> NamedTensor {
        let tensor = Tensor {
            dimensions: self.dims.clone(),
            ty: wire_type(self.element),
            data: data[self.offset..self.offset + self.bytes].to_vec(),
        };
        (self.name.clone(), tensor)
    }
}

/// The wire's type of `TensorProto.DataType`; the exporter writes no data of others.
fn wire_type(element: i32) -> TensorType {
    match element {
        1 => TensorType::FP32,
        2 => TensorType::U8,
        3 => TensorType::I8,
        4 => TensorType::U16,
        5 => TensorType::I16,
        6 => TensorType::I32,
        7 => TensorType::I64,
        9 => TensorType::BOOL,
        10 => TensorType::FP16,
        11 => TensorType::FP64,
        12 => TensorType::U32,
        13 => TensorType::U64,
        16 => TensorType::BF16,
        other => panic!("the exporter wrote data of element type {other}; export the cases again"),
    }
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_else(|e| panic!("{}: {e}; export the cases again", file.display()))
}

/// The exported cases by kind and name; `None` where there are none, which is told to stderr.
///
/// # Panics
/// Where `CI` is set and there are none, and where what is there cannot be read.
pub fn exported() -> Option<Vec<Case>> {
    const HINT: &str = "scripts/onnx-backend/run (Python 3.11 or later; numpy and onnx from PyPI once)";
    let root = crate::repository().join("target/onnx-backend");
    if !root.join("exported.json").is_file() {
        assert!(std::env::var_os("CI").is_none(), "target/onnx-backend is missing; write it with {HINT}");
        eprintln!("skipped: the onnx package's cases are not in target/onnx-backend; write them with {HINT}");
        return None;
    }
    let mut cases = vec![];
    for kind in folders(&root) {
        for folder in folders(&kind) {
            let entry: CaseEntry = serde_json::from_slice(&read(&folder.join("case.json")))
                .unwrap_or_else(|e| panic!("{}: {e}; export the cases again", folder.display()));
            let CaseEntry { name, kind, operator, rtol, atol, beyond, sets } = entry;
            cases.push(Case { name, kind, operator, beyond, rtol, atol, sets, folder });
        }
    }
    Some(cases)
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).unwrap_or_else(|e| panic!("{}: {e}", of.display()));
    let mut folders: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    folders
}
