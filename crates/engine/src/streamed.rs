//! Weights that stay where they are: files that are read from, and constants in them.
//!
//! A large matrix of a model's external data that products alone read is no tensor of the graph but a [`Streamed`] constant. Lowering makes
//! panels of it that come from its stream ([`ic_nn_kernels::far`]); where it does not, the node reads all of it in each run.

use std::mem::MaybeUninit;

use ic_nn_kernels::Panels;
use ic_nn_kernels::far::{READ, Stream};
use tract_onnx::pb::tensor_shape_proto::Dimension;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::pb::{GraphProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::infer::{InferenceModel, TensorProxy};
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, expand};

/// A file of a model's.
pub enum File {
    /// In the heap.
    Here(Vec<u8>),
    /// In a stream.
    Far {
        /// The stream.
        stream: Arc<Stream>,
        /// Its first byte there.
        at: u64,
        /// How many it has.
        bytes: u64,
    },
}

impl From<Vec<u8>> for File {
    fn from(bytes: Vec<u8>) -> File {
        File::Here(bytes)
    }
}

impl File {
    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        match self {
            File::Here(bytes) => bytes.len() as u64,
            File::Far { bytes, .. } => *bytes,
        }
    }

    /// Bytes of it that are in the heap.
    pub fn heap(&self) -> u64 {
        match self {
            File::Here(bytes) => bytes.len() as u64,
            File::Far { .. } => 0,
        }
    }

    /// Its bytes from `offset` on, so many; none where it is shorter.
    pub(crate) fn part(&self, offset: u64, length: u64) -> Option<Vec<u8>> {
        let end = offset.checked_add(length).filter(|end| *end <= self.bytes())?;
        match self {
            File::Here(bytes) => Some(bytes[offset as usize..end as usize].to_vec()),
            File::Far { stream, at, .. } => {
                let mut part = vec![0; usize::try_from(length).ok()?];
                read(stream, at + offset, &mut part);
                Some(part)
            }
        }
    }

    /// All of it, in the heap.
    pub(crate) fn into_vec(self) -> Option<Vec<u8>> {
        match self {
            File::Here(bytes) => Some(bytes),
            far => far.part(0, far.bytes()),
        }
    }
}

#[allow(unsafe_code, reason = "bytes that are there are bytes that may be written")]
fn read(stream: &Stream, at: u64, to: &mut [u8]) {
    // SAFETY: `Reads::read` writes every byte, and nothing that is no byte.
    stream.read(at, unsafe { &mut *(std::ptr::from_mut(to) as *mut [MaybeUninit<u8>]) });
}

/// A matrix of f32 that stays in a stream.
#[derive(Clone, Debug)]
pub(crate) struct Streamed {
    stream: Arc<Stream>,
    /// Its first byte.
    at: u64,
    shape: TVec<usize>,
    /// Numbers from one to the next along each axis.
    strides: TVec<usize>,
}

impl PartialEq for Streamed {
    fn eq(&self, other: &Streamed) -> bool {
        Arc::ptr_eq(&self.stream, &other.stream)
            && (self.at, &self.shape, &self.strides) == (other.at, &other.shape, &other.strides)
    }
}

impl Eq for Streamed {}

impl Streamed {
    /// A dense matrix from that byte on.
    pub(crate) fn new(stream: &Arc<Stream>, at: u64, shape: &[usize]) -> Streamed {
        let strides = crate::ops::strides(shape).into_iter().collect();
        Streamed { stream: Arc::clone(stream), at, shape: shape.into(), strides }
    }

    /// The same with its axes changed; none where it would lie otherwise than in steps along axes.
    fn changed(&self, change: &AxisOp) -> Option<Streamed> {
        let mut changed = self.clone();
        match change {
            AxisOp::Add(axis) if *axis <= self.shape.len() => {
                changed.shape.insert(*axis, 1);
                changed.strides.insert(*axis, 0);
            }
            AxisOp::Rm(axis) if self.shape.get(*axis) == Some(&1) => {
                changed.shape.remove(*axis);
                changed.strides.remove(*axis);
            }
            AxisOp::Move(from, to) if (*from).max(*to) < self.shape.len() => {
                let (length, stride) = (changed.shape.remove(*from), changed.strides.remove(*from));
                changed.shape.insert(*to, length);
                changed.strides.insert(*to, stride);
            }
            _ => return None,
        }
        Some(changed)
    }

