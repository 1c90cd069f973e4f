//! Convolutions of bytes: windows gathered for some pixels at a time, then a product. Those of each channel by itself are
//! [`Alone`]'s, where it takes them.

use std::mem::MaybeUninit;
use std::sync::Arc;

use super::alone::Alone;
use super::{Bytes, ExactWeights};
use crate::lanes::interleave;
use crate::window::Window;

/// Pixels that are gathered at a time: four tiles wide.
pub(super) const PIXELS: usize = 128;

/// What is read, and written, beyond what is asked for: the rest of a vector.
const SPARE: usize = 16;

/// How a convolution's weights are packed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kernel {
    /// As products: the weights of each group.
    Groups(Vec<ExactWeights>),
    /// Each channel by itself.
    Alone(Alone),
}

/// A convolution of planes.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactConv {
    pub(crate) window: Window,
    /// Channels of a group.
    pub(crate) channels: usize,
    /// Groups.
    pub(crate) groups: usize,
    pub(crate) kernel: Arc<Kernel>,
}

impl ExactConv {
    /// `w` has `channels × places` numbers for each output, and each group as many outputs as another.
    ///
    /// # Panics
    /// Where it has not.
    pub fn new(window: Window, channels: usize, outputs: usize, groups: usize, w: &[i16]) -> ExactConv {
        let k = channels * window.places();
        assert!(groups > 0 && outputs.is_multiple_of(groups) && w.len() == outputs * k, "lengths");
        let each = outputs / groups;
        let group = |group: usize| {
            ExactWeights::rows_of([each, k], &w[group * each * k..(group + 1) * each * k], [k, 1])
        };
        // Of several outputs a channel, products fill tiles.
        let kernel = if Alone::takes(&window, channels) && each < 4 {
            Kernel::Alone(Alone::new(&window, each, w))
        } else {
            Kernel::Groups((0..groups).map(group).collect())
        };
        ExactConv { window, channels, groups, kernel: Arc::new(kernel) }
    }

    /// Outputs of all groups.
    pub fn outputs(&self) -> usize {
        self.groups
            * match &*self.kernel {
                Kernel::Groups(groups) => groups.first().map_or(0, ExactWeights::outputs),
                Kernel::Alone(alone) => alone.each,
            }
    }

    /// Planes of an image: channels of all groups.
    pub fn inputs(&self) -> usize {
        self.groups * self.channels
    }

