//! Floats as whole numbers of a unit: how large the unit is, and turning them by vectors.

use crate::lanes::F32x4;

/// 1.5 · 2^23: added to a float of fewer than 22 bits, it leaves the nearest whole number in the lower bits.
pub(super) const NEAREST: f32 = 12_582_912.0;

/// One over the unit in which numbers of a largest magnitude are counted, up to `most`, and the unit.
pub(crate) fn unit(magnitude: u32, most: f32) -> (f32, f32) {
    let magnitude = f32::from_bits(magnitude);
    if !magnitude.is_finite() {
        return (0.0, f32::NAN);
    }
    let unit = magnitude / most;
    // Where the unit is below what can be turned, all numbers count as 0.
    let inverse = 1.0 / unit;
    if inverse.is_finite() { (inverse, unit) } else { (0.0, 0.0) }
}

/// The largest magnitude as bits. What is no number is larger than any.
///
/// About 2 instructions a number, sixteen at a time.
pub(crate) fn magnitude(numbers: &[f32]) -> u32 {
    let mut four = F32x4::splat(0.0);
    let (sixteens, rest) = numbers.as_chunks::<16>();
    for sixteen in sixteens {
        let at = |ix: usize| F32x4::of(&sixteen[4 * ix..]);
        four = four.magnitude(at(0)).magnitude(at(1)).magnitude(at(2)).magnitude(at(3));
    }
    let (fours, rest) = rest.as_chunks::<4>();
    for chunk in fours {
        four = four.magnitude(F32x4::of(chunk));
    }
    let [a, b, c, d] = four.bits();
    let mut largest = a.max(b).max(c.max(d));
    for number in rest {
        largest = largest.max(number.to_bits() & 0x7fff_ffff);
    }
    largest
}

/// The nearest whole number of units.
pub(super) fn nearest(x: f32, inverse: f32) -> i16 {
    (x * inverse + NEAREST).to_bits() as i16
}

/// Appends numbers as whole units, and a zero where they are odd in number.
///
/// About 3 instructions a number, sixteen at a time.
///
/// # Panics
/// Where there is no room for them beyond the length.
pub(crate) fn quantise(numbers: &[f32], inverse: f32, to: &mut Vec<i16>) {
    let length = numbers.len().next_multiple_of(2);
    assert!(to.capacity() - to.len() >= length, "room for the numbers");
    let (factor, shift) = (F32x4::splat(inverse), F32x4::splat(NEAREST));
    // SAFETY: there is room for as many numbers, and for the zero (asserted); reads are within `numbers`. All of the new
    // length is written.
    unsafe {
        let mut room = to.as_mut_ptr().add(to.len());
        let eight = |from: &[f32], room: *mut i16| {
            let low = F32x4::of(from) * factor + shift;
            let high = F32x4::of(&from[4..]) * factor + shift;
            low.store_halves(high, room);
        };
        let (sixteens, rest) = numbers.as_chunks::<16>();
        for sixteen in sixteens {
            eight(&sixteen[..], room);
            eight(&sixteen[8..], room.add(8));
            room = room.add(16);
        }
        let (eights, rest) = rest.as_chunks::<8>();
        for from in eights {
            eight(&from[..], room);
            room = room.add(8);
        }
        for number in rest {
            room.write(nearest(*number, inverse));
            room = room.add(1);
        }
        if numbers.len() % 2 == 1 {
            room.write(0);
        }
        to.set_len(to.len() + length);
    }
}

/// Two rows in turn, as whole units; a row that is not there counts as zeros.
pub(super) fn interleave(low: Option<&[f32]>, high: Option<&[f32]>, inverse: f32, to: &mut [i16]) {
    let Some(low) = low else { return };
    let (factor, shift) = (F32x4::splat(inverse), F32x4::splat(NEAREST));
    let whole = low.len() / 4 * 4;
    assert!(to.len() >= 2 * low.len() && high.is_none_or(|h| h.len() >= low.len()), "room for the pairs");
    let mut at = 0;
    while at < whole {
        // SAFETY: four numbers are in each row, and room for their pairs (asserted).
        unsafe {
            let first = F32x4::load(low.as_ptr().add(at)) * factor + shift;
            let second = match high {
                Some(high) => F32x4::load(high.as_ptr().add(at)) * factor + shift,
                None => shift,
            };
            first.store_pairs(second, to.as_mut_ptr().add(2 * at));
        }
        at += 4;
    }
    for at in whole..low.len() {
        to[2 * at] = nearest(low[at], inverse);
        to[2 * at + 1] = high.map_or(0, |high| nearest(high[at], inverse));
    }
}
