//! Operators that tract runs as graphs of their own: sequences (`Scan`), whose body is a graph in an image, and transposed
//! convolutions. A body has no further body.

use ic_nn_kernels::image::{Broken, Reader, Writer};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{Deconv, KernelFormat};
use tract_onnx::tract_core::ops::scan::{InputMapping, OutputMapping, Scan, ScanInfo};

use super::{graph, ops};

const FORMATS: [KernelFormat; 3] = [KernelFormat::OIHW, KernelFormat::HWIO, KernelFormat::OHWI];

/// The longest step along a sequence.
const MOST: usize = 1 << 28;

pub(super) fn write_deconv(op: &Deconv, to: &mut Writer<'_>) -> Option<()> {
    ops::write_pool(&op.pool_spec, to)?;
    to.size(FORMATS.iter().position(|known| *known == op.kernel_format)?);
    to.sizes(&op.adjustments);
    to.size(op.group);
    Some(())
}

pub(super) fn read_deconv(from: &mut Reader<'_>) -> Result<Deconv, Broken> {
    let pool_spec = ops::read_pool(from)?;
    let kernel_format = *FORMATS.get(from.size()?).ok_or(Broken("a kernel's layout that is not known"))?;
    let (adjustments, group) = (from.sizes()?.into(), from.size()?);
    let op = Deconv { pool_spec, kernel_format, adjustments, group };
    let spec = &op.pool_spec;
    let grouped = |channels: usize| group > 0 && channels > 0 && channels.is_multiple_of(group);
    if op.adjustments.len() == spec.rank() && grouped(spec.input_channels) && grouped(spec.output_channels) {
        Ok(op)
    } else {
        Err(Broken("a transposed convolution of other channels or axes"))
    }
}

/// Whether a transposed convolution can have these inputs.
pub(super) fn holds_deconv(op: &Deconv, inputs: &[&TypedFact]) -> bool {
    let [image, kernel, bias] = inputs else { return false };
    let rank = op.pool_spec.rank();
    let innermost = matches!(op.kernel_format, KernelFormat::HWIO);
    let sides = if innermost { 0..rank } else { 2..rank + 2 };
    let sides = if op.kernel_format == KernelFormat::OHWI { 1..rank + 1 } else { sides };
    image.rank() == rank + 1 + usize::from(op.pool_spec.data_format.has_n())
        && kernel.rank() == rank + 2
        && bias.rank() <= 1
        && kernel.shape.as_concrete().is_some_and(|shape| shape[sides] == op.pool_spec.kernel_shape[..])
}

/// Whether the gates of an LSTM can have these inputs: what they are made of, four times as wide as the state, which both are of
/// `hidden` numbers a row. tract reads them as of one type, whatever they are.
pub(super) fn holds_gates(hidden: usize, inputs: &[&TypedFact]) -> bool {
    let [gates, state] = inputs else { return false };
    let (Some(gates_shape), Some(shape)) = (gates.shape.as_concrete(), state.shape.as_concrete()) else {
        return false;
    };
    let numbers = |shape: &[usize]| shape.iter().product::<usize>();
    gates.datum_type == state.datum_type
        && gates.datum_type.is_float()
        && hidden > 0
        && shape.last() == Some(&hidden)
        && numbers(shape).checked_mul(4) == Some(numbers(gates_shape))
}

fn write_info(info: &ScanInfo, to: &mut Writer<'_>) {
    to.size(info.axis);
    to.flag(info.chunk < 0);
    to.size(info.chunk.unsigned_abs());
}

fn read_info(from: &mut Reader<'_>) -> Result<ScanInfo, Broken> {
    let (axis, back, chunk) = (from.size()?, from.flag()?, from.size()?);
    if !(1..=MOST).contains(&chunk) {
        return Err(Broken("a sequence of no steps"));
    }
    let chunk = chunk as isize;
    Ok(ScanInfo { axis, chunk: if back { -chunk } else { chunk } })
}

fn write_slot(slot: Option<usize>, to: &mut Writer<'_>) {
    to.size(slot.map_or(0, |slot| slot + 1));
}

fn read_slot(from: &mut Reader<'_>) -> Result<Option<usize>, Broken> {
    Ok(from.size()?.checked_sub(1))
}

