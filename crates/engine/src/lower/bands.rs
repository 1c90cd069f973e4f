//! Convolutions of some rows or columns of an image's outputs: what a large one is cut into, so that a run can be left within it.
//!
//! A band is a convolution by the same weights over the part of the input that its outputs see. Where that does not lie side by side, as
//! rows of planes do not, it is copied, and the outputs back.

use std::borrow::Cow;
use std::ops::Range;

use ic_nn_kernels::product::After;
use ic_nn_kernels::{Window, copy};
use tract_onnx::tract_core::internal::*;

use super::node::Body;
use super::volume::Depth;

/// Rows of outputs in a band at least: whole patches of every filter. Tests cut smaller images.
const ROWS: usize = if cfg!(test) { 4 } else { 8 };

/// Columns of outputs in a band at least, where an image has few rows: whole tiles.
const COLUMNS: usize = if cfg!(test) { 4 } else { 64 };

/// Along which axis a window's outputs are cut, and how many places of it a band has at least: rows, or columns of images that are
/// lines.
fn axis(window: &Window) -> (usize, usize) {
    let [height, width] = window.output;
    if height < 2 * ROWS && width >= 2 * COLUMNS { (1, COLUMNS) } else { (0, ROWS) }
}

/// Some outputs of a window: these places along an axis.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    axis: usize,
    places: Range<usize>,
}

impl Band {
    /// These of the bands. The last has what is left.
    pub(crate) fn of(window: &Window, bands: Range<usize>) -> Band {
        let (axis, least) = axis(window);
        let all = (window.output[axis] / least).max(1);
        let end = if bands.end >= all { window.output[axis] } else { bands.end * least };
        Band { axis, places: bands.start * least..end }
    }

    /// The windows of the band, and the part of the input that they see; none where that is nothing.
    pub(crate) fn within(&self, window: &Window) -> Option<(Window, Band)> {
        let (window, places) = window.band(self.axis, self.places.clone())?;
        Some((window, Band { axis: self.axis, places }))
    }

    /// How its numbers lie in planes of these lengths, each pixel being `step` numbers.
    pub(crate) fn runs(&self, [height, width]: [usize; 2], step: usize) -> Runs {
        let (apart, within) =
            if self.axis == 0 { (height * width * step, width * step) } else { (width * step, step) };
        Runs { apart, first: self.places.start * within, length: self.places.len() * within }
    }
}

/// Runs of numbers, one in each so many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    apart: usize,
    first: usize,
    length: usize,
}

impl Runs {
    /// Where they are, where it is one run of so many numbers.
    fn one(&self, numbers: usize) -> Option<Range<usize>> {
        (numbers == self.apart).then_some(self.first..self.first + self.length)
    }

    /// How many they are of so many numbers.
    pub(crate) fn count(&self, numbers: usize) -> usize {
        numbers / self.apart * self.length
    }

    /// Takes them out.
    pub(crate) fn take<T>(&self, from: &[T], to: &mut [T], copy: impl Fn(&[T], &mut [T])) {
        for (from, to) in from.chunks_exact(self.apart).zip(to.chunks_exact_mut(self.length)) {
            copy(&from[self.first..self.first + self.length], to);
        }
    }

    /// Puts them in.
    pub(crate) fn put<T>(&self, from: &[T], to: &mut [T], copy: impl Fn(&[T], &mut [T])) {
        for (from, to) in from.chunks_exact(self.length).zip(to.chunks_exact_mut(self.apart)) {
            copy(from, &mut to[self.first..self.first + self.length]);
        }
    }

    /// The numbers of them, where they lie if that is one run.
    fn of<'a>(&self, from: &'a [f32]) -> Cow<'a, [f32]> {
        if let Some(span) = self.one(from.len()) {
            return Cow::Borrowed(&from[span]);
        }
        let mut taken = vec![0.0; self.count(from.len())];
        self.take(from, &mut taken, copy);
        Cow::Owned(taken)
    }
}

/// Into how many bands the outputs of a window can be cut.
pub(crate) fn bands(window: &Window) -> usize {
    // Bands that see nothing but zeros are left to their neighbours: then there is one.
    let (axis, least) = axis(window);
    let bands = (window.output[axis] / least).max(1);
    let seen = |band: usize| Band::of(window, band..band + 1).within(window).is_some();
    if seen(0) && seen(bands - 1) { bands } else { 1 }
}

