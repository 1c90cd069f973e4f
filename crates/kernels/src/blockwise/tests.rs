//! Products by blocks against plain loops over what the file says.

use proptest::prelude::*;

use super::*;
use crate::random::numbers;

/// A file's weights: packed bytes, scales and zero points.
struct File {
    bytes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<f32>,
}

fn file(blocks: &Blocks, seed: u64, real: bool) -> File {
    let mut next = numbers(seed);
    let all = blocks.outputs * blocks.count();
    let bytes = (0..blocks.outputs * blocks.column_bytes()).map(|_| ((next() + 1.0) * 128.0) as u8).collect();
    let scales = (0..all).map(|_| next() * 0.1).collect();
    let most = (1 << blocks.bits) as f32;
    let zero = |next: &mut dyn FnMut() -> f32| (next() + 1.0) * 0.5 * most;
    let zeros = (0..all).map(|_| if real { zero(&mut next) } else { zero(&mut next).floor() }).collect();
    File { bytes, scales, zeros }
}

/// The weight of a column's step.
fn weight(blocks: &Blocks, file: &File, column: usize, k: usize, zeros: bool) -> f64 {
    let bit = k * blocks.bits;
    let byte = file.bytes[column * blocks.column_bytes() + bit / 8];
    let whole = (u32::from(byte) >> (bit % 8)) & ((1 << blocks.bits) - 1);
    let block = column * blocks.count() + k / blocks.block;
    let zero = if zeros { file.zeros[block] } else { blocks.middle() };
    (f64::from(whole) - f64::from(zero)) * f64::from(file.scales[block])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn products_are_those_of_the_file(
        rows in 1usize..10, k in 1usize..200, outputs in 1usize..80, bits in 1u32..4, block in 4u32..8, seed: u64,
        zeros: bool, real: bool, biased: bool,
    ) {
        let block = (1 << block).min(k.next_power_of_two().max(16));
        let blocks = Blocks { bits: 1 << bits, block, k, outputs };
        let file = file(&blocks, seed, real);
        let mut next = numbers(seed ^ 1);
        let x: Vec<f32> = (0..rows * k).map(|_| next() * 3.0).collect();
        let bias: Vec<f32> = (0..outputs).map(|_| next()).collect();
        let packed = BlockWeights::new(
            blocks, &file.bytes, &file.scales, zeros.then_some(&file.zeros[..]), biased.then_some(&bias[..]),
        );
        let mut out = vec![f32::NAN; rows * outputs];
        packed.under(&x, rows, &mut out);
        let begin = |column: usize| if biased { f64::from(bias[column]) } else { 0.0 };
        for row in 0..rows {
            for column in 0..outputs {
                let (mut sum, mut size) = (begin(column), 1.0);
                for k_at in 0..k {
                    let product = f64::from(x[row * k + k_at]) * weight(&blocks, &file, column, k_at, zeros);
                    sum += product;
                    size += product.abs();
                }
                let got = f64::from(out[row * outputs + column]);
                // Half a unit of 32,767 of the largest, and what sums of zero points cancel.
                prop_assert!((got - sum).abs() < 1e-4 * size, "[{}][{}]: {} for {}", row, column, got, sum);
            }
        }
    }
}

/// Rows do not depend on how many there are, nor columns on what is beside them.
#[test]
fn rows_by_themselves_are_rows_of_many() {
    let blocks = Blocks { bits: 4, block: 32, k: 96, outputs: 70 };
    let file = file(&blocks, 5, false);
    let mut next = numbers(6);
    let x: Vec<f32> = (0..7 * 96).map(|_| next()).collect();
    let packed = BlockWeights::new(blocks, &file.bytes, &file.scales, None, None);
    let mut all = vec![0.0; 7 * 70];
    packed.under(&x, 7, &mut all);
    for (x, expected) in x.chunks(96).zip(all.chunks(70)) {
        let mut one = vec![0.0; 70];
        packed.under(x, 1, &mut one);
        assert_eq!(one, expected);
    }
}

#[test]
fn what_is_no_number_makes_its_row_no_numbers() {
    let blocks = Blocks { bits: 8, block: 16, k: 40, outputs: 3 };
    let file = file(&blocks, 7, false);
    let packed = BlockWeights::new(blocks, &file.bytes, &file.scales, Some(&file.zeros), None);
    let mut x = vec![1.0; 80];
    x[50] = f32::INFINITY;
    let mut out = vec![0.0; 6];
    packed.under(&x, 2, &mut out);
    assert!(out[..3].iter().all(|y| y.is_finite()) && out[3..].iter().all(|y| y.is_nan()), "{out:?}");
}
