//! Large products by seven of a quarter of the size instead of eight: one level of Strassen's recursion.
//!
//! With both operands and the outputs in halves along each axis, seven products of sums of quarters give all four quarters of the
//! outputs. The sums are S. Winograd's: four of each operand and seven of products, fewer than Strassen's eighteen
//! (D. E. Knuth, *The Art of Computer Programming*, volume 2, 4.6.4). The weights' sums are made when they are packed, four of the
//! products' are made by the tiles as residuals, the rest in one pass over the quarters. Results differ from sums in order by
//! rounding, and the errors of the four quarters are not independent of one another's magnitudes; they depend on nothing else.
//!
//! Halves of the other operand's rows or columns may overlap: what is in both comes out twice. So those need not be even.

use crate::lanes::F32x4;
use crate::price::{Follows, ROOM};
use crate::product::{ALL, After, By, Matrix, Weights, price, price_of_residual};
use crate::room::unwritten;

/// A packed operand in seven quarters, with its bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Strassen {
    pub(crate) by: By,
    /// Rows or columns that are outputs.
    pub(crate) outputs: usize,
    /// Length of the sums.
    pub(crate) k: usize,
    /// What each of the seven products has of the weights.
    pub(crate) parts: Vec<Weights>,
    /// One an output.
    pub(crate) bias: Vec<f32>,
}

impl Strassen {
    /// Whether seven quarters are cheaper than the whole, over `others` rows or columns of the other operand.
    pub(crate) fn pays(by: By, outputs: usize, k: usize, others: usize) -> bool {
        let whole = match by {
            By::Rows => outputs.is_multiple_of(2) && k.is_multiple_of(2) && others >= 8,
            By::Columns => outputs.is_multiple_of(8) && k.is_multiple_of(8) && others >= 2,
        };
        if !whole {
            return false;
        }
        let (m, k_half, n) = (outputs / 2, k / 2, half(by, others));
        let sums = (10 * k_half * n + 8 * m * n) as u64;
        let seven = 7 * price(by, m, k_half, n) + 5 * price_of_residual(by, m, n) + sums;
        // Memory, a longer load and rounding are worth something.
        seven + seven / 16 < price(by, outputs, k, others)
    }

    /// Bytes that the parts of `w[m][k]` take more than it does.
    pub(crate) fn more(m: usize, k: usize) -> usize {
        m.saturating_mul(k).saturating_mul(3)
    }

    /// Packs `w[m][k]`, whose numbers lie `along_m` and `along_k` apart, one of them 1. None where neither is, or where all are one
    /// number.
    ///
    /// Costs about 6 instructions a number.
    ///
    /// # Panics
    /// Where the slice is shorter, or a length is odd.
    pub(crate) fn new(
        by: By,
        [m, k]: [usize; 2],
        w: &[f32],
        [along_m, along_k]: [usize; 2],
    ) -> Option<Strassen> {
        assert!(m.is_multiple_of(2) && k.is_multiple_of(2) && m * k > 0, "quarters of {m} x {k}");
        assert!(w.len() > (m - 1) * along_m + (k - 1) * along_k, "a slice is shorter than its matrix");
        // Of weights that are all one number every output is the same sum, and has to stay so: quarters round it differently.
        if w.iter().all(|weight| *weight == w[0]) {
            return None;
        }
        // A quarter as rows of neighbours.
        let (quarter, stride) = match (along_m, along_k) {
            (_, 1) => ([m / 2, k / 2], along_m),
            (1, _) => ([k / 2, m / 2], along_k),
            _ => return None,
        };
        let dense = if along_k == 1 { [k / 2, 1] } else { [1, m / 2] };
        let block = |im: usize, ik: usize| &w[im * (m / 2) * along_m + ik * (k / 2) * along_k..];
        let of = |x: &[f32], [along_m, along_k]: [usize; 2]| match by {
            By::Rows => Weights::rows_of([m / 2, k / 2], x, [along_m, along_k]),
            By::Columns => Weights::columns_of([k / 2, m / 2], x, [along_k, along_m]),
        };
        let all = (stride, quarter[1]);
        let two = |a: (&[f32], usize), b: (&[f32], usize), f: Sum| combined(quarter, a, b, f);
        let s1 = two((block(1, 0), all.0), (block(1, 1), all.0), Sum::Plus);
        let s2 = two((&s1, all.1), (block(0, 0), all.0), Sum::Minus);
        let s3 = two((block(0, 0), all.0), (block(1, 0), all.0), Sum::Minus);
        let s4 = two((block(0, 1), all.0), (&s2, all.1), Sum::Minus);
        let negative = two((block(1, 1), all.0), (block(1, 1), all.0), Sum::Negative);
        let parts = vec![
            of(block(0, 0), [along_m, along_k]),
            of(block(0, 1), [along_m, along_k]),
            of(&s4, dense),
            of(&negative, dense),
            of(&s1, dense),
            of(&s2, dense),
            of(&s3, dense),
        ];
        Some(Strassen { by, outputs: m, k, parts, bias: vec![0.0; m] })
    }

