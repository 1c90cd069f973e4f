//! tract as it comes: an ONNX file decoded, optimised and run by its own code alone, as its documentation shows. `scripts/bench`
//! compares ic-nn with it: as a canister (`canister.rs`, on the same host), and natively (`main.rs`).

#[cfg(target_family = "wasm")]
mod canister;

use std::sync::Arc;

use tract_onnx::prelude::*;

/// A model that is ready to run, and inputs for it.
pub struct Stock {
    plan: Arc<TypedSimplePlan>,
    inputs: TVec<TValue>,
}

impl Stock {
    /// Reads an ONNX file of fixed shapes. Inputs are ones, which no count depends on.
    ///
    /// # Errors
    /// What tract says, and dimensions that the file leaves open.
    pub fn load(file: &[u8]) -> TractResult<Stock> {
        let model = tract_onnx::onnx().model_for_read(&mut &*file)?.into_optimized()?;
        let mut inputs = tvec![];
        for outlet in model.input_outlets()? {
            let fact = model.outlet_fact(*outlet)?;
            let shape =
                fact.shape.as_concrete().ok_or_else(|| TractError::msg("an input's shape is open"))?;
            let one = tensor0(1f32).cast_to_dt(fact.datum_type)?.into_owned();
            inputs.push(one.broadcast_scalar_to_shape(shape)?.into_tvalue());
        }
        Ok(Stock { plan: model.into_runnable()?, inputs })
    }

    /// Runs it; the first output, as f32.
    ///
    /// # Errors
    /// What tract says.
    pub fn run(&self) -> TractResult<Vec<f32>> {
        let outputs = self.plan.run(self.inputs.clone())?;
        let first = outputs.first().ok_or_else(|| TractError::msg("there is no output"))?;
        let floats = first.cast_to::<f32>()?;
        Ok(floats.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}
