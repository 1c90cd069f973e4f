//! Images of the kernels: their fields in order. What is read is held to what a kernel's own constructor would have made of
//! the same shapes, for their loops rest on it.

use std::sync::Arc;

use super::{Broken, Imaged, Reader, Writer};
use crate::product::{By, Weights};
use crate::quantised::{LONGEST, WholeWeights};
use crate::strassen::Strassen;
use crate::tile::Family;
use crate::{
    Conv, Depthwise, HwcConv, HwcDepthwise, Lines, MaxPool, Mean, MeanPool, Panels, Strided, Window,
    Winograd, lines, strided, winograd,
};

/// Lengths that kernels multiply without looking: no product of three of them overflows what 64 bits hold.
const MOST: usize = 1 << 20;

/// Holds an image to what has to be.
pub(super) fn must(holds: bool, what: &'static str) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(what)) }
}

/// A product of lengths; none where it is more than can be addressed.
pub(super) fn product(lengths: &[usize]) -> Option<usize> {
    lengths
        .iter()
        .try_fold(1usize, |all, length| all.checked_mul(*length))
        .filter(|all| *all < isize::MAX as usize)
}

impl Imaged for Window {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        let Window { input, kernel, stride, dilation, before, output } = self;
        [input, kernel, stride, dilation, before, output].into_iter().flatten().for_each(|n| to.size(*n));
    }

    fn read(from: &mut Reader<'_>) -> Result<Window, Broken> {
        let mut pair = || Ok([from.size()?, from.size()?]);
        let window = Window {
            input: pair()?,
            kernel: pair()?,
            stride: pair()?,
            dilation: pair()?,
            before: pair()?,
            output: pair()?,
        };
        let Window { input, kernel, stride, dilation, before, output } = &window;
        let positive = [input, kernel, stride, dilation, output].into_iter().flatten();
        must(positive.chain(before).all(|n| *n <= MOST), "a window is too large")?;
        let positive = [input, kernel, stride, dilation, output].into_iter().flatten();
        must(positive.into_iter().all(|n| *n > 0), "a window is empty")?;
        Ok(window)
    }
}

impl Imaged for By {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.flag(*self == By::Columns);
    }

    fn read(from: &mut Reader<'_>) -> Result<By, Broken> {
        Ok(if from.flag()? { By::Columns } else { By::Rows })
    }
}

/// Outputs that panels have room for.
pub(super) fn covered(by: By, outputs: usize) -> usize {
    if by == By::Columns { outputs.next_multiple_of(4) } else { outputs }
}

impl Imaged for Weights {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.by.write(to);
        to.sizes(&[self.outputs, self.k]);
        to.numbers(&self.packed);
        to.floats(&self.bias);
    }

    fn read(from: &mut Reader<'_>) -> Result<Weights, Broken> {
        let by = By::read(from)?;
        let [outputs, k] = pair(from)?;
        let (packed, bias) = (from.numbers()?, from.floats()?);
        let covered = covered(by, outputs);
        must(product(&[covered, k]) == Some(packed.len()), "weights are not as many as their shape says")?;
        must(bias.len() == covered, "a bias has another length than its outputs")?;
        Ok(Weights { by, outputs, k, packed, bias })
    }
}

/// Two lengths.
pub(super) fn pair(from: &mut Reader<'_>) -> Result<[usize; 2], Broken> {
    let pair: [usize; 2] = from.sizes()?.try_into().map_err(|_| Broken("two lengths are expected"))?;
    must(pair.iter().all(|n| *n <= 1 << 28), "a length is too large")?;
    Ok(pair)
}

impl Imaged for WholeWeights {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.by.write(to);
        to.sizes(&[self.outputs, self.k]);
        to.float(self.most);
        to.size(self.bytes);
        to.whole_numbers(&self.packed);
        to.floats(&self.scales);
        to.floats(&self.bias);
    }

    fn read(from: &mut Reader<'_>) -> Result<WholeWeights, Broken> {
        let by = By::read(from)?;
        let [outputs, k] = pair(from)?;
        let most = from.float()?;
        let bytes = from.size()?;
        let tiles = match (by, bytes) {
            (By::Rows, 1) => Family::I8Splat,
            (By::Columns, 1) => Family::I8Vector,
            (By::Rows, 2) => Family::I16Splat,
            (By::Columns, 2) => Family::I16Vector,
            _ => return Err(Broken("a weight has one byte or two")),
        };
        let (packed, scales, bias) = (from.whole_numbers()?, from.floats()?, from.floats()?);
        let covered = covered(by, outputs);
        must(k <= LONGEST && (1.0..=32_767.0).contains(&most), "sums are too long")?;
        must(
            product(&[bytes, covered, k.next_multiple_of(2)]) == Some(packed.len()),
            "weights are not as many as their shape says",
        )?;
        must(scales.len() == covered && bias.len() == covered, "scales or a bias have another length")?;
        Ok(WholeWeights { by, tiles, most, bytes, outputs, k, packed, scales, bias })
    }
}

