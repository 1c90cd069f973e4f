//! Every kernel read back is the one that was written, and no bytes make a reader panic.

use proptest::prelude::*;

use super::*;
use crate::random;
use crate::{
    BlockWeights, Blocks, Conv, Depthwise, ExactConv, ExactWeights, HwcConv, HwcDepthwise, Lines, MaxPool,
    Packing, Panels, Precision, Strided, Window, Winograd,
};

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    random::many(n, &mut random::numbers(seed))
}

fn image<T: Imaged>(of: &T) -> (Vec<u8>, Vec<u8>) {
    let mut writer = Writer::default();
    of.write(&mut writer);
    let (head, arrays) = writer.finish();
    (head, joined(&arrays))
}

fn joined(arrays: &[Array<'_>]) -> Vec<u8> {
    let bytes = |array: &Array<'_>| match array {
        Array::Here(bytes) => bytes.to_vec(),
        Array::Far(..) => panic!("it is in the heap"),
    };
    arrays.iter().flat_map(bytes).collect()
}

fn read<T: Imaged>(head: &[u8], mut arrays: &[u8]) -> Result<T, Broken> {
    let mut reader = Reader::new(head, &mut arrays);
    let read = T::read(&mut reader)?;
    reader.end()?;
    Ok(read)
}

/// Reads it back; refuses it cut off, longer, and with bytes of the head changed to something else, or reads that.
fn comes_back<T: Imaged + PartialEq + fmt::Debug>(of: &T) {
    let (head, arrays) = image(of);
    assert_eq!(read::<T>(&head, &arrays).as_ref(), Ok(of));
    assert!(read::<T>(&head[..head.len() - 1], &arrays).is_err());
    assert!(read::<T>(&[&head[..], &[0]].concat(), &arrays).is_err());
    assert!(read::<T>(&head, &[&arrays[..], &[0]].concat()).is_err());
    if !arrays.is_empty() {
        assert!(read::<T>(&head, &arrays[..arrays.len() - 1]).is_err());
    }
    for at in 0..head.len() {
        for byte in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
            let mut other = head.clone();
            other[at] = byte;
            // Whatever it is then, it is that.
            if let Ok(read) = read::<T>(&other, &arrays) {
                assert_eq!(image(&read).1, arrays);
            }
        }
    }
}

fn window(kernel: [usize; 2], stride: usize) -> Window {
    let input = [11, 12];
    let output = [0, 1].map(|axis| (input[axis] + kernel[axis] - 1 - kernel[axis]) / stride + 1);
    Window { input, kernel, stride: [stride; 2], dilation: [1; 2], before: kernel.map(|k| k / 2), output }
}

#[test]
fn panels_come_back() {
    let w = numbers(64 * 96, 3);
    for precision in [Precision::F32, Precision::Int8, Precision::Int16] {
        for ([m, k], spare) in [([13, 9], 0), ([64, 96], 1 << 20), ([1, 1], 0), ([8, 0], 0)] {
            let mut packing = Packing { precision, spare, wide: 0 };
            comes_back(&Panels::rows_of(&mut packing, 200, [m, k], &w, [k, 1]).with_bias(&w[..m]));
            comes_back(&Panels::columns_of(&mut packing, 200, [k, m], &w, [1, k]));
        }
    }
    let mut packing = Packing { precision: Precision::F32, spare: 1 << 30, wide: 0 };
    let w = numbers(512 * 512, 4);
    let quarters = Panels::rows_of(&mut packing, 512, [512, 512], &w, [512, 1]);
    assert!(matches!(quarters, Panels::Strassen(_)), "it is large enough for quarters");
    let (head, arrays) = image(&quarters);
    assert_eq!(read::<Panels>(&head, &arrays), Ok(quarters));
}

#[test]
fn convolutions_come_back() {
    let w = numbers(16 * 16 * 49, 5);
    let bias = &w[..16];
    for precision in [Precision::F32, Precision::Int8] {
        let mut packing = Packing { precision, spare: 0, wide: 0 };
        comes_back(&Conv::new(&mut packing, window([3, 3], 1), 4, 16, 2, &w, bias));
        comes_back(&HwcConv::new(&mut packing, window([3, 3], 1), 8, 16, bias, &w));
    }
    comes_back(&Winograd::new(window([3, 3], 1), 8, 16, true, bias, &w));
    comes_back(&Strided::new(window([3, 3], 2), 8, 16, false, bias, &w));
    comes_back(&Lines::new(window([7, 7], 2), 3, 16, false, bias, &w));
    comes_back(&Depthwise::new(window([3, 3], 1), 16, &w, bias));
    comes_back(&HwcDepthwise::new(window([5, 5], 2), 6, bias, &w));
    comes_back(&MaxPool::new(window([3, 3], 2)));
}

proptest! {
    #[test]
    fn numbers_come_back(numbers: Vec<u64>, text: String, floats: Vec<f32>) {
        let mut writer = Writer::default();
        numbers.iter().for_each(|n| writer.number(*n));
        writer.text(&text);
        writer.floats(&floats);
        let (head, arrays) = writer.finish();
        let arrays = joined(&arrays);
        let mut arrays = arrays.as_slice();
        let mut reader = Reader::new(&head, &mut arrays);
        for number in numbers {
            prop_assert_eq!(reader.number(), Ok(number));
        }
        prop_assert_eq!(reader.text(), Ok(text.as_str()));
        let read = reader.floats().unwrap();
        prop_assert!(read.iter().map(|f| f.to_bits()).eq(floats.iter().map(|f| f.to_bits())));
        prop_assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn no_bytes_make_it_panic(head: Vec<u8>, arrays: Vec<u8>) {
        let _ = read::<Panels>(&head, &arrays);
        let _ = read::<Conv>(&head, &arrays);
        let _ = read::<Winograd>(&head, &arrays);
        let _ = read::<Depthwise>(&head, &arrays);
        let _ = read::<HwcDepthwise>(&head, &arrays);
    }
}

#[test]
fn what_is_exact_comes_back() {
    for most in [127.0, 255.0] {
        let w: Vec<i16> = numbers(30 * 21, 4).iter().map(|x| (x * most) as i16).collect();
        comes_back(&ExactWeights::columns_of([21, 30], &w, [30, 1]));
        comes_back(&ExactConv::new(window([3, 3], 1), 2, 6, 2, &w[..6 * 18]));
        comes_back(&ExactConv::new(window([3, 2], 2), 1, 6, 6, &w[..6 * 6]));
    }
}

#[test]
fn weights_by_blocks_come_back() {
    for (bits, block) in [(2, 16), (4, 16), (4, 64), (8, 32)] {
        let blocks = Blocks { bits, block, k: 70, outputs: 37 };
        let count = 37 * blocks.count();
        let w = vec![0x5a; 37 * blocks.column_bytes()];
        let (scales, zeros, bias) = (numbers(count, 5), numbers(count, 6), numbers(37, 7));
        comes_back(&BlockWeights::new(blocks, &w, &scales, None, None));
        comes_back(&BlockWeights::new(blocks, &w, &scales, Some(&zeros), Some(&bias)));
    }
}