    /// The same with another bias, one number an output.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Strassen {
        let (first, second) = bias[..self.outputs].split_at(self.outputs / 2);
        // The products that are part of one half's outputs alone, and once in each quarter.
        for (part, half) in [(1, first), (2, first), (6, second)] {
            let weights = self.parts.remove(part).with_bias(half);
            self.parts.insert(part, weights);
        }
        self.bias = bias[..self.outputs].to_vec();
        self
    }

    /// The bias, one number an output.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Length of the sums.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows or columns that are outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// What a product takes over `others` rows or columns of the other operand: seven products, the four sums before them and
    /// what is added after them.
    pub fn instructions(&self, others: usize, follows: Follows) -> u64 {
        let n = half(self.by, others);
        let first = Follows::default();
        let second = Follows { residual: true, bounds: false };
        let last = Follows { residual: true, bounds: follows.bounds };
        let kinds = [first, last, last, last, second, second, first];
        let products: u64 =
            self.parts.iter().zip(kinds).map(|(part, follows)| part.instructions(n, follows)).sum();
        let sums = 9 * (self.k / 2 * n) as u64;
        let finished = if follows.residual { 13 } else { 8 } * (self.outputs / 2 * n) as u64;
        2 * ROOM + products + sums + finished
    }

    /// Bytes that a run takes beside its operands, for so many rows or columns of the other operand.
    pub fn scratch(&self, others: usize) -> usize {
        4 * 4 * half(self.by, others) * (self.k / 2 + self.outputs / 2)
    }

    /// As [`Weights::times`] or [`Weights::under`], by the side they are packed for, but for rounding.
    ///
    /// # Panics
    /// As there, and where the other operand has fewer than eight columns or two rows.
    pub(crate) fn run(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        let (m, k) = (self.outputs / 2, self.k / 2);
        let (others, along) = match self.by {
            By::Rows => (from.columns, (from.rows, to.rows, to.columns)),
            By::Columns => (from.rows, (from.columns, to.columns, to.rows)),
        };
        assert!(along == (self.k, self.outputs, others), "lengths");
        assert!(x.len() >= from.span() && out.len() >= to.span(), "a slice is shorter than its matrix");
        assert!(after.residual.is_none_or(|r| r.len() >= to.span()), "the residual is shorter");
        let n = half(self.by, others);
        assert!(n <= others, "too few others");
        // Shapes of quarters, and where each begins in the whole.
        let (seen, made) = match self.by {
            By::Rows => ([k, n], [m, n]),
            By::Columns => ([n, k], [n, m]),
        };
        let place = |inner: usize, other: usize, length: usize, stride: usize| match self.by {
            By::Rows => inner * length * stride + other * (others - n),
            By::Columns => other * (others - n) * stride + inner * length,
        };
        let quarter = |ik: usize, other: usize| &x[place(ik, other, k, from.stride)..];
        let put = |im: usize, other: usize| place(im, other, m, to.stride);
        let (size, made_size) = (seen[0] * seen[1], made[0] * made[1]);
        // SAFETY: `four` writes every number of the four sums; each of the quarters of outputs is written whole by a product.
        let (mut sums, mut made_of) = unsafe { (unwritten(4 * size), unwritten(4 * made_size)) };
        four([quarter(0, 0), quarter(0, 1), quarter(1, 0), quarter(1, 1)], seen, from.stride, &mut sums);
        let sum = |ix: usize| &sums[ix * size..(ix + 1) * size];
        let in_place = Matrix { rows: seen[0], columns: seen[1], stride: from.stride };
        let (dense, whole) = (Matrix::dense(seen[0], seen[1]), Matrix::dense(made[0], made[1]));
        let [d, e, f, h] = {
            let (first, second) = made_of.split_at_mut(2 * made_size);
            let ((d, e), (f, h)) = (first.split_at_mut(made_size), second.split_at_mut(made_size));
            [d, e, f, h]
        };
        let part = |part: usize, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>| {
            let weights = &self.parts[part];
            match self.by {
                By::Rows => weights.times_and(x, from, out, to, after, made[1], ALL),
                By::Columns => weights.under_and(x, from, out, to, after, made[1], ALL),
            }
        };
        part(0, quarter(0, 0), in_place, d, whole, with(None));
        part(5, sum(1), dense, e, whole, with(Some(d)));
        part(4, sum(0), dense, f, whole, with(Some(e)));
        part(6, sum(2), dense, h, whole, with(None));
        let residual =
            after.residual.map(|r| [&r[put(0, 0)..], &r[put(0, 1)..], &r[put(1, 0)..], &r[put(1, 1)..]]);
        finish(made, [d, e, f, h], residual, after.bounds, &mut out[put(1, 1)..], to.stride);
        let end = |residual| After { residual: Some(residual), bounds: after.bounds };
        let to = Matrix { rows: made[0], columns: made[1], stride: to.stride };
        part(1, quarter(1, 0), in_place, &mut out[put(0, 0)..], to, end(d));
        part(2, quarter(1, 1), in_place, &mut out[put(0, 1)..], to, end(f));
        part(3, sum(3), dense, &mut out[put(1, 0)..], to, end(h));
    }
}