    /// Groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The geometry.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        match &*self.kernel {
            Kernel::Groups(groups) => groups.iter().map(ExactWeights::bytes).sum(),
            Kernel::Alone(alone) => alone.pairs.len(),
        }
    }

    /// Length of the sums.
    pub fn k(&self) -> usize {
        self.channels * self.window.places()
    }

    /// Height and width of what windows reach.
    pub(super) fn reached(&self) -> [usize; 2] {
        let w = &self.window;
        [0, 1].map(|axis| {
            (w.output[axis].max(1) - 1) * w.stride[axis] + (w.kernel[axis].max(1) - 1) * w.dilation[axis] + 1
        })
    }

    /// Columns of pairs.
    pub(super) fn width(&self) -> usize {
        self.window.pixels().clamp(4, PIXELS).next_multiple_of(4)
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let [rows, columns] = self.reached();
        if matches!(*self.kernel, Kernel::Alone(_)) {
            return 2 * Alone::plane(&self.window, rows);
        }
        2 * (self.channels * rows * columns + 2 * SPARE) + 4 * (self.k().div_ceil(2) * self.width() + SPARE)
    }

    /// The same weights for other windows that differ in sizes of input and output and in the zeros before alone; the weights are shared.
    #[must_use]
    pub fn within(&self, window: Window) -> ExactConv {
        ExactConv { window, ..self.clone() }
    }

    /// Convolves an image, planes of all groups one behind the other, to planes of sums.
    ///
    /// # Panics
    /// Where lengths do not fit.
    pub fn run(&self, image: Bytes<'_>, out: &mut [MaybeUninit<i32>]) {
        let w = &self.window;
        let (area, pixels, each) = (w.area(), w.pixels(), self.outputs() / self.groups);
        assert!(image.len() == self.groups * self.channels * area, "an image of another size");
        assert!(out.len() == self.outputs() * pixels, "as many outputs");
        let [rows, columns] = self.reached();
        let groups = match &*self.kernel {
            Kernel::Groups(groups) => groups,
            Kernel::Alone(alone) => return alone.run(w, [rows, columns], image, out),
        };
        let mut planes = vec![0i16; self.channels * rows * columns + 2 * SPARE];
        let width = self.width();
        let mut pairs = vec![0i16; 2 * (self.k().div_ceil(2) * width + SPARE)];
        // The rows and columns of the image that windows reach.
        let [down, across] = [0, 1].map(|axis| {
            let reached = [rows, columns][axis];
            w.input[axis].min(reached.saturating_sub(w.before[axis]))
        });
        for (ix, weights) in groups.iter().enumerate() {
            for channel in 0..self.channels {
                let plane = (ix * self.channels + channel) * area;
                for row in 0..if across > 0 { down } else { 0 } {
                    let from = plane + row * w.input[1];
                    let to = (channel * rows + w.before[0] + row) * columns + w.before[1];
                    image.part(from..from + across).widen(&mut planes[to..to + across]);
                }
            }
            let out = &mut out[ix * each * pixels..(ix + 1) * each * pixels];
            let mut at = 0;
            while at < pixels {
                let count = width.min(pixels - at);
                self.gather(&planes, [rows, columns], at, count, width, &mut pairs);
                weights.times(&pairs, [width, count], &mut out[at..], pixels);
                at += count;
            }
        }
    }

    /// The places of `count` windows from the one at `at` on, two by two.
    fn gather(
        &self,
        planes: &[i16],
        [rows, columns]: [usize; 2],
        at: usize,
        count: usize,
        width: usize,
        pairs: &mut [i16],
    ) {
        let w = &self.window;
        let k = self.k();
        let base = |step: usize| {
            // A sum of odd length ends with a weight of 0, whatever it is multiplied by.
            let step = step.min(k - 1);
            let (channel, place) = (step / w.places(), step % w.places());
            let (down, across) = (place / w.kernel[1] * w.dilation[0], place % w.kernel[1] * w.dilation[1]);
            (channel * rows + down) * columns + across
        };
        // Lines of windows that follow each other without a gap are one.
        let dense = w.stride == [1, 1] && columns == w.output[1];
        let line = if dense { w.pixels() } else { w.output[1] };
        for step in 0..k.div_ceil(2) {
            let (low, high) = (base(2 * step), base(2 * step + 1));
            let mut done = 0;
            while done < count {
                let (row, column) = ((at + done) / line, (at + done) % line);
                let length = (line - column).min(count - done);
                let shift = row * w.stride[0] * columns + column * w.stride[1];
                let (low, high) = (&planes[low + shift..], &planes[high + shift..]);
                let to = &mut pairs[2 * (step * width + done)..];
                match w.stride[1] {
                    1 => lay::<1>(low, high, length, to),
                    2 => lay::<2>(low, high, length, to),
                    stride => {
                        for (ix, to) in to.chunks_exact_mut(2).take(length).enumerate() {
                            to.copy_from_slice(&[low[stride * ix], high[stride * ix]]);
                        }
                    }
                }
                done += length;
            }
        }
    }
}

/// `length` numbers of both, `EVERY` apart, in turn. Eight are written at a time: what is written beyond is written again by what
/// comes next, and there is room behind the last.
///
/// # Panics
/// Where there is not.
fn lay<const EVERY: usize>(low: &[i16], high: &[i16], length: usize, to: &mut [i16]) {
    let whole = length.next_multiple_of(8);
    assert!(low.len() >= EVERY * whole && high.len() >= EVERY * whole && to.len() >= 2 * whole, "room");
    for at in (0..whole).step_by(8) {
        // SAFETY: eight of both are there, and room for them (asserted).
        unsafe {
            let (low, high) = (low.as_ptr().add(EVERY * at), high.as_ptr().add(EVERY * at));
            interleave::<EVERY>(low, high, to.as_mut_ptr().add(2 * at));
        }
    }
}
