//! What lowered nodes are charged: what their kernels say, and what is around those.

use ic_nn_kernels::{
    Follows, Panels, instructions_of_finishing, instructions_of_picking, instructions_of_turning,
};

use super::node::{Body, Lowered};
use super::product::{Packed, Product};

/// Room for a copy.
const ROOM: u64 = 300;
/// A step through the outer loops of a product, beside the product.
const STEP: u64 = 250;

impl Lowered {
    /// What a run takes, for an input of so many numbers: fixed by shapes alone.
    pub(crate) fn instructions(&self, numbers: usize) -> u64 {
        let follows = Follows { residual: self.residual, bounds: self.bounds.is_some() };
        let image = match &*self.body {
            Body::Product(product) => return product.instructions(follows),
            Body::MaxPool(pool) => return pool.instructions(numbers / pool.area().max(1)),
            Body::MeanPool(pool) => return pool.instructions(numbers / pool.area().max(1)),
            Body::Picked(_) => {
                let pixels = self.output.last().copied().unwrap_or(1).max(1);
                return instructions_of_picking(self.output.iter().product::<usize>() / pixels, pixels);
            }
            Body::Chain(chain) => return chain.instructions(),
            Body::Softmax(softmax) => return softmax.instructions(numbers),
            Body::Norm(norm) => return norm.instructions(numbers),
            Body::Reduce(reduce) => return reduce.instructions(numbers),
            Body::Swap(swap) => return swap.instructions(numbers),
            Body::Resample(resample) => return resample.instructions(),
            Body::Shuffle(shuffle) => return shuffle.instructions(self.output.iter().product()),
            Body::Conv(conv) => conv.instructions(follows),
            Body::Winograd(conv) => conv.instructions(follows),
            Body::Strided(conv) => conv.instructions(follows),
            Body::Lines(conv) => conv.instructions(follows),
            Body::Depthwise(conv) => conv.instructions(follows),
            Body::HwcConv(conv) => conv.instructions(follows),
            Body::HwcDepthwise(conv) => conv.instructions(follows),
        };
        let apart = self.depth.as_ref().map_or(0, |depth| depth.instructions(self.images));
        apart + self.images as u64 * (image + 100)
    }
}

impl Product {
    fn instructions(&self, follows: Follows) -> u64 {
        let (m, n, k) = (self.loops.p.length, self.loops.q.length, self.loops.k.length);
        let steps = self.steps.len() as u64;
        let copied = if !self.copies() {
            0
        } else if self.loops.p.narrow == 1 && self.loops.k.narrow >= m {
            ROOM + instructions_of_turning(k, m)
        } else {
            m as u64 * (60 + 18 * k as u64)
        };
        let first = |packed: &[Panels], others: usize, follows: Follows| {
            packed.first().map_or(0, |panels| panels.instructions(others, follows))
        };
        let step = match &self.packed {
            Packed::Wide(packed) => first(packed, m, follows) + copied,
            Packed::Narrow(packed) => first(packed, n, follows),
            Packed::Turned(packed) => {
                let seen = if self.lies_by_columns() { ROOM + instructions_of_turning(k, n) } else { 0 };
                let before = Follows { residual: false, bounds: follows.bounds && !follows.residual };
                let finished = if follows.residual { instructions_of_finishing(m * n, follows) } else { 0 };
                seen + first(packed, n, before) + ROOM + instructions_of_turning(n, m) + finished
            }
            Packed::Run => {
                let apart = [self.loops.k.wide, self.loops.q.wide];
                let [packing, product] = Panels::instructions_of_run(m, [k, n], apart, follows);
                // What comes next from the same place of the wide operand is not packed again.
                let mut packed = 0;
                let mut last = None;
                for [_, wide, _] in &self.steps {
                    packed += u64::from(last != Some(*wide));
                    last = Some(*wide);
                }
                return packed * packing + steps * (product + copied + STEP);
            }
        };
        steps * (step + STEP)
    }
}
