//! A lowered node: a kernel with its weights, and what follows it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ic_nn_kernels::far::{Stream, Streams};
use ic_nn_kernels::product::After;
use ic_nn_kernels::{
    Chain, Conv, Depthwise, HwcConv, HwcDepthwise, Lines, MaxPool, MeanPool, Norm, Precision, Reduce,
    Resample, Shuffle, Softmax, Strided, Swap, Winograd,
};
use tract_onnx::tract_core::internal::*;

use super::floats;
use super::pool::Picked;
use super::product::Product;
use super::volume::Depth;
use crate::parted::{Parted, one};

/// What a node computes before what follows.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// A matrix product.
    Product(Product),
    /// A convolution of planes.
    Conv(Conv),
    /// One of 3 × 3 by minimal filtering.
    Winograd(Winograd),
    /// One of 3 × 3 that moves by two, by minimal filtering.
    Strided(Strided),
    /// One of windows seven wide that move by two, by minimal filtering.
    Lines(Lines),
    /// One of each plane by itself.
    Depthwise(Depthwise),
    /// A convolution of images whose channels are innermost.
    HwcConv(HwcConv),
    /// One of each channel by itself.
    HwcDepthwise(HwcDepthwise),
    /// The largest number of each window, over planes.
    MaxPool(MaxPool),
    /// The mean of each window, over planes.
    MeanPool(MeanPool),
    /// Every so many pixels of planes.
    Picked(Picked),
    /// Operations on elements.
    Chain(Chain),
    /// Softmax of rows.
    Softmax(Softmax),
    /// A norm of rows.
    Norm(Norm),
    /// What rows or columns come to.
    Reduce(Reduce),
    /// Axes that change places.
    Swap(Swap),
    /// Images that are resized.
    Resample(Resample),
    /// Planes that are put between one another.
    Shuffle(Shuffle),
}

impl Body {
    /// Whether outputs are sums of products, which a bias, an addition and bounds can follow.
    pub(super) fn is_of_sums(&self) -> bool {
        match self {
            Body::Product(_)
            | Body::Conv(_)
            | Body::Winograd(_)
            | Body::Strided(_)
            | Body::Lines(_)
            | Body::Depthwise(_)
            | Body::HwcConv(_)
            | Body::HwcDepthwise(_) => true,
            Body::MaxPool(_)
            | Body::MeanPool(_)
            | Body::Picked(_)
            | Body::Chain(_)
            | Body::Softmax(_)
            | Body::Norm(_)
            | Body::Reduce(_)
            | Body::Swap(_)
            | Body::Resample(_)
            | Body::Shuffle(_) => false,
        }
    }
}

/// A kernel as an operator of a typed graph. Inputs are the body's, then the residual where there is one.
#[derive(Clone)]
pub(crate) struct Lowered {
    /// What is computed.
    pub(crate) body: Arc<Body>,
    /// The axis of the output that a bias runs along.
    pub(crate) bias_axis: Option<usize>,
    /// Whether the last input is added to the output.
    pub(crate) residual: bool,
    /// Bounds of the output.
    pub(crate) bounds: Option<(f32, f32)>,
    /// Shape of the output.
    pub(crate) output: TVec<usize>,
    /// Images that lie one behind the other.
    pub(crate) images: usize,
    /// How they lie in volumes, where they are slices of these.
    pub(crate) depth: Option<Depth>,
    /// Multiply-accumulates of a run.
    pub(crate) macs: u64,
}

/// Nodes are equal where they share their weights: tract asks often, and comparing weights costs more than packing them.
impl PartialEq for Lowered {
    fn eq(&self, other: &Lowered) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
            && self.residual == other.residual
            && self.bounds.map(|(l, h)| (l.to_bits(), h.to_bits()))
                == other.bounds.map(|(l, h)| (l.to_bits(), h.to_bits()))
            && self.output == other.output
    }
}

impl Eq for Lowered {}

impl Lowered {
    pub(crate) fn new(body: Body, bias_axis: Option<usize>, output: TVec<usize>, macs: u64) -> Lowered {
        Lowered {
            body: Arc::new(body),
            bias_axis,
            residual: false,
            bounds: None,
            output,
            images: 1,
            depth: None,
            macs,
        }
    }

