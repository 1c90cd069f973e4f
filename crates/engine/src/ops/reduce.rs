//! ReduceMax and ReduceMin: of nothing an infinity, of NaN NaN, and of booleans.

use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, Places, f32s, f64s, strides, tensor};
use super::lowered::Wirer;

/// ReduceMax, ReduceMin.
pub(super) fn extreme(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let dt = w.dt(x)?;
    if dt == DatumType::Bool {
        let mut given = w.given();
        given[0] = w.cast(x, DatumType::U8)?;
        let y = w.stock(w.node, &given)?;
        return Ok(tvec![w.cast(y[0], dt)?]);
    }
    let given = w.given();
    if !dt.is_float() || w.fact(x)?.shape.as_concrete().is_none() {
        return w.stock(w.node, &given);
    }
    let shape = w.shape(x)?;
    let axes = axes(w, shape.len())?;
    let kept: TVec<usize> =
        shape.iter().zip(&axes).map(|(d, reduced)| if *reduced { 1 } else { *d }).collect();
    let max = i64::from(w.node.op_type == "ReduceMax");
    let mut ints = vec![max];
    ints.extend(axes.iter().map(|a| i64::from(*a)));
    let scratch = 8 * shape.iter().product::<usize>();
    let kernel = Kernel::new("extreme", tvec![dt.fact(&kept)], run).ints(ints).scratch(scratch);
    let mut y = w.kernel(kernel, &[x])?[0];
    if w.int("keepdims", 1) != 1 {
        let left: Vec<usize> = shape.iter().zip(&axes).filter(|(_, a)| !**a).map(|(d, _)| *d).collect();
        y = w.reshape(y, &left)?;
    }
    Ok(tvec![y])
}

/// Which axes are reduced, by an attribute or an operand.
fn axes(w: &Wirer<'_>, rank: usize) -> TractResult<Vec<bool>> {
    let named = match w.input(1) {
        Some(axes) => w.integers(axes, "axes")?,
        None => w.ints("axes"),
    };
    if named.is_empty() {
        return Ok(vec![w.int("noop_with_empty_axes", 0) == 0; rank]);
    }
    let mut reduced = vec![false; rank];
    for axis in named {
        reduced[w.axis(axis, rank)?] = true;
    }
    Ok(reduced)
}

pub(super) fn run(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let (dt, shape) = (inputs[0].datum_type(), k.shape(0)?);
    let max = k.int(0) != 0;
    let steps: Vec<isize> = strides(&shape)
        .into_iter()
        .zip(&k.ints[1..])
        .map(|(step, reduced)| if *reduced != 0 { 0 } else { step as isize })
        .collect();
    let places = Places::new(inputs[0].shape(), &steps, 0);
    let volume = shape.iter().product();
    Ok(vec![if dt == DatumType::F64 {
        let mut y = vec![if max { f64::NEG_INFINITY } else { f64::INFINITY }; volume];
        for (place, x) in places.zip(f64s(&inputs[0])?) {
            if x.is_nan() || (x > y[place]) == max && x != y[place] && !y[place].is_nan() {
                y[place] = x;
            }
        }
        tensor(dt, &shape, &y)?
    } else {
        let mut y = vec![if max { f32::NEG_INFINITY } else { f32::INFINITY }; volume];
        for (place, x) in places.zip(f32s(&inputs[0])?) {
            if x.is_nan() || (x > y[place]) == max && x != y[place] && !y[place].is_nan() {
                y[place] = x;
            }
        }
        tensor(dt, &shape, &y)?
    }])
}