impl Imaged for Strassen {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.by.write(to);
        to.sizes(&[self.outputs, self.k]);
        to.each(&self.parts);
        to.floats(&self.bias);
    }

    fn read(from: &mut Reader<'_>) -> Result<Strassen, Broken> {
        let by = By::read(from)?;
        let [outputs, k] = pair(from)?;
        let (parts, bias) = (from.each::<Weights>()?, from.floats()?);
        let even = if by == By::Columns { 8 } else { 2 };
        must(
            outputs.is_multiple_of(even) && k.is_multiple_of(even) && outputs * k > 0,
            "halves are not whole",
        )?;
        let quarter = |w: &Weights| w.by == by && w.outputs == outputs / 2 && w.k == k / 2;
        must(parts.len() == 7 && parts.iter().all(quarter), "seven quarters are expected")?;
        must(bias.len() == outputs, "a bias has another length than its outputs")?;
        Ok(Strassen { by, outputs, k, parts, bias })
    }
}

impl Imaged for Panels {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        match self {
            Panels::F32(weights) => {
                to.number(0);
                weights.write(to);
            }
            Panels::Strassen(weights) => {
                to.number(1);
                weights.write(to);
            }
            Panels::Whole(weights) => {
                to.number(2);
                weights.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Panels, Broken> {
        Ok(match from.number()? {
            0 => Panels::F32(Imaged::read(from)?),
            1 => Panels::Strassen(Imaged::read(from)?),
            2 => Panels::Whole(Imaged::read(from)?),
            _ => return Err(Broken("panels of a kind that is not known")),
        })
    }
}

/// Panels of a product with that many sums and outputs.
fn panels_of(panels: &Panels, by: By, k: usize, outputs: usize) -> bool {
    let side = match panels {
        Panels::F32(weights) => weights.by,
        Panels::Strassen(weights) => weights.by,
        Panels::Whole(weights) => weights.by,
    };
    side == by && panels.k() == k && panels.outputs() == outputs
}

impl Imaged for Conv {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.window.write(to);
        to.size(self.channels);
        to.each(&self.groups);
    }

    fn read(from: &mut Reader<'_>) -> Result<Conv, Broken> {
        let (window, channels, groups) = (Window::read(from)?, from.size()?, from.each::<Panels>()?);
        let k = product(&[channels, window.places()]).filter(|k| *k > 0);
        let outputs = groups.first().map_or(0, Panels::outputs);
        let fits = |k| groups.iter().all(|panels| panels_of(panels, By::Rows, k, outputs));
        must(k.is_some_and(fits) && outputs > 0, "weights are not those of the convolution")?;
        Ok(Conv { window, channels, groups: Arc::new(groups) })
    }
}

impl Imaged for HwcConv {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.window.write(to);
        to.size(self.channels);
        self.weights.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<HwcConv, Broken> {
        let (window, channels, weights) = (Window::read(from)?, from.size()?, Panels::read(from)?);
        let k = product(&[channels, window.places()]).filter(|k| *k > 0);
        let fits = |k| panels_of(&weights, By::Columns, k, weights.outputs());
        must(k.is_some_and(fits), "weights are not those of the convolution")?;
        Ok(HwcConv { window, channels, weights: Arc::new(weights) })
    }
}

/// Window, channels, outputs, whether channels are innermost: of a convolution by minimal filtering.
fn filtered(from: &mut Reader<'_>) -> Result<(Window, [usize; 2], bool), Broken> {
    let window = Window::read(from)?;
    let [channels, outputs] = pair(from)?;
    must(channels > 0 && outputs >= 4, "too few channels or outputs")?;
    Ok((window, [channels, outputs], from.flag()?))
}

/// A convolution of 3 × 3 by minimal filtering along both axes, which moves by `stride` and has so many `places`.
macro_rules! filtered_3x3 {
    ($name:ident, $stride:literal, $places:expr) => {
        impl Imaged for $name {
            fn write<'a>(&'a self, to: &mut Writer<'a>) {
                self.window.write(to);
                to.sizes(&[self.channels, self.outputs]);
                to.flag(self.innermost);
                to.each(&self.weights);
                to.floats(&self.bias);
            }

            fn read(from: &mut Reader<'_>) -> Result<$name, Broken> {
                let (window, [channels, outputs], innermost) = filtered(from)?;
                let (weights, bias) = (from.each::<Panels>()?, from.floats()?);
                let fits = weights.iter().all(|panels| panels_of(panels, By::Columns, channels, outputs));
                let moves = window.stride == [$stride; 2] && window.dilation == [1, 1];
                must(window.kernel == [3, 3] && moves && channels >= 4, "a window that is not filtered so")?;
                let whole = weights.len() == $places && bias.len() == outputs;
                must(fits && whole, "weights are not the filter's")?;
                Ok($name { window, channels, outputs, innermost, weights: Arc::new(weights), bias })
            }
        }
    };
}