    /// Bytes that a run takes beside inputs and outputs.
    pub(crate) fn scratch(&self) -> u64 {
        let image = self.depth.as_ref().map_or(0, Depth::scratch);
        (match &*self.body {
            Body::Product(product) => product.scratch(),
            Body::Conv(conv) => conv.scratch(),
            Body::Winograd(conv) => conv.scratch(),
            Body::Strided(conv) => conv.scratch(),
            Body::Lines(conv) => conv.scratch(),
            Body::Depthwise(conv) => conv.scratch(),
            Body::HwcConv(conv) => conv.scratch(),
            Body::HwcDepthwise(conv) => conv.scratch(),
            Body::MaxPool(pool) => pool.scratch(),
            Body::MeanPool(pool) => pool.scratch(),
            Body::Chain(chain) => chain.scratch(),
            Body::Resample(resample) => resample.scratch(),
            Body::Picked(_) | Body::Softmax(_) | Body::Norm(_) | Body::Reduce(_) | Body::Swap(_) => 0,
            Body::Shuffle(_) => 0,
        } + image) as u64
    }

    /// What its weights are, as far as they may be in streams.
    fn weights(&self) -> Option<&dyn Streams> {
        Some(match &*self.body {
            Body::Product(product) => return product.panels().map(|panels| panels as &dyn Streams),
            Body::Conv(conv) => conv,
            Body::Winograd(conv) => conv,
            Body::Strided(conv) => conv,
            Body::Lines(conv) => conv,
            Body::HwcConv(conv) => conv,
            _ => return None,
        })
    }

    /// Bytes of weights that a run reads which are not in the heap.
    pub(crate) fn far_bytes(&self) -> u64 {
        self.weights().map_or(0, Streams::far_bytes)
    }

    /// Puts the streams that they are in among `all`, each once.
    pub(crate) fn streams(&self, all: &mut Vec<Arc<Stream>>) {
        if let Some(weights) = self.weights() {
            weights.streams(all);
        }
    }

    /// How many inputs a node of it has.
    pub(crate) fn inputs(&self) -> usize {
        let operands = match &*self.body {
            Body::Product(product) if !product.is_constant() => 2,
            Body::Chain(chain) => chain.operands().len(),
            _ => 1,
        };
        operands + usize::from(self.residual)
    }

    /// The bias, one number a place on its axis.
    pub(crate) fn bias(&self) -> Option<Vec<f32>> {
        match &*self.body {
            Body::Product(product) => product.bias().map(<[f32]>::to_vec),
            Body::Conv(conv) => Some(conv.bias()),
            Body::Winograd(conv) => Some(conv.bias().to_vec()),
            Body::Strided(conv) => Some(conv.bias().to_vec()),
            Body::Lines(conv) => Some(conv.bias().to_vec()),
            Body::Depthwise(conv) => Some(conv.bias().to_vec()),
            Body::HwcConv(conv) => Some(conv.weights().bias().to_vec()),
            Body::HwcDepthwise(conv) => Some(conv.bias().to_vec()),
            _ => None,
        }
    }

    /// The same with another bias.
    pub(crate) fn with_bias(mut self, bias: &[f32]) -> Lowered {
        let body = Arc::unwrap_or_clone(self.body);
        self.body = Arc::new(match body {
            Body::Product(product) => Body::Product(product.with_bias(bias)),
            Body::Conv(conv) => Body::Conv(conv.with_bias(bias)),
            Body::Winograd(conv) => Body::Winograd(conv.with_bias(bias)),
            Body::Strided(conv) => Body::Strided(conv.with_bias(bias)),
            Body::Lines(conv) => Body::Lines(conv.with_bias(bias)),
            Body::Depthwise(conv) => Body::Depthwise(conv.with_bias(bias)),
            Body::HwcConv(conv) => Body::HwcConv(conv.with_bias(bias)),
            Body::HwcDepthwise(conv) => Body::HwcDepthwise(conv.with_bias(bias)),
            body => body,
        });
        self
    }

    /// What its weights are kept as.
    fn precision(&self) -> Precision {
        match &*self.body {
            Body::Product(product) => product.precision(),
            Body::Conv(conv) => conv.precision(),
            Body::HwcConv(conv) => conv.weights().precision(),
            _ => Precision::F32,
        }
    }

