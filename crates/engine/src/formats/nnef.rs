//! NNEF: a tar, or gzipped tar, of `graph.nnef`, the `.dat` files of its variables, and `graph.quant`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use tract_nnef::internal::{GraphNnefLoader, GraphQuantLoader, Nnef, Resource, ResourceLoader};
use tract_nnef::resource::{GRAPH_NNEF_FILENAME, GRAPH_QUANT_FILENAME, resource_path_to_id};
use tract_nnef::tensors::read_tensor;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{StaticName, bail, ensure};
use tract_onnx::tract_hir::ops::konst::Const;

use super::described::{describe, typed_inputs, typed_outputs};
use crate::check::admit;
use crate::error::{one_line, refused_or};
use crate::graph::Decoded;
use crate::plan::Output;
use crate::source::Source;
use crate::{Limits, ModelError};

/// Deepest nesting of brackets in `graph.nnef`: the parser takes stack for each.
const MAX_DEPTH: usize = 48;

/// Bytes of a `.dat` file's header.
const HEADER_BYTES: usize = 128;

pub(super) fn read(bytes: Vec<u8>, limits: &Limits) -> Result<Decoded, ModelError> {
    let tar = if bytes.starts_with(&[0x1f, 0x8b]) { unzip(&bytes, limits)? } else { bytes };
    // Every tensor is held to the bytes that are there, so that all of them have no more than the archive.
    admit("loading the model", Limits::load_peak(tar.len() as u64, tar.len() as u64), limits)?;
    let resource_loaders = vec![
        Text { file: GRAPH_NNEF_FILENAME, loader: GraphNnefLoader }.into_boxed(),
        Variable.into_boxed(),
        Text { file: GRAPH_QUANT_FILENAME, loader: GraphQuantLoader }.into_boxed(),
    ];
    let reader = Nnef { resource_loaders, ..Nnef::default() };
    let proto = reader.proto_model_for_read(&mut tar.as_slice()).map_err(|e| unreadable(one_line(&e)))?;
    drop(tar);
    let names: Vec<String> = proto.doc.graph_def.results.iter().map(|r| r.0.clone()).collect();
    let model = reader.model_for_proto_model(&proto).map_err(|e| ModelError::Engine(one_line(&e)))?;
    drop(proto);
    let mut operators: BTreeMap<String, u32> = BTreeMap::new();
    for node in model.nodes() {
        let name = node.op.name();
        if !node.op_is::<Const>() && name != "Source" {
            *operators.entry(name.to_string()).or_default() += 1;
        }
    }
    let inputs = typed_inputs(&model).map_err(|e| refused_or(&e))??;
    let description = describe(&model, inputs, &operators, "NNEF")?;
    let outputs = names.iter().map(|name| Output { name: name.clone(), bfloat: false }).collect();
    let declared = typed_outputs(&model, names).map_err(|e| refused_or(&e))?;
    Ok(Decoded {
        description,
        outputs,
        declared,
        bound: vec![],
        growths: vec![],
        source: Source::Typed(model),
    })
}

/// What the gzip holds, as far as there is room.
fn unzip(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, ModelError> {
    let mut tar = vec![];
    let most = limits.available_bytes / 2;
    GzDecoder::new(bytes)
        .take(most.saturating_add(1))
        .read_to_end(&mut tar)
        .map_err(|e| unreadable(format!("the gzip does not unpack: {e}")))?;
    admit("unpacking the file", (tar.len() as u64).saturating_mul(2), limits)?;
    Ok(tar)
}

/// A loader of text, which is held to [`MAX_DEPTH`] first.
struct Text<L> {
    file: &'static str,
    loader: L,
}

impl<L: ResourceLoader> ResourceLoader for Text<L> {
    fn name(&self) -> StaticName {
        self.loader.name()
    }

    fn try_load(
        &self,
        path: &Path,
        reader: &mut dyn Read,
        framework: &Nnef,
    ) -> TractResult<Option<(String, Arc<dyn Resource>)>> {
        if !path.ends_with(self.file) {
            return Ok(None);
        }
        ensure!(path.to_str().is_some(), "{path:?} is no UTF-8");
        let mut text = vec![];
        reader.read_to_end(&mut text)?;
        let mut depth = 0usize;
        for byte in &text {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            ensure!(depth <= MAX_DEPTH, "brackets nest deeper than {MAX_DEPTH}");
        }
        self.loader.try_load(path, &mut text.as_slice(), framework)
    }
}

/// The loader of `.dat` files, which hold no more than they have bytes.
struct Variable;

impl ResourceLoader for Variable {
    fn name(&self) -> StaticName {
        "Variable".into()
    }

    fn try_load(
        &self,
        path: &Path,
        reader: &mut dyn Read,
        _: &Nnef,
    ) -> TractResult<Option<(String, Arc<dyn Resource>)>> {
        if path.extension().is_none_or(|extension| extension != "dat") {
            return Ok(None);
        }
        let mut bytes = vec![];
        reader.read_to_end(&mut bytes)?;
        let word = |at: usize| {
            bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(u32::MAX, u32::from_le_bytes)
        };
        let (data, bits, item, vendor) = (word(4), word(44), word(48) & 0xffff, word(48) >> 16);
        if bytes.len() < HEADER_BYTES || data as usize > bytes.len() - HEADER_BYTES {
            bail!("{path:?} has {} bytes, its header asks for {data} more than {HEADER_BYTES}", bytes.len());
        }
        ensure!(
            vendor == 0 && matches!(bits, 1 | 8 | 16 | 32 | 64),
            "{path:?} has items that are not NNEF's"
        );
        ensure!(item != 5 || data > 0, "{path:?} has no items");
        let tensor = read_tensor(bytes.as_slice())?;
        Ok(Some((resource_path_to_id(path)?, Arc::new(tensor))))
    }
}

fn unreadable(reason: impl AsRef<str>) -> ModelError {
    ModelError::Unreadable { what: "NNEF", reason: reason.as_ref().chars().take(300).collect() }
}