impl Body {
    /// The windows of a convolution, and whether its channels are innermost.
    fn lies(&self) -> Option<(&Window, bool)> {
        Some(match self {
            Body::Conv(conv) => (conv.window(), false),
            Body::Winograd(conv) => (conv.window(), conv.is_innermost()),
            Body::Strided(conv) => (conv.window(), conv.is_innermost()),
            Body::Lines(conv) => (conv.window(), conv.is_innermost()),
            Body::Depthwise(conv) => (conv.window(), false),
            Body::HwcConv(conv) => (conv.window(), true),
            Body::HwcDepthwise(conv) => (conv.window(), true),
            _ => return None,
        })
    }

    /// Into how many bands a convolution can be cut.
    pub(super) fn bands(&self) -> usize {
        self.lies().map_or(1, |(window, _)| bands(window))
    }

    /// The same convolution over other sizes.
    fn within(&self, window: Window) -> Option<Body> {
        Some(match self {
            Body::Conv(conv) => Body::Conv(conv.within(window)),
            Body::Winograd(conv) => Body::Winograd(conv.within(window)),
            Body::Strided(conv) => Body::Strided(conv.within(window)),
            Body::Lines(conv) => Body::Lines(conv.within(window)),
            Body::Depthwise(conv) => Body::Depthwise(conv.within(window)),
            Body::HwcConv(conv) => Body::HwcConv(conv.within(window)),
            Body::HwcDepthwise(conv) => Body::HwcDepthwise(conv.within(window)),
            _ => return None,
        })
    }

    /// Convolves an image.
    fn convolve(&self, image: &[f32], out: &mut [f32], after: After<'_>) {
        match self {
            Body::Conv(conv) => conv.run(image, out, after),
            Body::Winograd(conv) => conv.run(image, out, after),
            Body::Strided(conv) => conv.run(image, out, after),
            Body::Lines(conv) => conv.run(image, out, after),
            Body::Depthwise(conv) => conv.run(image, out, after),
            Body::HwcConv(conv) => conv.run(image, out, after),
            Body::HwcDepthwise(conv) => conv.run(image, out, after),
            _ => {}
        }
    }

    /// Convolves these of the bands of the `count` images that lie one behind the other.
    pub(super) fn images(
        &self,
        (image, out): (&[f32], &mut [f32]),
        after: After<'_>,
        (count, depth, wanted): (usize, Option<&Depth>, Range<usize>),
    ) -> TractResult<()> {
        let (window, innermost) = self.lies().context("a convolution is expected")?;
        let apart = depth.is_some() || image.len().is_multiple_of(count.max(1));
        let whole = count > 0 && apart && out.len().is_multiple_of(count);
        ensure!(whole && !image.is_empty() && !out.is_empty(), "{count} images in {} numbers", image.len());
        let (all, size) = (image, depth.map_or(image.len() / count, Depth::size));
        let (produced, bands) = (out.len() / count, self.bands());
        for (ix, out) in out.chunks_exact_mut(produced).enumerate() {
            let part = wanted.start.max(ix * bands)..wanted.end.min((ix + 1) * bands);
            if part.is_empty() {
                continue;
            }
            let image = match depth {
                Some(depth) => depth.image(all, ix)?,
                None => Cow::Borrowed(&all[ix * size..(ix + 1) * size]),
            };
            let image = &*image;
            let after =
                After { residual: after.residual.map(|r| &r[ix * produced..(ix + 1) * produced]), ..after };
            if part.len() == bands {
                self.convolve(image, out, after);
                continue;
            }
            let band = Band::of(window, part.start - ix * bands..part.end - ix * bands);
            let (within, seen) = band.within(window).context("a band sees nothing")?;
            let kernel = self.within(within).context("a convolution is expected")?;
            let step = |numbers: usize, [height, width]: [usize; 2]| {
                if innermost { numbers / (height * width) } else { 1 }
            };
            let seen = seen.runs(window.input, step(size, window.input));
            let made = band.runs(window.output, step(produced, window.output));
            let image = seen.of(image);
            let residual = after.residual.map(|residual| made.of(residual));
            let after = After { residual: residual.as_deref(), ..after };
            if let Some(span) = made.one(produced) {
                kernel.convolve(&image, &mut out[span], after);
            } else {
                let mut band = vec![0.0; made.count(produced)];
                kernel.convolve(&image, &mut band, after);
                made.put(&band, out, copy);
            }
        }
        Ok(())
    }
}