    /// That of an outlet of `model`, axes changed on the way included.
    pub(crate) fn of(model: &TypedModel, outlet: OutletId) -> Option<Streamed> {
        let node = model.node(outlet.node);
        if let Some(streamed) = node.op_as::<Streamed>() {
            return Some(streamed.clone());
        }
        Streamed::of(model, *node.inputs.first()?)?.changed(node.op_as::<AxisOp>()?)
    }

    /// Panels of a product of `outputs` sums of `k`, its rows where `rows` is said, that go through this as though it lay dense: so many
    /// numbers from output to output and from step to step.
    pub(crate) fn panels(&self, rows: bool, [outputs, k]: [usize; 2], dense: [usize; 2]) -> Option<Panels> {
        let seen = crate::ops::strides(&self.shape);
        let along = |length: usize, stride: usize| {
            if length == 1 {
                return Some(0);
            }
            let axis =
                (0..self.shape.len()).find(|axis| (self.shape[*axis], seen[*axis]) == (length, stride))?;
            Some(self.strides[axis])
        };
        let all = self.shape.iter().product::<usize>() == outputs * k;
        let (along_output, along_k) = (along(outputs, dense[0])?, along(k, dense[1])?);
        Panels::far((&self.stream, self.at), rows, [outputs, k], [along_output, along_k]).filter(|_| all)
    }

    /// What reading all of it takes.
    pub(crate) fn instructions(&self) -> u64 {
        READ + 8 * self.shape.iter().product::<usize>() as u64
    }

    /// All of it, in the heap.
    fn tensor(&self) -> TractResult<Tensor> {
        // It lies as the axes that are not of length 1 do, in the order of their strides.
        let mut axes: Vec<usize> = (0..self.shape.len()).collect();
        axes.sort_by_key(|axis| std::cmp::Reverse(self.strides[*axis]));
        let lies: TVec<usize> = axes.iter().map(|axis| self.shape[*axis]).collect();
        let mut tensor = Tensor::zero::<f32>(&lies)?;
        read(&self.stream, self.at, tensor.as_bytes_mut());
        let places: TVec<usize> =
            (0..axes.len()).filter_map(|axis| axes.iter().position(|from| *from == axis)).collect();
        tensor.permute_axes(&places)
    }
}

impl Op for Streamed {
    fn name(&self) -> StaticName {
        "StreamedConst".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Streamed {
    // What tract could evaluate it would make a constant of its own of.
    not_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, _inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(tvec!(self.tensor()?.into_tvalue()))
    }
}

impl TypedOp for Streamed {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.shape)))
    }

    fn change_axes(
        &self,
        _model: &TypedModel,
        _node: &TypedNode,
        io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        ensure!(io == InOut::Out(0));
        Ok(self.changed(change).map(|streamed| AxisChangeConsequence {
            substitute_op: Some(Box::new(streamed)),
            wire_changes: tvec!((io, change.clone())),
        }))
    }
}

/// As an operator whose types are still to be found.
impl Expansion for Streamed {
    fn name(&self) -> StaticName {
        "StreamedConst".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        _inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        let shape: TVec<TDim> = self.shape.iter().map(|length| length.to_dim()).collect();
        s.equals(&outputs[0].shape, shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        _inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), &[])
    }
}

/// An initializer that stays in a stream.
pub(crate) struct Away {
    pub(crate) name: String,
    pub(crate) dims: TVec<usize>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) at: u64,
}

/// Declares those as inputs of the graph, until [`put`] puts constants in their places.
pub(crate) fn declare(graph: &mut GraphProto, away: &[Away]) {
    for Away { name, dims, .. } in away {
        let dim = |length: &usize| Dimension {
            value: Some(DimValue::DimValue(*length as i64)),
            ..Default::default()
        };
        let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
        let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape) };
        let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        let name = name.clone();
        graph.input.push(ValueInfoProto { name, r#type: Some(r#type), ..Default::default() });
    }
}

/// Puts constants in the places of the inputs that [`declare`] declared.
pub(crate) fn put(model: &mut InferenceModel, away: &[Away]) -> TractResult<()> {
    for Away { name, dims, stream, at } in away {
        let node = model.node_id_by_name(name)?;
        model.node_mut(node).op = expand(Streamed::new(stream, *at, dims));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
