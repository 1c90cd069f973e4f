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

    /// The same windows for these rows of outputs alone, over the rows of the input that they see, which are told too; none where they see
    /// nothing but zeros.
    pub fn band(&self, rows: Range<usize>) -> Option<(Window, Range<usize>)> {
        let first = rows.start * self.stride[0];
        let end =
            first + (rows.len().max(1) - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1;
        let on_input = |row: usize| row.saturating_sub(self.before[0]).min(self.input[0]);
        let seen = on_input(first)..on_input(end);
        let window = Window {
            input: [seen.len(), self.input[1]],
            before: [self.before[0].saturating_sub(first), self.before[1]],
            output: [rows.len(), self.output[1]],
            ..*self
        };
        (!seen.is_empty() && !rows.is_empty()).then_some((window, seen))
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
