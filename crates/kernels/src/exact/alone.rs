//! Convolutions of bytes of each channel by itself, in planes.
//!
//! A dot multiplies pairs that lie side by side, and a window's row is such pairs: eight numbers from a pixel on hold the first pairs
//! of the windows at that pixel and at every other one after it, from the next pixel on those of the windows between. With a
//! stride of 2 there are none between. A row of odd length ends with a pair whose second weight is 0.

use std::mem::MaybeUninit;

use super::Bytes;
use crate::whole::I32x4;
use crate::window::Window;

/// Outputs of a step of four vectors, and of one of two.
const WIDE: usize = 16;
const NARROW: usize = 8;

/// The weights of such a convolution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alone {
    /// Outputs of a channel.
    pub(crate) each: usize,
    /// Of each output the rows of its window: pairs of int16, four bytes.
    pub(crate) pairs: Vec<u8>,
}

impl Alone {
    /// Whether windows are convolved so.
    pub(crate) fn takes(window: &Window, channels: usize) -> bool {
        channels == 1 && window.dilation[1] == 1 && matches!(window.stride[1], 1 | 2)
    }

    /// Packs the windows of all outputs.
    pub(crate) fn new(window: &Window, each: usize, w: &[i16]) -> Alone {
        let pairs = w.chunks_exact(window.kernel[1]).flat_map(|row| {
            row.chunks(2).flat_map(|pair| {
                let [low, high] = [0, 1].map(|at| pair.get(at).copied().unwrap_or(0).to_le_bytes());
                [low[0], low[1], high[0], high[1]]
            })
        });
        Alone { each, pairs: pairs.collect() }
    }

    /// Pairs of a window.
    pub(crate) fn places(window: &Window) -> usize {
        window.kernel[0] * window.kernel[1].div_ceil(2)
    }

    /// Numbers from row to row of the plane between zeros: whatever a step reads is there.
    pub(super) fn pitch(window: &Window) -> usize {
        let seen = (window.output[1].next_multiple_of(NARROW) + NARROW) * window.stride[1];
        seen + window.kernel[1] + 8
    }

    /// Numbers of that plane.
    pub(super) fn plane(window: &Window, rows: usize) -> usize {
        rows * Alone::pitch(window)
    }

    /// Convolves an image, planes one behind the other, of which windows reach so many rows and columns.
    ///
    /// # Panics
    /// Where lengths do not fit.
    pub(super) fn run(
        &self,
        window: &Window,
        [rows, columns]: [usize; 2],
        image: Bytes<'_>,
        out: &mut [MaybeUninit<i32>],
    ) {
        let (pitch, area, pixels) = (Alone::pitch(window), window.area(), window.pixels());
        let mut plane = vec![0i16; Alone::plane(window, rows)];
        let [down, across] = [0, 1].map(|axis| {
            let reached = [rows, columns][axis];
            window.input[axis].min(reached.saturating_sub(window.before[axis]))
        });
        let places = 4 * Alone::places(window);
        let pairs = self.pairs.chunks_exact(places * self.each);
        assert!(out.len() == pairs.len() * self.each * pixels, "as many outputs");
        for (channel, (pairs, out)) in pairs.zip(out.chunks_exact_mut(self.each * pixels)).enumerate() {
            for row in 0..if across > 0 { down } else { 0 } {
                let from = channel * area + row * window.input[1];
                let to = (window.before[0] + row) * pitch + window.before[1];
                image.part(from..from + across).widen(&mut plane[to..to + across]);
            }
            for (pairs, out) in pairs.chunks_exact(places).zip(out.chunks_exact_mut(pixels)) {
                match window.stride[1] {
                    1 => lines::<1>(window, &plane, pitch, pairs, out),
                    _ => lines::<2>(window, &plane, pitch, pairs, out),
                }
            }
        }
    }
}

/// All outputs of a window over a plane.
fn lines<const STRIDE: usize>(
    window: &Window,
    plane: &[i16],
    pitch: usize,
    pairs: &[u8],
    out: &mut [MaybeUninit<i32>],
) {
    let half = window.kernel[1].div_ceil(2);
    let apart = window.dilation[0] * pitch;
    for (row, out) in out.chunks_exact_mut(window.output[1]).enumerate() {
        let first = row * window.stride[0] * pitch;
        let seen = &plane[first..];
        // From the first number of a step on, the last that it reads.
        let reach = (window.kernel[0] - 1) * apart + 2 * half;
        let mut at = 0;
        while at < out.len() {
            let left = out.len() - at;
            let (step, from) = (if left > NARROW { WIDE } else { NARROW }, at * STRIDE);
            assert!(seen.len() >= from + reach + step * STRIDE, "a step reads what is there");
            let mut copy = [MaybeUninit::uninit(); WIDE];
            let to = if left >= step { out[at..].as_mut_ptr() } else { copy.as_mut_ptr() };
            // SAFETY: a step reads rows of windows, of which there are so many numbers (asserted), and writes as many outputs as
            // there are, or to the copy.
            unsafe {
                let from = seen.as_ptr().add(from);
                if step == WIDE {
                    outputs::<STRIDE, 4>(from, apart, pairs, half, to.cast());
                } else {
                    outputs::<STRIDE, 2>(from, apart, pairs, half, to.cast());
                }
            }
            if left < step {
                out[at..].copy_from_slice(&copy[..left]);
            }
            at += step;
        }
    }
}

/// `4 * VECTORS` outputs.
///
/// # Safety
/// Rows of `half` pairs each are `apart`, and from each on there are `4 * VECTORS * STRIDE + 2 * half` numbers; outputs have the room.
#[inline(always)]
unsafe fn outputs<const STRIDE: usize, const VECTORS: usize>(
    from: *const i16,
    apart: usize,
    pairs: &[u8],
    half: usize,
    to: *mut i32,
) {
    let mut sums = [I32x4::zero(); VECTORS];
    let mut row = from;
    let mut left = half;
    let mut at = row;
    for pair in pairs.as_chunks::<4>().0 {
        let pair = i32::from_le_bytes(*pair);
        for (ix, sums) in sums.iter_mut().enumerate() {
            // Of a stride of 1 every other vector is of the windows between.
            let first = if STRIDE == 1 { ix / 2 * 8 + ix % 2 } else { 8 * ix };
            // SAFETY: the caller's: eight from there on.
            *sums = unsafe { sums.and_dot(at.add(first), pair) };
        }
        left -= 1;
        if left == 0 {
            row = row.wrapping_add(apart);
            (at, left) = (row, half);
        } else {
            at = at.wrapping_add(2);
        }
    }
    for (ix, two) in sums.chunks_exact(2).enumerate() {
        // SAFETY: the caller's: eight outputs each.
        unsafe {
            if STRIDE == 1 {
                two[0].store_in_turn(two[1], to.add(8 * ix));
            } else {
                two[0].store(to.add(8 * ix));
                two[1].store(to.add(8 * ix + 4));
            }
        }
    }
}