/// Writes a sequence; none where something of its body has no image.
pub(super) fn write_scan<'a>(op: &'a Scan, to: &mut Writer<'a>) -> Option<()> {
    to.size(op.skip);
    to.flag(op.reset_every_turn);
    to.flag(op.external_state);
    to.flag(op.decluttered);
    to.size(op.input_mapping.len());
    for mapping in &op.input_mapping {
        match mapping {
            InputMapping::Full => to.number(0),
            InputMapping::State => to.number(1),
            InputMapping::Scan(info) => {
                to.number(2);
                write_info(info, to);
            }
        }
    }
    to.size(op.output_mapping.len());
    for mapping in &op.output_mapping {
        write_slot(mapping.scan.map(|(slot, _)| slot), to);
        if let Some((_, info)) = &mapping.scan {
            write_info(info, to);
        }
        let hint = match &mapping.full_dim_hint {
            Some(hint) => Some(hint.to_usize().ok()?),
            None => None,
        };
        write_slot(hint, to);
        write_slot(mapping.last_value_slot, to);
        to.flag(mapping.state);
    }
    graph::write_model(&op.body, to, true)
}

/// Reads a sequence.
pub(super) fn read_scan(from: &mut Reader<'_>) -> Result<Scan, Broken> {
    let skip = from.size()?;
    let [reset_every_turn, external_state, decluttered] = [from.flag()?, from.flag()?, from.flag()?];
    let input_mapping = (0..from.count()?)
        .map(|_| {
            Ok(match from.number()? {
                0 => InputMapping::Full,
                1 => InputMapping::State,
                2 => InputMapping::Scan(read_info(from)?),
                _ => return Err(Broken("an input of a sequence that is not known")),
            })
        })
        .collect::<Result<Vec<_>, Broken>>()?;
    let output_mapping = (0..from.count()?)
        .map(|_| {
            let scan = match read_slot(from)? {
                Some(slot) => Some((slot, read_info(from)?)),
                None => None,
            };
            let full_dim_hint = read_slot(from)?.map(|hint| hint.to_dim());
            Ok(OutputMapping { scan, full_dim_hint, last_value_slot: read_slot(from)?, state: from.flag()? })
        })
        .collect::<Result<Vec<_>, Broken>>()?;
    let body = graph::read_model(from, true)?;
    Ok(Scan { skip, reset_every_turn, external_state, body, decluttered, input_mapping, output_mapping })
}

/// Whether a sequence can have these inputs: as its body has them, but along the axis that it goes by.
pub(super) fn holds_scan(op: &Scan, inputs: &[&TypedFact]) -> bool {
    let Scan { body, input_mapping, output_mapping, .. } = op;
    let (Ok(ins), Ok(outs)) = (body.input_outlets(), body.output_outlets()) else { return false };
    if inputs.len() != ins.len() || ins.len() != input_mapping.len() || outs.len() != output_mapping.len() {
        return false;
    }
    let mut rounds = None;
    for ((input, inner), mapping) in inputs.iter().zip(ins).zip(input_mapping) {
        let Ok(inner) = body.outlet_fact(*inner) else { return false };
        let (Some(outer), Some(shape)) = (input.shape.as_concrete(), inner.shape.as_concrete()) else {
            return false;
        };
        let fits = match mapping {
            InputMapping::Scan(info) => {
                let chunk = info.chunk.unsigned_abs();
                let along = |ix: usize| if ix == info.axis { chunk } else { outer[ix] };
                let same = shape.len() == outer.len()
                    && info.axis < outer.len()
                    && shape.iter().enumerate().all(|(ix, length)| *length == along(ix))
                    && outer[info.axis].is_multiple_of(chunk);
                let turns = if same { outer[info.axis] / chunk } else { 0 };
                same && *rounds.get_or_insert(turns) == turns
            }
            _ => outer == shape,
        };
        if !fits || input.datum_type != inner.datum_type {
            return false;
        }
    }
    let Some(rounds) = rounds else { return false };
    outs.iter().zip(output_mapping).all(|(inner, mapping)| {
        let Ok(inner) = body.outlet_fact(*inner) else { return false };
        let Some(shape) = inner.shape.as_concrete() else { return false };
        mapping.scan.is_none_or(|(_, info)| {
            let whole = |axis: usize| shape[axis].checked_mul(rounds).map(|length| length.to_dim());
            let chunk = info.chunk.unsigned_abs();
            info.axis < shape.len()
                && shape[info.axis] == chunk
                && mapping.full_dim_hint.as_ref().is_none_or(|hint| whole(info.axis).as_ref() == Some(hint))
        })
    })
}
