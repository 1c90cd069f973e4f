//! What kernels are charged, by shape: the rates that their formulas are made of.
//!
//! A kernel says what a run of it takes (`instructions`) from two kinds of numbers. What its tiles are charged is known to the
//! last instruction, since their generator counts it ([`crate::product`]). The rest is Rust that a compiler made WebAssembly
//! of: so many instructions a number, a vector of four, a row, a call. Those are here, fitted to what the canister is metered
//! for whole nodes (`docs/prices.md` has the counts); another compiler moves them by some percent. Nothing here depends on
//! what numbers are, but that a few branches in the formulas' subjects do.

/// What follows a kernel's sums, as far as it is charged for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follows {
    /// Something is added.
    pub residual: bool,
    /// Outputs are held between bounds.
    pub bounds: bool,
}

/// Taking a room: the allocator's way and back.
pub(crate) const ROOM: u64 = 300;
/// A row that is copied by a bulk operation, beside its bytes.
pub(crate) const BULK: u64 = 150;
/// A number that is zeroed by a bulk operation: one a byte.
pub(crate) const ZERO: u64 = 4;
/// A number that is copied by vectors between zeros.
const SPREAD: u64 = 3;
/// Four by four numbers that are turned.
const TURNED_BLOCK: u64 = 72;
/// A number of a matrix with fewer than four rows or columns that is turned.
const TURNED_NUMBER: u64 = 14;

/// What `rows` × `columns` numbers take to be turned.
pub fn instructions_of_turning(rows: usize, columns: usize) -> u64 {
    if rows < 4 || columns < 4 {
        return 100 + TURNED_NUMBER * (rows * columns) as u64;
    }
    100 + (rows.div_ceil(4) * columns.div_ceil(4)) as u64 * TURNED_BLOCK
}

/// What [`crate::finish`] takes for so many numbers.
pub fn instructions_of_finishing(numbers: usize, follows: Follows) -> u64 {
    if follows == Follows::default() { 0 } else { 50 + 5 * numbers as u64 }
}

/// What [`crate::pick`] takes for so many lines of so many pixels each.
pub fn instructions_of_picking(lines: usize, pixels: usize) -> u64 {
    lines as u64 * (164 + 6 * pixels as u64)
}

/// What [`crate::turn::lay`] takes for so many steps of so many lanes.
pub(crate) fn instructions_of_laying(steps: usize, lanes: usize, apart: [usize; 2]) -> u64 {
    match apart {
        [1, along_lane] if along_lane >= steps || lanes == 1 => instructions_of_turning(lanes, steps),
        [_, 1] if lanes >= 4 => steps as u64 * (40 + 15 * lanes as u64),
        _ => (12 * steps * lanes) as u64,
    }
}

/// What an image between zeros takes (`room::between_zeros`).
pub(crate) fn instructions_of_padding(
    [height, width]: [usize; 2],
    channels: usize,
    innermost: bool,
    [rows, columns]: [usize; 2],
) -> u64 {
    let (down, across) = (height.min(rows), width.min(columns));
    let line = if innermost {
        60 + SPREAD * (across * channels) as u64
    } else {
        instructions_of_turning(channels, across)
    };
    let zeros = (rows * columns - down * across) * channels;
    ROOM + down as u64 * (line + BULK) + ZERO * zeros as u64
}

/// What laying rows as planes, and what comes after, take (`room::by_rows`).
pub(crate) fn instructions_of_rows([pixels, outputs]: [usize; 2], innermost: bool, follows: Follows) -> u64 {
    let turned = if innermost { 0 } else { ROOM + instructions_of_turning(pixels, outputs) };
    let finished = if follows.residual { instructions_of_finishing(pixels * outputs, follows) } else { 0 };
    turned + finished
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv, Packing, Panels, Precision, Window};

    fn columns(precision: Precision, spare: usize, m: usize, k: usize, n: usize) -> u64 {
        let mut packing = Packing { precision, spare, wide: 0 };
        let panels = Panels::columns_of(&mut packing, m, [k, n], &vec![0.5; k * n], [n, 1]);
        panels.instructions(m, Follows::default())
    }

    /// The floors of sums in order are 1.5 and 0.5 a multiply-add (`docs/kernels.md`), of seven quarters seven eighths of it.
    #[test]
    fn a_large_product_takes_little_more_than_its_floor() {
        let (m, k, n) = (256, 512, 512);
        let macs = (m * k * n) as f64;
        let each = |precision, spare| columns(precision, spare, m, k, n) as f64 / macs;
        let (plain, split) = (each(Precision::F32, 0), each(Precision::F32, usize::MAX));
        assert!((1.5..1.8).contains(&plain), "{plain}");
        assert!(split < 0.95 * plain && split > 1.5 * 7.0 / 8.0, "{split} of {plain}");
        for precision in [Precision::Int8, Precision::Int16] {
            let each = each(precision, 0);
            assert!((0.5..0.8).contains(&each), "{precision:?}: {each}");
        }
    }

    #[test]
    fn what_follows_is_charged_for() {
        let panels = Panels::columns_of(&mut Packing::plain(), 1, [32, 32], &[0.5; 1024], [32, 1]);
        let bare = panels.instructions(8, Follows::default());
        let bounded = panels.instructions(8, Follows { bounds: true, residual: false });
        let both = panels.instructions(8, Follows { bounds: true, residual: true });
        assert!(bare < bounded && bounded < both, "{bare}, {bounded}, {both}");
    }

    #[test]
    fn gathering_windows_costs_more_than_a_pointwise_convolution_of_as_many_sums() {
        let window = |side: usize| Window {
            input: [16, 16],
            kernel: [side, side],
            stride: [1, 1],
            dilation: [1, 1],
            before: [side / 2, side / 2],
            output: [16, 16],
        };
        let conv = |side: usize, channels: usize| {
            let kernel = vec![0.5; 16 * channels * side * side];
            Conv::new(&mut Packing::plain(), window(side), channels, 16, 1, &kernel, &[])
                .instructions(Follows::default())
        };
        assert!(conv(5, 4) > conv(1, 100));
    }
}