    fn name_of_body(&self) -> &'static str {
        match &*self.body {
            Body::Product(_) | Body::Conv(_) | Body::HwcConv(_) => {
                let product = matches!(&*self.body, Body::Product(_));
                match (self.precision(), product) {
                    (Precision::F32, true) => "Product",
                    (Precision::Int8, true) => "Product int8",
                    (Precision::Int16, true) => "Product int16",
                    (Precision::F32, false) => "Convolution",
                    (Precision::Int8, false) => "Convolution int8",
                    (Precision::Int16, false) => "Convolution int16",
                }
            }
            Body::Winograd(_) | Body::Strided(_) | Body::Lines(_) => "WinogradConvolution",
            Body::Depthwise(_) | Body::HwcDepthwise(_) => "DepthwiseConvolution",
            Body::MaxPool(_) => "MaxPool",
            Body::MeanPool(_) => "MeanPool",
            Body::Picked(_) => "Downsample",
            Body::Chain(_) => "Chain",
            Body::Softmax(_) => "Softmax",
            Body::Norm(_) => "Norm",
            Body::Reduce(_) => "Reduce",
            Body::Swap(_) => "MoveAxis",
            Body::Resample(_) => "Resize",
            Body::Shuffle(_) => "PixelShuffle",
        }
    }
}

impl fmt::Debug for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name_of_body(), self.output)
    }
}

impl Op for Lowered {
    fn name(&self) -> StaticName {
        self.name_of_body().into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("residual: {}, bounds: {:?}", self.residual, self.bounds)])
    }

    op_as_typed_op!();
}

/// A tensor for a kernel to write.
#[allow(unsafe_code, reason = "zeros cost an instruction a byte, and every kernel writes every output")]
pub(crate) fn output(shape: &[usize]) -> TractResult<Tensor> {
    // SAFETY: floats have no invalid bits, and each body writes every output: graphs with a length of 0 are not lowered, a
    // product's steps cover its output, and a convolution has as many images as outputs (`images`).
    unsafe { Tensor::uninitialized::<f32>(shape) }
}

impl EvalOp for Lowered {
    /// Weights are packed: constants of a graph are folded before it is lowered.
    fn eval_out_of_plan(&self, _: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(None)
    }

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut output = output(&self.output)?;
        self.compute(&inputs, std::slice::from_mut(&mut output), 0..self.units())?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl Parted for Lowered {
    /// Blocks of rows or columns of a product, bands of convolutions, rows or blocks of the rest.
    fn units(&self) -> usize {
        match &*self.body {
            Body::Product(product) => product.units(),
            body if body.is_of_sums() => body.bands() * self.images,
            body => body.units(self.output.iter().product()),
        }
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        Ok(tvec!(output(&self.output)?))
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        ensure!(!inputs.is_empty() && units.end <= self.units(), "units or operands that it has not");
        let residual = match (self.residual, inputs.last()) {
            (true, Some(last)) => Some(floats(last)?),
            _ => None,
        };
        let after = After { residual, bounds: self.bounds };
        let mut plain = one(out)?.try_as_plain_ram_mut()?;
        let out = plain.as_slice_mut::<f32>()?;
        ensure!(residual.is_none_or(|r| r.len() >= out.len()), "the residual is short");
        let x = floats(&inputs[0])?;
        match &*self.body {
            Body::Product(product) => {
                let other = match (product.is_constant(), inputs.get(1)) {
                    (false, Some(other)) => Some(floats(other)?),
                    _ => None,
                };
                product.run(x, other, out, after, units)?;
            }
            body @ (Body::Conv(_)
            | Body::Winograd(_)
            | Body::Strided(_)
            | Body::Lines(_)
            | Body::Depthwise(_)
            | Body::HwcConv(_)
            | Body::HwcDepthwise(_)) => {
                body.images((x, out), after, (self.images, self.depth.as_ref(), units))?
            }
            body => body.compute(inputs, out, units)?,
        }
        Ok(())
    }
}

impl TypedOp for Lowered {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.output)))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(tvec!((Cost::FMA(f32::datum_type()), (self.macs as i64).to_dim())))
    }

    as_op!();
}
