//! Where the windows of a convolution lie: sizes, strides, pads.

use std::ops::Range;

/// A convolution's geometry over one plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps from one window to the next.
    pub stride: [usize; 2],
    /// Steps within a window.
    pub dilation: [usize; 2],
    /// Rows above and columns left of the input that are zeros.
    pub before: [usize; 2],
    /// Height and width of the output. What is right of and below the input is zeros, as far as windows reach.
    pub output: [usize; 2],
}

impl Window {
    /// Pixels of the output.
    pub fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Pixels of the input.
    pub fn area(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Places in a window.
    pub fn places(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether the output's pixels are the input's, one by one.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.before == [0, 0] && self.input == self.output
    }

    /// The same windows for these places of outputs along `axis` alone, 0 for rows and 1 for columns, over the places of the input that
    /// they see, which are told too; none where they see nothing but zeros.
    pub fn band(&self, axis: usize, places: Range<usize>) -> Option<(Window, Range<usize>)> {
        let first = places.start * self.stride[axis];
        let end = first
            + (places.len().max(1) - 1) * self.stride[axis]
            + (self.kernel[axis] - 1) * self.dilation[axis]
            + 1;
        let on_input = |place: usize| place.saturating_sub(self.before[axis]).min(self.input[axis]);
        let seen = on_input(first)..on_input(end);
        let mut window = *self;
        window.input[axis] = seen.len();
        window.before[axis] = self.before[axis].saturating_sub(first);
        window.output[axis] = places.len();
        (!seen.is_empty() && !places.is_empty()).then_some((window, seen))
    }

    /// The range of outputs along an axis whose place `at` of the window is on the input, and the input of the first.
    pub(crate) fn reach(&self, axis: usize, at: usize) -> (Range<usize>, usize) {
        let (stride, before) = (self.stride[axis], self.before[axis]);
        let offset = at * self.dilation[axis];
        // Output o reads input o * stride + offset - before.
        let first = before.saturating_sub(offset).div_ceil(stride);
        let end = (self.input[axis] + before).saturating_sub(offset).div_ceil(stride);
        let range = first.min(self.output[axis])..end.clamp(first.min(self.output[axis]), self.output[axis]);
        let from = (range.start * stride + offset).saturating_sub(before);
        (range, from)
    }
}