/// A product that something is added to, or nothing.
fn with(residual: Option<&[f32]>) -> After<'_> {
    After { residual, bounds: None }
}

/// Half of the other operand's columns, as whole vectors, or rows.
fn half(by: By, others: usize) -> usize {
    match by {
        By::Rows => others.div_ceil(2).next_multiple_of(4),
        By::Columns => others.div_ceil(2),
    }
}

/// How two numbers become one.
#[derive(Clone, Copy)]
enum Sum {
    Plus,
    Minus,
    /// The second's negative.
    Negative,
}

/// A matrix of `rows` × `columns` made of two, whose rows lie so far apart.
fn combined([rows, columns]: [usize; 2], a: (&[f32], usize), b: (&[f32], usize), sum: Sum) -> Vec<f32> {
    let mut to = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let a = &a.0[row * a.1..row * a.1 + columns];
        let b = &b.0[row * b.1..row * b.1 + columns];
        let pairs = a.iter().zip(b);
        match sum {
            Sum::Plus => to.extend(pairs.map(|(a, b)| a + b)),
            Sum::Minus => to.extend(pairs.map(|(a, b)| a - b)),
            Sum::Negative => to.extend(b.iter().map(|b| -b)),
        }
    }
    to
}

/// The four sums of the other operand's quarters: `x12 - x11`, `x22` less that, `x22 - x12`, and the second less `x21`; the
/// indices being halves of `k` and of the others. About 9 instructions a number of a quarter.
fn four(quarters: [&[f32]; 4], [rows, columns]: [usize; 2], stride: usize, to: &mut [f32]) {
    let size = rows * columns;
    let reach = if rows == 0 { 0 } else { (rows - 1) * stride + columns };
    assert!(quarters.iter().all(|quarter| quarter.len() >= reach), "a quarter is cut off");
    assert!(to.len() >= 4 * size && columns.is_multiple_of(4), "room for four sums of whole vectors");
    let mut from = quarters.map(<[f32]>::as_ptr);
    let mut to = to.as_mut_ptr();
    for _ in 0..rows {
        let mut at = 0;
        while at < columns {
            // SAFETY: four numbers are there in each quarter's row, and in each sum's (asserted).
            unsafe {
                let [x11, x12, x21, x22] = from.map(|from| F32x4::load(from.add(at)));
                let first = x12 - x11;
                let second = x22 - first;
                let to = to.add(at);
                first.store(to);
                second.store(to.add(size));
                (x22 - x12).store(to.add(2 * size));
                (second - x21).store(to.add(3 * size));
            }
            at += 4;
        }
        from = from.map(|from| from.wrapping_add(stride));
        to = to.wrapping_add(columns);
    }
}

