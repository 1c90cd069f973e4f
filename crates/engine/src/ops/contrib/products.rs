//! Products of bytes: QGemm, MatMulIntegerToFloat, DynamicQuantizeMatMul, all of them on [`crate::exact`].

use tract_onnx::tract_core::ops::math::Mul;
use tract_onnx::tract_hir::internal::*;

use super::super::integer::{Scaled, exact, product};
use super::super::kernel::Kernel;
use super::super::lowered::Wirer;
use super::super::quant::run_quantize_dynamically;

/// The product that an operator is, or a refusal.
fn wired(w: &mut Wirer<'_>, turned: bool, scaled: &Scaled) -> TractResult<TVec<OutletId>> {
    let made = match product(w, scaled.a, scaled.b, turned)? {
        Some((sums, output)) => exact(w, sums, output, scaled)?,
        None => None,
    };
    match made {
        Some(made) => Ok(made),
        None => w.refuse(format!(
            "{:?} {:?} times {:?} {:?}; matrices of uint8 or int8 are served, the first with one scale and zero point, the \
             second with one or one a column, a bias with one number a column",
            w.dt(scaled.a)?,
            w.shape(scaled.a)?,
            w.dt(scaled.b)?,
            w.shape(scaled.b)?
        )),
    }
}

/// QGemm: bytes or reals, as there is a scale of the output or not. The bias is whole, of the product of scales.
pub(super) fn gemm(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (mut a, b, mut a_scale) = (w.need(0)?, w.need(3)?, w.need(1)?);
    if w.fact(a)?.rank() != 2 || w.fact(b)?.rank() != 2 {
        return w.refuse(format!("operands of rank {} and {}", w.fact(a)?.rank(), w.fact(b)?.rank()));
    }
    let turned = w.int("transB", 0) != 0;
    if w.int("transA", 0) != 0 {
        a = w.transpose(a, &[1, 0])?;
    }
    let alpha = w.real("alpha", 1.0);
    if alpha != 1.0 {
        a_scale = w.by(Mul, a_scale, f64::from(alpha))?;
    }
    let bias = match w.input(6) {
        Some(bias) => {
            let (shape, n) = (w.shape(bias)?, w.shape(b)?[usize::from(!turned)]);
            let all = shape.iter().product::<usize>();
            if w.dt(bias)? != DatumType::I32 || !(all == 1 || all == n && shape.last() == Some(&n)) {
                return w.refuse(format!(
                    "C of {:?} {shape:?}; int32, one number a column, is served",
                    w.dt(bias)?
                ));
            }
            Some(bias)
        }
        None => None,
    };
    let (y_scale, mut y_zero) = (w.input(7), w.input(8));
    if y_scale.is_some() && y_zero.is_none() {
        let dt = w.dt(a)?;
        y_zero = Some(w.scalar(0.0, dt)?);
    }
    let (b_scale, b_zero, a_zero) = (w.need(4)?, w.input(5), w.input(2));
    let scaled = Scaled { a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero, bias };
    wired(w, turned, &scaled)
}

/// MatMulIntegerToFloat.
pub(super) fn to_float(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b, a_scale, b_scale) = (w.need(0)?, w.need(1)?, w.need(2)?, w.need(3)?);
    let (a_zero, b_zero, bias) = (w.input(4), w.input(5), w.input(6));
    let scaled = Scaled { a, a_scale, a_zero, b, b_scale, b_zero, y_scale: None, y_zero: None, bias };
    wired(w, false, &scaled)
}

/// DynamicQuantizeMatMul: the first operand as DynamicQuantizeLinear has it.
pub(super) fn dynamic(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, b, b_scale) = (w.need(0)?, w.need(1)?, w.need(2)?);
    let (b_zero, bias) = (w.input(3), w.input(4));
    if w.dt(x)? != DatumType::F32 {
        return w.refuse(format!("A of {:?}", w.dt(x)?));
    }
    let (shape, none): (_, &[usize]) = (w.shape(x)?, &[]);
    let outputs = tvec![u8::fact(&shape), f32::fact(none), u8::fact(none)];
    let made = w.kernel(Kernel::new("DynamicQuantizeLinear", outputs, run_quantize_dynamically), &[x])?;
    let [a, a_scale, a_zero] = made[..] else { return w.refuse("its operand cannot be quantised") };
    let a_zero = Some(a_zero);
    let scaled = Scaled { a, a_scale, a_zero, b, b_scale, b_zero, y_scale: None, y_zero: None, bias };
    wired(w, false, &scaled)
}
