//! Chains against plain loops: each output's steps by themselves.

use proptest::prelude::*;

use super::*;
use crate::lanes::F32x4;
use crate::maths;
use crate::random::{in_units, many, numbers};

/// What an operation is, on one number.
fn plain(operation: Operation, a: f32, b: f32) -> f32 {
    let one = |f: fn(F32x4) -> F32x4| f(F32x4::splat(a)).lanes()[0];
    match operation {
        Operation::Add => a + b,
        Operation::Sub => a - b,
        Operation::Mul => a * b,
        Operation::Div => a / b,
        Operation::Min if a.is_nan() || b.is_nan() => f32::NAN,
        Operation::Max if a.is_nan() || b.is_nan() => f32::NAN,
        Operation::Min => {
            if b < a || (a == b && b.is_sign_negative()) {
                b
            } else {
                a
            }
        }
        Operation::Max => {
            if b > a || (a == b && b.is_sign_positive()) {
                b
            } else {
                a
            }
        }
        Operation::Leaky => (if a < 0.0 { 0.0 } else { a }) + b * (if a > 0.0 { 0.0 } else { a }),
        Operation::Neg => -a,
        Operation::Abs => a.abs(),
        Operation::Square => a * a,
        Operation::Sqrt => a.sqrt(),
        Operation::Rsqrt => 1.0 / a.sqrt(),
        Operation::Recip => 1.0 / a,
        Operation::Floor => a.floor(),
        Operation::Ceil => a.ceil(),
        Operation::Nearest => a.round_ties_even(),
        Operation::Exp => one(maths::exp),
        Operation::Tanh => one(maths::tanh),
        Operation::Sigmoid => one(maths::sigmoid),
        Operation::Silu => one(maths::silu),
        Operation::Erf => one(maths::erf),
        Operation::Gelu => one(maths::gelu),
        Operation::GeluTanh => one(maths::gelu_tanh),
    }
}

/// The chain in plain loops, operands by their coordinates.
fn expected(shape: &[usize], shapes: &[Vec<usize>], operands: &[Vec<f32>], steps: &[Step]) -> Vec<f32> {
    let length = shape.iter().product();
    (0..length)
        .map(|at: usize| {
            let mut made: Vec<f32> = vec![];
            for step in steps {
                let of = |source: Source| match source {
                    Source::Number(number) => number,
                    Source::Step(ix) => made[ix],
                    Source::Operand(ix) => {
                        let (mut rest, mut place, mut step) = (at, 0, 1);
                        for axis in (0..shape.len()).rev() {
                            let digit = rest % shape[axis];
                            rest /= shape[axis];
                            if shapes[ix][axis] > 1 {
                                place += digit * step;
                            }
                            step *= shapes[ix][axis];
                        }
                        operands[ix][place]
                    }
                };
                let second = if step.operation.is_of_two() { of(step.from[1]) } else { 0.0 };
                made.push(plain(step.operation, of(step.from[0]), second));
            }
            made[steps.len() - 1]
        })
        .collect()
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_chain_is_its_steps(
        shape in prop_oneof![
            proptest::collection::vec(1usize..7, 1..4),
            proptest::collection::vec(prop_oneof![Just(1usize), Just(3), Just(16), Just(33)], 1..4),
            (1usize..4, prop_oneof![Just(64usize), Just(100), Just(384), Just(520), Just(1040)]).prop_map(|(a, b)| vec![a, b]),
        ],
        kept in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 3), 1..4),
        picks in proptest::collection::vec((0usize..23, any::<u8>(), any::<u8>()), 1..9),
        holes: bool, seed: u64,
    ) {
        let mut next = numbers(seed);
        let shapes: Vec<Vec<usize>> = kept.iter()
            .map(|kept| shape.iter().zip(kept).map(|(d, kept)| if *kept { *d } else { 1 }).collect())
            .collect();
        let operands: Vec<Vec<f32>> = shapes.iter()
            .map(|shape| {
                let mut values = many(shape.iter().product(), &mut next);
                if holes {
                    let odd = [f32::NAN, f32::INFINITY, -0.0, f32::NEG_INFINITY, 1e30, 0.0, 1e-40];
                    values.iter_mut().step_by(5).zip(odd.iter().cycle()).for_each(|(x, odd)| *x = *odd);
                }
                values
            })
            .collect();
        let mut steps: Vec<Step> = vec![];
        for (operation, a, b) in picks {
            let source = |pick: u8| match pick % 4 {
                0 if !steps.is_empty() => Source::Step(pick as usize % steps.len()),
                1 if !steps.is_empty() => Source::Step(steps.len() - 1),
                2 => Source::Number([0.5, -0.0, 3.0][pick as usize % 3]),
                _ => Source::Operand(pick as usize % operands.len()),
            };
            let from = [source(a), source(b)];
            steps.push(Step { operation: Operation::ALL[operation], from });
        }
        let repeats = shapes.iter().map(|operand| Repeat::of(&shape, operand).unwrap()).collect();
        let length = shape.iter().product();
        let chain = Chain::new(length, repeats, steps.clone()).unwrap();
        let mut out = vec![9.0; length];
        let slices: Vec<&[f32]> = operands.iter().map(Vec::as_slice).collect();
        in_units(chain.units(), chain.length() as u64, |units| chain.run(&slices, &mut out, units));
        for (at, (out, expected)) in out.iter().zip(expected(&shape, &shapes, &operands, &steps)).enumerate() {
            prop_assert!(same(*out, expected), "{at}: {out} for {expected}");
        }
    }
}

#[test]
fn operations_keep_their_numbers() {
    for (ix, operation) in Operation::ALL.iter().enumerate() {
        assert_eq!(*operation as usize, ix, "{operation:?}");
    }
    assert!(Operation::Leaky.is_of_two() && !Operation::Neg.is_of_two());
}

#[test]
fn what_is_no_chain_is_none() {
    let step = |from: Source| Step { operation: Operation::Neg, from: [from, Source::Number(0.0)] };
    assert!(Chain::new(4, vec![], vec![]).is_none());
    assert!(Chain::new(0, vec![], vec![step(Source::Number(1.0))]).is_none());
    assert!(Chain::new(4, vec![], vec![step(Source::Operand(0))]).is_none());
    assert!(Chain::new(4, vec![], vec![step(Source::Step(0))]).is_none());
    let repeat = Repeat::of(&[5], &[1]).unwrap();
    assert!(Chain::new(4, vec![repeat], vec![step(Source::Operand(0))]).is_none());
    assert_eq!(Repeat::of(&[4, 5], &[2, 5]), None);
    assert_eq!(Repeat::of(&[4], &[1, 4]), None);
}

#[test]
fn blocks_go_with_rows() {
    let row = |length: usize| Repeat::of(&[8, length], &[length]).unwrap();
    for (length, expected) in [(384, 384), (1536, 512), (64, 512), (10, 480), (100, 400), (1100, 512)] {
        assert_eq!(
            block(8 * length, &[row(length)]),
            expected.min((8 * length).next_multiple_of(GRAIN)),
            "{length}"
        );
    }
    assert_eq!(block(5, &[]), 16);
}