/// What is left of the outputs' sums: the last quarter, and what the three others' last products are added to. In the order of
/// the products `d` = p1, `e` = d + p6, `f` = e + p5, `h` = p7. About 7 instructions a number of a quarter, 13 with a residual.
fn finish(
    [rows, columns]: [usize; 2],
    [d, e, f, h]: [&mut [f32]; 4],
    residual: Option<[&[f32]; 4]>,
    bounds: Option<(f32, f32)>,
    out: &mut [f32],
    stride: usize,
) {
    let (size, reach) = (rows * columns, rows.saturating_sub(1) * stride + columns);
    assert!(
        [&*d, &*e, &*f, &*h].iter().all(|x| x.len() >= size) && out.len() >= reach,
        "a quarter is cut off"
    );
    assert!(residual.is_none_or(|r| r.iter().all(|r| r.len() >= reach)), "a residual is cut off");
    assert!(columns.is_multiple_of(4), "whole vectors");
    let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    let (low, high) = (F32x4::splat(low), F32x4::splat(high));
    let (d, e, f, h) = (d.as_mut_ptr(), e.as_ptr(), f.as_mut_ptr(), h.as_mut_ptr());
    for row in 0..rows {
        let (line, first) = (row * columns, row * stride);
        let out = out[first..].as_mut_ptr();
        // SAFETY: four numbers are there in each row of each (asserted).
        unsafe {
            let (d, e, f, h) = (d.add(line), e.add(line), f.add(line), h.add(line));
            let mut at = 0;
            if let Some(residual) = residual {
                let [r11, r12, r21, r22] = residual.map(|r| r.as_ptr().add(first));
                while at < columns {
                    let (u, p) = (F32x4::load(f.add(at)), F32x4::load(h.add(at)));
                    (u + p + F32x4::load(r22.add(at))).above(low).below(high).store(out.add(at));
                    (F32x4::load(e.add(at)) + p + F32x4::load(r21.add(at))).store(h.add(at));
                    (u + F32x4::load(r12.add(at))).store(f.add(at));
                    (F32x4::load(d.add(at)) + F32x4::load(r11.add(at))).store(d.add(at));
                    at += 4;
                }
            } else {
                while at < columns {
                    let p = F32x4::load(h.add(at));
                    (F32x4::load(f.add(at)) + p).above(low).below(high).store(out.add(at));
                    (F32x4::load(e.add(at)) + p).store(h.add(at));
                    at += 4;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{many, numbers};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Small whole numbers, so that no sum is rounded and every bit has to agree.
        #[test]
        fn seven_quarters_are_the_whole(
            m in 1usize..5, k in 1usize..6, n in 8usize..60, gap in 0usize..3, columns: bool, k_inner: bool,
            bounded: bool, added: bool, seed: u64,
        ) {
            let (m, k) = (8 * m, 8 * k);
            let mut next = numbers(seed);
            let mut whole = |count: usize| many(count, &mut next).into_iter().map(|x| (x * 8.0).round()).collect::<Vec<_>>();
            let w = whole(m * k);
            let apart = if k_inner { [k, 1] } else { [1, m] };
            let bias = whole(m);
            let by = if columns { By::Columns } else { By::Rows };
            let (rows, width, made_rows, made) = if columns { (n, k, n, m) } else { (k, n, m, n) };
            let from = Matrix { rows, columns: width, stride: width + gap };
            let to = Matrix { rows: made_rows, columns: made, stride: made + gap };
            let (x, residual) = (whole(rows * (width + gap)), whole(made_rows * (made + gap)));
            let bounds = bounded.then_some((-40.0, 50.0));
            let after = After { residual: added.then_some(&residual), bounds };
            let weights = Strassen::new(by, [m, k], &w, apart).unwrap().with_bias(&bias);
            let mut out = vec![9.0; made_rows * (made + gap)];
            weights.run(&x, from, &mut out, to, after);
            for row in 0..made_rows {
                for column in 0..made + gap {
                    let at = row * (made + gap) + column;
                    let (output, other) = if columns { (column, row) } else { (row, column) };
                    let mut expected = 9.0;
                    if column < made {
                        expected = bias[output] + (0..k).map(|step| {
                            let seen = if columns { other * from.stride + step } else { step * from.stride + other };
                            w[output * apart[0] + step * apart[1]] * x[seen]
                        }).sum::<f32>();
                        expected += if added { residual[at] } else { 0.0 };
                        expected = bounds.map_or(expected, |(low, high)| expected.clamp(low, high));
                    }
                    prop_assert_eq!(out[at], expected, "[{}][{}]", row, column);
                }
            }
        }
    }

    #[test]
    fn it_pays_where_all_three_lengths_are_large() {
        assert!(Strassen::pays(By::Rows, 256, 256, 784));
        assert!(Strassen::pays(By::Columns, 512, 2048, 49));
        assert!(!Strassen::pays(By::Rows, 16, 16, 784));
        assert!(!Strassen::pays(By::Columns, 512, 2048, 1));
        assert!(!Strassen::pays(By::Rows, 255, 256, 784));
    }
}
