//! Own computations on tensors: one operator of tract's for all of them.
//!
//! A kernel is a function over concrete tensors with its parameters beside it. What comes out is said when it is
//! wired, so that a plan knows the bytes of a run beforehand; a kernel never gives anything else.

use std::fmt;
use std::sync::Arc;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::optim::CONST_FOLD_MEM_BUDGET;

/// What a kernel is: inputs in, as many tensors out as it has output facts.
pub(crate) type Run = fn(&Kernel, &[TValue]) -> TractResult<Vec<Tensor>>;

/// Why a kernel gave nothing: what the values were, for shapes and types are settled before.
#[derive(Clone, Debug)]
pub(crate) struct Fault(pub(crate) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// A function over tensors as an operator of a typed graph.
#[derive(Clone)]
pub(crate) struct Kernel {
    /// The ONNX operator it computes, for messages.
    pub(crate) name: &'static str,
    /// Integer parameters; each kernel says which.
    pub(crate) ints: Vec<i64>,
    /// Real parameters.
    pub(crate) reals: Vec<f64>,
    /// Type and shape of each output.
    pub(crate) outputs: TVec<TypedFact>,
    /// Bytes that a run takes beside its inputs and outputs.
    pub(crate) scratch: u64,
    /// The function.
    pub(crate) run: Run,
}

impl Kernel {
    /// A kernel without parameters.
    pub(crate) fn new(name: &'static str, outputs: TVec<TypedFact>, run: Run) -> Kernel {
        Kernel { name, ints: vec![], reals: vec![], outputs, scratch: 0, run }
    }

    /// The same with integer parameters.
    pub(crate) fn ints(self, ints: impl IntoIterator<Item = i64>) -> Kernel {
        Kernel { ints: ints.into_iter().collect(), ..self }
    }

    /// The same with real parameters.
    pub(crate) fn reals(self, reals: impl IntoIterator<Item = f64>) -> Kernel {
        Kernel { reals: reals.into_iter().collect(), ..self }
    }

    /// The same, taking `bytes` while it runs.
    pub(crate) fn scratch(self, bytes: usize) -> Kernel {
        Kernel { scratch: bytes as u64, ..self }
    }

    /// An integer parameter; 0 where there is none.
    pub(crate) fn int(&self, ix: usize) -> i64 {
        self.ints.get(ix).copied().unwrap_or(0)
    }

    /// A real parameter; 0 where there is none.
    pub(crate) fn real(&self, ix: usize) -> f64 {
        self.reals.get(ix).copied().unwrap_or(0.0)
    }

    /// The concrete shape of an output.
    pub(crate) fn shape(&self, ix: usize) -> TractResult<TVec<usize>> {
        let fact = self.outputs.get(ix).with_context(|| format!("{}: no output {ix}", self.name))?;
        fact.shape.eval_to_usize(&SymbolValues::default()).map(|shape| shape.into_owned())
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.name, self.ints, self.reals)
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Kernel) -> bool {
        self.name == other.name
            && self.ints == other.ints
            && self.reals.iter().map(|r| r.to_bits()).eq(other.reals.iter().map(|r| r.to_bits()))
            && self.outputs == other.outputs
    }
}

impl Eq for Kernel {}

impl Op for Kernel {
    fn name(&self) -> StaticName {
        self.name.into()
    }

    op_as_typed_op!();
}

/// Bytes of `facts`; the most there can be where a length depends on values.
fn bytes<'a>(facts: impl IntoIterator<Item = &'a TypedFact>) -> u64 {
    facts
        .into_iter()
        .map(|fact| fact.mem_size().to_i64().map_or(u64::MAX, |bytes| bytes.max(0) as u64))
        .fold(0, u64::saturating_add)
}

impl EvalOp for Kernel {
    /// While constants are folded nothing is admitted, so only what tract would keep of it is computed.
    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        let given: u64 = inputs.iter().map(|t| (t.len() * t.datum_type().size_of()) as u64).sum();
        if bytes(&self.outputs) > given.max(CONST_FOLD_MEM_BUDGET) {
            return Ok(None);
        }
        Ok(Some(self.eval(&EvalContext::out_of_plan(), inputs)?))
    }

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let outputs = (self.run)(self, &inputs).map_err(|e| Fault(format!("{e:#}")))?;
        ensure!(outputs.len() == self.outputs.len(), "{}: outputs are missing", self.name);
        Ok(outputs.into_iter().map(|t| t.into_tvalue()).collect())
    }
}

impl TypedOp for Kernel {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.outputs.clone())
    }

    as_op!();
}

/// The values of a tensor as `f32`, converted where it is of another type.
pub(crate) fn f32s(tensor: &Tensor) -> TractResult<Vec<f32>> {
    values(tensor)
}

/// The values of a tensor as `f64`.
pub(crate) fn f64s(tensor: &Tensor) -> TractResult<Vec<f64>> {
    values(tensor)
}

/// The values of a tensor as `i64`.
pub(crate) fn i64s(tensor: &Tensor) -> TractResult<Vec<i64>> {
    values(tensor)
}

