//! Room for numbers between kernels: not zeroed, since zeros cost an instruction a byte, which is as much as a number's
//! way through a transform.

use crate::conv::spread;
use crate::product::After;
use crate::turn::{finish, turn};

/// Room for so many numbers.
///
/// # Safety
/// Each is written before it is read.
#[expect(clippy::uninit_vec, reason = "the caller writes them first")]
pub(crate) unsafe fn unwritten(length: usize) -> Vec<f32> {
    let mut room = Vec::with_capacity(length);
    // SAFETY: there is room for so many; every pattern of bits is a float, and the caller reads none before it is written.
    unsafe {
        room.set_len(length);
    }
    room
}

/// An image in `rows` × `columns` pixels of zeros, `before` of them above and left of it, channels innermost. What of the image
/// reaches beyond is cut off.
///
/// # Panics
/// Where the image is shorter than its pixels and channels.
pub(crate) fn between_zeros(
    image: &[f32],
    [height, width]: [usize; 2],
    channels: usize,
    innermost: bool,
    before: [usize; 2],
    [rows, columns]: [usize; 2],
) -> Vec<f32> {
    // SAFETY: what lies between the image's lines is written as zeros, and each line is written whole.
    let mut padded = unsafe { unwritten(rows * columns * channels) };
    let down = height.min(rows.saturating_sub(before[0]));
    let across = width.min(columns.saturating_sub(before[1]));
    let mut done = 0;
    for y in 0..down {
        let first = ((before[0] + y) * columns + before[1].min(columns)) * channels;
        padded[done..first].fill(0.0);
        done = first + across * channels;
        let to = &mut padded[first..done];
        if innermost {
            spread(&image[y * width * channels..], 1, to);
        } else {
            turn(&image[y * width..], channels, across, height * width, to);
        }
    }
    padded[done..].fill(0.0);
    padded
}

/// Has `write` give outputs pixel by pixel, lays them as planes where they are not to have channels innermost, and does what
/// comes after.
///
/// # Panics
/// Where `out` is shorter than its pixels and outputs.
///
/// # Safety
/// `write` writes every output of every pixel.
pub(crate) unsafe fn by_rows(
    out: &mut [f32],
    [pixels, outputs]: [usize; 2],
    innermost: bool,
    after: After<'_>,
    write: impl FnOnce(&mut [f32], Option<(f32, f32)>),
) {
    let out = &mut out[..pixels * outputs];
    let bounds = after.bounds.filter(|_| after.residual.is_none());
    if innermost {
        write(out, bounds);
    } else {
        // SAFETY: the caller's.
        let mut rowwise = unsafe { unwritten(pixels * outputs) };
        write(&mut rowwise, bounds);
        turn(&rowwise, pixels, outputs, outputs, out);
    }
    if after.residual.is_some() {
        finish(out, after.residual, after.bounds);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{many, numbers};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn an_image_lies_between_zeros(
            size in [1usize..9, 1usize..9], channels in 1usize..9, innermost: bool, before in [0usize..3, 0usize..3],
            room in [1usize..14, 1usize..14], seed: u64,
        ) {
            let image = many(size[0] * size[1] * channels, &mut numbers(seed));
            let padded = between_zeros(&image, size, channels, innermost, before, room);
            for (at, seen) in padded.iter().enumerate() {
                let (y, x, channel) = (at / channels / room[1], at / channels % room[1], at % channels);
                let (y, x) = (y.wrapping_sub(before[0]), x.wrapping_sub(before[1]));
                let expected = match (y < size[0] && x < size[1], innermost) {
                    (false, _) => 0.0,
                    (true, true) => image[(y * size[1] + x) * channels + channel],
                    (true, false) => image[(channel * size[0] + y) * size[1] + x],
                };
                prop_assert_eq!(*seen, expected);
            }
        }
    }
}
