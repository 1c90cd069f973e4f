//! Convolutions of some rows of an image's outputs: what a large one is cut into, so that a run can be left within it.
//!
//! A band is a convolution by the same weights over the rows of the input that its outputs see. Of planes these rows lie apart: they are
//! copied beside one another, and the outputs back.

use std::borrow::Cow;
use std::ops::Range;

use ic_nn_kernels::product::After;
use ic_nn_kernels::{Window, copy};
use tract_onnx::tract_core::internal::*;

use super::node::Body;
use super::volume::Depth;

/// Rows of outputs in a band at least: whole patches of every filter. Tests cut smaller images.
const ROWS: usize = if cfg!(test) { 4 } else { 8 };

/// Into how many bands the outputs of a window can be cut.
pub(crate) fn bands(window: &Window) -> usize {
    // Bands that see nothing but zeros are left to their neighbours: then there is one.
    let bands = (window.output[0] / ROWS).max(1);
    let seen = |band: usize| window.band(rows(window, band..band + 1)).is_some();
    if seen(0) && seen(bands - 1) { bands } else { 1 }
}

/// The rows of these bands. The last has what is left.
pub(crate) fn rows(window: &Window, bands: Range<usize>) -> Range<usize> {
    let all = (window.output[0] / ROWS).max(1);
    bands.start * ROWS..if bands.end >= all { window.output[0] } else { bands.end * ROWS }
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
            let rows = rows(window, part.start - ix * bands..part.end - ix * bands);
            let (within, seen) = window.band(rows.clone()).context("a band sees nothing")?;
            let band = self.within(within).context("a convolution is expected")?;
            let (to, from) = ([window.output[0], window.output[1]], [window.input[0], window.input[1]]);
            if innermost {
                let lies = |rows: &Range<usize>, [height, _]: [usize; 2], numbers: usize| {
                    let line = numbers / height;
                    rows.start * line..rows.end * line
                };
                let span = lies(&rows, to, produced);
                let after = After { residual: after.residual.map(|r| &r[span.clone()]), ..after };
                band.convolve(&image[lies(&seen, from, size)], &mut out[span], after);
            } else {
                let image = taken(image, from, &seen);
                let residual = after.residual.map(|r| taken(r, to, &rows));
                let mut made = vec![0.0; produced / to[0] * rows.len()];
                band.convolve(&image, &mut made, After { residual: residual.as_deref(), ..after });
                put(&made, out, to, &rows);
            }
        }
        Ok(())
    }
}

/// Rows of planes, one behind the other.
fn taken(planes: &[f32], [height, width]: [usize; 2], rows: &Range<usize>) -> Vec<f32> {
    let (area, band) = (height * width, rows.len() * width);
    let mut taken = vec![0.0; planes.len() / area * band];
    for (plane, to) in planes.chunks_exact(area).zip(taken.chunks_exact_mut(band)) {
        copy(&plane[rows.start * width..], to);
    }
    taken
}

/// Puts rows back into planes.
fn put(band: &[f32], planes: &mut [f32], [height, width]: [usize; 2], rows: &Range<usize>) {
    let each = band.chunks_exact(rows.len() * width);
    for (from, plane) in each.zip(planes.chunks_exact_mut(height * width)) {
        copy(from, &mut plane[rows.start * width..rows.end * width]);
    }
}
