//! Where numbers are not zero.

/// A number as its bits are, whatever they mean but that `real` ones have a zero of either sign.
/// Most are none of what is looked for: eight are asked at once.
fn of<const SIZE: usize>(bytes: &[u8], is: impl Fn([u8; SIZE]) -> bool) -> Vec<usize> {
    let mut found = vec![];
    let (eights, rest) = bytes.as_chunks::<SIZE>().0.as_chunks::<8>();
    let mut some = |first: usize, numbers: &[[u8; SIZE]]| {
        let numbers = numbers.iter().enumerate();
        found.extend(numbers.filter(|(_, number)| is(**number)).map(|(place, _)| first + place));
    };
    for (ix, eight) in eights.iter().enumerate() {
        if eight.iter().fold(false, |any, number| any | is(*number)) {
            some(8 * ix, eight);
        }
    }
    some(8 * eights.len(), rest);
    found
}

/// Which of the numbers of so many bytes each, little end first, are not zero. Zeros of `real` ones have either sign. None where no
/// numbers have that size.
#[inline(never)]
pub fn found(bytes: &[u8], size: usize, real: bool) -> Option<Vec<usize>> {
    let sign = u32::from(real);
    Some(match size {
        1 => of(bytes, |[byte]| byte != 0),
        2 => of(bytes, |bytes| u16::from_le_bytes(bytes) << sign != 0),
        4 => of(bytes, |bytes| u32::from_le_bytes(bytes) << sign != 0),
        8 => of(bytes, |bytes| u64::from_le_bytes(bytes) << sign != 0),
        _ => return None,
    })
}

/// Coordinates in a tensor of these lengths of places that are counted from `first`: all of the first axis, then all of the next.
#[inline(never)]
pub fn coordinates(places: &[usize], first: usize, lengths: &[usize]) -> Vec<i64> {
    let mut coordinates = Vec::with_capacity(lengths.len() * places.len());
    for (axis, length) in lengths.iter().enumerate() {
        let inside = lengths[axis + 1..].iter().product::<usize>().max(1);
        let outer = places.iter().map(|place| first + place);
        match (axis, inside) {
            (0, 1) => coordinates.extend(outer.map(|place| place as i64)),
            (0, _) => coordinates.extend(outer.map(|place| (place / inside) as i64)),
            (_, 1) => coordinates.extend(outer.map(|place| (place % length) as i64)),
            _ => coordinates.extend(outer.map(|place| (place / inside % length) as i64)),
        }
    }
    coordinates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_either_sign_are_zero() {
        let bytes: Vec<u8> =
            [1f32, 0.0, -0.0, f32::NAN, 1e-45].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(found(&bytes, 4, true), Some(vec![0, 3, 4]));
        assert_eq!(found(&bytes, 4, false), Some(vec![0, 2, 3, 4]));
        assert_eq!(found(&[0, 0, 0, 128, 1, 0], 2, true), Some(vec![2]));
        assert_eq!(found(&[0, 0, 0, 128, 1, 0], 2, false), Some(vec![1, 2]));
        assert_eq!(found(&[0, 3, 128], 1, false), Some(vec![1, 2]));
        let doubles: Vec<u8> = [0f64, -0.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(found(&doubles, 8, true), Some(vec![2]));
        assert_eq!(found(&doubles, 16, true), None);
    }

    #[test]
    fn places_have_coordinates() {
        // Of [2, 3, 4]: 5 is [0, 1, 1], 12 is [1, 0, 0], 23 the last.
        assert_eq!(coordinates(&[0, 7, 18], 5, &[2, 3, 4]), [0, 1, 1, 1, 0, 2, 1, 0, 3]);
        assert_eq!(coordinates(&[1, 3], 2, &[9]), [3, 5]);
        assert_eq!(coordinates(&[0], 0, &[]), [0i64; 0]);
        assert_eq!(coordinates(&[], 0, &[2, 0]), [0i64; 0]);
    }
}
