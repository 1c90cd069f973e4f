//! Convolutions of each channel by itself on patches of output pixels, where there are patches: 3 × 3 of stride 1 and 2, of
//! whole vectors of channels, nothing added. The image is read where it lies; what is outside of it is one pixel of zeros.

use super::HwcDepthwise;
use crate::patch::{CHANNELS, Call, MOST_SEEN, Patch, largest};
use crate::price::{ROOM, ZERO};

/// A call beside what the patch is charged.
const CALL: u64 = 250;
/// The address of a pixel that windows see.
const ADDRESS: u64 = 15;

impl HwcDepthwise {
    /// Whether there are patches for it, with something added or not.
    pub(super) fn is_patched(&self, residual: bool) -> bool {
        !residual
            && self.window.kernel == [3, 3]
            && matches!(self.window.stride, [1, 1] | [2, 2])
            && self.channels >= CHANNELS
            && self.channels.is_multiple_of(4)
    }

    /// The patches that cover the outputs, with the row and the column that each begins at.
    fn patches(&self) -> impl Iterator<Item = (&'static Patch, [usize; 2])> {
        let ([rows, columns], stride) = (self.window.output, self.window.stride[0]);
        let [mut row, mut column] = [0, 0];
        std::iter::from_fn(move || {
            if row == rows || columns == 0 {
                return None;
            }
            let (patch, [down, across]) = largest(stride, rows - row, columns - column);
            let at = [row, column];
            column += across;
            // All patches of a row are as high: that depends on what is left below.
            if column == columns {
                (row, column) = (row + down, 0);
            }
            Some((patch, at))
        })
    }

    /// The channels that calls begin at, and their rounds: the last sixteen are computed again in part where they overlap.
    fn rounds(&self) -> impl Iterator<Item = (usize, usize)> + Clone {
        let rest = usize::from(!self.channels.is_multiple_of(CHANNELS));
        [(0, self.channels / CHANNELS), (self.channels - CHANNELS, rest)]
            .into_iter()
            .filter(|(_, rounds)| *rounds > 0)
    }

    /// What [`HwcDepthwise::by_patches`] takes: what patches are charged, and about what calling them is.
    pub(super) fn instructions_by_patches(&self) -> u64 {
        let called = |patch: &Patch| -> u64 {
            let [down, across] = patch.seen();
            let addresses = (down * across) as u64 * ADDRESS;
            let rounds = self.rounds().map(|(_, rounds)| {
                CALL + addresses + u64::from(patch.fixed) + rounds as u64 * u64::from(patch.round)
            });
            rounds.sum()
        };
        let zeros = ROOM + ZERO * self.channels as u64;
        zeros + self.patches().map(|(patch, _)| called(patch)).sum::<u64>()
    }

    /// Convolves one image.
    ///
    /// # Safety
    /// There are patches for it (`is_patched`); image and outputs have all channels of every pixel.
    pub(super) unsafe fn by_patches(&self, image: &[f32], out: &mut [f32], bounds: Option<(f32, f32)>) {
        let [height, width] = self.window.input;
        let ([above, left], stride) = (self.window.before, self.window.stride[0]);
        let channels = self.channels;
        let zeros = vec![0.0f32; channels];
        let bounds = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let mut seen = [zeros.as_ptr(); MOST_SEEN];
        for (patch, [row, column]) in self.patches() {
            let [down, across] = patch.seen();
            for (first, rounds) in self.rounds() {
                let nothing = zeros[first..].as_ptr();
                for (ix, seen) in seen[..down * across].chunks_exact_mut(across).enumerate() {
                    let y = (row * stride + ix).wrapping_sub(above);
                    let line = if y < height { width } else { 0 };
                    // Only where the pixel is on the image is it read.
                    let mut at = image
                        .as_ptr()
                        .wrapping_add(y.wrapping_mul(width).wrapping_mul(channels).wrapping_add(first));
                    let mut x = (column * stride).wrapping_sub(left);
                    at = at.wrapping_add(x.wrapping_mul(channels));
                    for seen in seen {
                        *seen = if x < line { at } else { nothing };
                        x = x.wrapping_add(1);
                        at = at.wrapping_add(channels);
                    }
                }
                let place = (row * self.window.output[1] + column) * channels + first;
                let call = Call {
                    seen: seen.as_ptr(),
                    out: out[place..].as_mut_ptr(),
                    out_row: self.window.output[1] * channels,
                    out_pixel: channels,
                    kernel: self.kernel[9 * first..].as_ptr(),
                    bias: self.bias[first..].as_ptr(),
                    rounds,
                    bounds,
                };
                // SAFETY: pixels of the table are the image's or `zeros`, which have all channels; `patches` are within the
                // outputs and `rounds` within the channels.
                unsafe { patch.call(&call) };
            }
        }
    }
}