filtered_3x3!(Winograd, 1, winograd::PLACES);
filtered_3x3!(Strided, 2, strided::KINDS * strided::KINDS);

impl Imaged for Lines {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.window.write(to);
        to.sizes(&[self.channels, self.outputs]);
        to.flag(self.innermost);
        to.each(&self.weights);
        to.floats(&self.bias);
    }

    fn read(from: &mut Reader<'_>) -> Result<Lines, Broken> {
        let (window, [channels, outputs], innermost) = filtered(from)?;
        let (weights, bias) = (from.each::<Weights>()?, from.floats()?);
        let k = product(&[channels, window.kernel[0]]);
        let fits = weights.iter().all(|w| w.by == By::Columns && Some(w.k) == k && w.outputs == outputs);
        let takes = window.kernel[1] == lines::WIDTH && window.stride[1] == 2 && window.dilation == [1, 1];
        must(takes, "a window that is not filtered so")?;
        must(fits && weights.len() == lines::SIDE && bias.len() == outputs, "weights are not the filter's")?;
        Ok(Lines { window, channels, outputs, innermost, weights: Arc::new(weights), bias })
    }
}

impl Imaged for Depthwise {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.window.write(to);
        to.floats(&self.kernel);
        to.floats(&self.bias);
    }

    fn read(from: &mut Reader<'_>) -> Result<Depthwise, Broken> {
        let (window, kernel, bias) = (Window::read(from)?, from.floats()?, from.floats()?);
        must(Depthwise::takes(&window), "a window that is not convolved so")?;
        let numbers = product(&[bias.len(), window.places()]);
        must(numbers == Some(kernel.len()), "weights are not those of the convolution")?;
        Ok(Depthwise { window, kernel, bias })
    }
}

impl Imaged for HwcDepthwise {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.window.write(to);
        to.size(self.channels);
        to.floats(&self.kernel);
        to.floats(&self.bias);
    }

    fn read(from: &mut Reader<'_>) -> Result<HwcDepthwise, Broken> {
        let (window, channels) = (Window::read(from)?, from.size()?);
        let (kernel, bias) = (from.floats()?, from.floats()?);
        must(HwcDepthwise::takes(&window, channels), "a window that is not convolved so")?;
        let numbers = product(&[4, channels.div_ceil(4), window.places()]);
        let fits = numbers == Some(kernel.len()) && bias.len() == channels;
        must(fits, "weights are not those of the convolution")?;
        Ok(HwcDepthwise { window, channels, kernel, bias })
    }
}

impl Imaged for MaxPool {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.window.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<MaxPool, Broken> {
        let window = Window::read(from)?;
        must(MaxPool::takes(&window), "a window that has no maxima here")?;
        Ok(MaxPool::new(window))
    }
}

impl Imaged for MeanPool {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.window.write(to);
        match self.of {
            Mean::Sum => to.number(0),
            Mean::Image => to.number(1),
            Mean::Padded(padded) => {
                to.number(2);
                padded.into_iter().for_each(|length| to.number(length as u64));
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<MeanPool, Broken> {
        let window = Window::read(from)?;
        must(MeanPool::takes(&window), "a window that has no means here")?;
        let of = match from.number()? {
            0 => Mean::Sum,
            1 => Mean::Image,
            2 => Mean::Padded([from.size()?, from.size()?]),
            _ => return Err(Broken("a mean that is not known")),
        };
        Ok(MeanPool::new(window, of))
    }
}
