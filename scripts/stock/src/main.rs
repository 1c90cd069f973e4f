//! tract natively: `ic-nn-stock MODEL ROUNDS` prints as JSON the fastest of so many runs, in nanoseconds.

use std::time::Instant;

use ic_nn_stock::Stock;
use tract_onnx::prelude::*;

fn main() -> TractResult<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, rounds] = &arguments[..] else {
        return Err(TractError::msg("ic-nn-stock MODEL ROUNDS"));
    };
    let stock = Stock::load(&std::fs::read(path)?)?;
    let mut fastest = u128::MAX;
    for _ in 0..rounds.parse::<u32>()?.max(1) {
        let start = Instant::now();
        stock.run()?;
        fastest = fastest.min(start.elapsed().as_nanos());
    }
    println!("{}", serde_json::json!({ "nanos": fastest as u64 }));
    Ok(())
}