fn values<T: Datum + Copy>(tensor: &Tensor) -> TractResult<Vec<T>> {
    let tensor = tensor.cast_to::<T>()?;
    Ok(tensor.try_as_plain_ram()?.as_slice::<T>()?.to_vec())
}

/// A tensor of `dt` from values of another type.
pub(crate) fn tensor<T: Datum + Copy>(dt: DatumType, shape: &[usize], values: &[T]) -> TractResult<Tensor> {
    let tensor = Tensor::from_shape(shape, values)?;
    Ok(if tensor.datum_type() == dt { tensor } else { tensor.cast_to_dt(dt)?.into_owned() })
}

/// Some values of a tensor as `f32`, converted where they are of another type.
pub(crate) fn part(tensor: &Tensor, places: std::ops::Range<usize>) -> TractResult<Vec<f32>> {
    let missing = || format_err!("values {places:?} of {}", tensor.len());
    let plain = tensor.try_as_plain_ram()?;
    Ok(match tensor.datum_type() {
        DatumType::F32 => plain.as_slice::<f32>()?.get(places.clone()).with_context(missing)?.to_vec(),
        DatumType::F16 => {
            let values = plain.as_slice::<f16>()?.get(places.clone()).with_context(missing)?;
            values.iter().map(|value| value.to_f32()).collect()
        }
        DatumType::Bool => {
            let values = plain.as_slice::<bool>()?.get(places.clone()).with_context(missing)?;
            values.iter().map(|value| f32::from(u8::from(*value))).collect()
        }
        _ => values::<f32>(tensor)?.get(places.clone()).with_context(missing)?.to_vec(),
    })
}

/// Zeros for each output.
pub(crate) fn zeros(k: &Kernel) -> TractResult<Vec<Tensor>> {
    (0..k.outputs.len()).map(|ix| Tensor::zero_dt(k.outputs[ix].datum_type, &k.shape(ix)?)).collect()
}

/// Writes numbers into a tensor of floats, from place `first` on.
pub(crate) fn put(to: &mut Tensor, first: usize, numbers: &[f32]) -> TractResult<()> {
    let mut plain = to.try_as_plain_ram_mut()?;
    let there = first..first + numbers.len();
    let missing = || format_err!("{} numbers from place {first} on", numbers.len());
    match plain.datum_type() {
        DatumType::F32 => {
            let to = plain.as_slice_mut::<f32>()?.get_mut(there).with_context(missing)?;
            to.copy_from_slice(numbers);
        }
        DatumType::F16 => {
            let to = plain.as_slice_mut::<f16>()?.get_mut(there).with_context(missing)?;
            to.iter_mut().zip(numbers).for_each(|(to, number)| *to = f16::from_f32(*number));
        }
        DatumType::F64 => {
            let to = plain.as_slice_mut::<f64>()?.get_mut(there).with_context(missing)?;
            to.iter_mut().zip(numbers).for_each(|(to, number)| *to = f64::from(*number));
        }
        dt => bail!("{dt:?}; floats are expected"),
    }
    Ok(())
}

/// The distance of neighbours along each axis of a row-major tensor.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Product of lengths; an error where it exceeds what can be addressed.
pub(crate) fn volume(shape: &[usize]) -> TractResult<usize> {
    shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .filter(|n| *n <= i32::MAX as usize)
        .with_context(|| format!("a tensor of {shape:?} is too large"))
}

/// Places of the elements of a tensor, in row-major order, where its axes advance by `steps`.
///
/// A step of 0 stays, as a broadcast or a reduction does.
pub(crate) struct Places {
    shape: TVec<usize>,
    steps: TVec<isize>,
    at: TVec<usize>,
    place: isize,
    left: usize,
}

impl Places {
    /// From `first` on.
    pub(crate) fn new(shape: &[usize], steps: &[isize], first: isize) -> Places {
        let left = shape.iter().product();
        Places { shape: shape.into(), steps: steps.into(), at: tvec![0; shape.len()], place: first, left }
    }
}

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place;
        for axis in (0..self.shape.len()).rev() {
            self.at[axis] += 1;
            self.place += self.steps[axis];
            if self.at[axis] < self.shape[axis] {
                break;
            }
            self.place -= self.steps[axis] * self.shape[axis] as isize;
            self.at[axis] = 0;
        }
        Some(place as usize)
    }
}

/// A tensor of `dt` whose elements are those of `from` at `places`, or zeros where there is none.
pub(crate) fn picked(
    from: &Tensor,
    shape: &[usize],
    places: impl Iterator<Item = Option<usize>>,
) -> TractResult<Tensor> {
    let mut to = Tensor::zero_dt(from.datum_type(), shape)?;
    let size = from.datum_type().size_of();
    ensure!(from.is_plain_ram() && !from.datum_type().is_tdim(), "a tensor of plain numbers is expected");
    let bytes = from.as_bytes();
    for (to, place) in to.as_bytes_mut().chunks_exact_mut(size).zip(places) {
        if let Some(from) = place.and_then(|place| bytes.get(place * size..(place + 1) * size)) {
            to.copy_from_slice(from);
        }
    }
    Ok(to)
}

/// The value of a constant operand.
pub(crate) type Constant = Arc<Tensor>;
